"""What v1's classes remember beside a workspace: services, images, compute targets, datasets; a JSON file each.

    $XDG_DATA_HOME/packager/azureml/<workspace>/<kind>/<name>.json

They are of this machine, as the services are. Nothing of them is needed to run, update or delete a service by
`packager service`.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packager.errors import ContextError
from packager.given import read_given
from packager.storage.files import write_text
from packager.workspace.locate import workspaces_root

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace


def folder(workspace: Workspace, kind: str) -> Path:
    """Return the folder of what is remembered of one kind; it need not be there."""
    name, location = re.sub(r"[^A-Za-z0-9._-]", "-", workspace.name), workspace._facade.location
    digest = hashlib.sha256(location.encode()).hexdigest()[:8]
    return workspaces_root().parent / "azureml" / f"{name}-{digest}" / kind


def read(workspace: Workspace, kind: str, name: str) -> dict[str, Any] | None:
    """Return one record; None where there is none, or it is no record any more."""
    path = folder(workspace, kind) / f"{_file(name)}.json"
    try:
        data = json.loads(read_given(path))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def read_all(workspace: Workspace, kind: str) -> dict[str, dict[str, Any]]:
    """Return name → record, sorted by name."""
    found = {}
    for path in sorted(folder(workspace, kind).glob("*.json")):
        data = read(workspace, kind, path.stem)
        if data is not None:
            found[str(data.get("name", path.stem))] = data
    return found


def write(workspace: Workspace, kind: str, name: str, data: dict[str, Any]) -> None:
    """Write one record, in one step.

    Raises:
        ContextError: it cannot be written.
    """
    place = folder(workspace, kind)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ContextError(f"{place} cannot be made: {error.strerror}", remedy="set XDG_DATA_HOME") from None
    text = json.dumps({"name": name, **data}, indent=2, sort_keys=True)
    write_text(place / f"{_file(name)}.json", text + "\n")


def remove(workspace: Workspace, kind: str, name: str) -> None:
    """Remove one record; one that is not there is fine."""
    (folder(workspace, kind) / f"{_file(name)}.json").unlink(missing_ok=True)


def _file(name: str) -> str:
    """Return a name that can be a file's; names of v1 can."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip(".")
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
