"""What is remembered beside a workspace as Azure ML v1 has it: services, images, compute targets; a JSON file each.

    $XDG_DATA_HOME/packager/azureml/<workspace>/<kind>/<name>.json

They are of this machine, as the services are. Nothing of them is needed to run, update or delete a service by
`packager service`. Whoever deploys from files, and whoever does it from Python, finds the other's.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import msgspec

from packager.decoding import convert
from packager.errors import ContextError, UsageError
from packager.given import read_given
from packager.serving.traffic import ALL
from packager.steps.declared import Declared
from packager.steps.v1_wanted import Compute, Wanted
from packager.storage.files import write_text
from packager.workspace.locate import workspaces_root

#: Kind of the records of services.
SERVICES = "services"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a service.

    Attributes:
        name: of it.
        compute: as v1 calls where it runs.
        created, updated: RFC 3339 in UTC.
        reference: of the image.
        number: of images that were made for it.
        wanted: by its configuration, without keys.
        models: ids, or names of unregistered ones.
        declared: what it is packaged from; None where an image is all that is known.
        error: why it does not run; empty where it does.
        tags: to find it by.
        properties: that never change.
        description: for people.
        target: name of the compute target.
        versions: of an endpoint, by name, each as if it were a service; empty for others.
        default: the version of an endpoint that gets the requests which no other version is to get.
        traffic: share of the requests that a version is to get while it is not the default, in percent.
        control: a version is the one that others are held against.
    """

    name: str
    compute: Compute
    created: str
    updated: str
    reference: str
    number: int = 1
    wanted: Wanted = Wanted(compute="Local")
    models: tuple[str, ...] = ()
    declared: Declared | None = None
    error: str = ""
    tags: dict[str, str] = {}
    properties: dict[str, str] = {}
    description: str = ""
    target: str = ""
    versions: dict[str, Record] = {}
    default: str = ""
    traffic: int = 0
    control: bool = False

    @property
    def shares(self) -> dict[str, int]:
        """The share of the requests that each version of an endpoint gets, in percent: v1's default gets what is left.

        Raises:
            UsageError: the others are to get more than all of them.
        """
        others = {name: each.traffic for name, each in self.versions.items() if name != self.default}
        if sum(others.values()) > ALL:
            said = " + ".join(f"{name}={share}" for name, share in others.items())
            raise UsageError(
                f"the versions of {self.name} beside its default {self.default} are to get {sum(others.values())} % of "
                f"the requests ({said})",
                remedy=f"100 % at most, as {self.default} gets what is left: a lower traffic_percentile",
            )
        return {name: others.get(name, ALL - sum(others.values())) for name in self.versions}


def root_of(name: str, location: str) -> Path:
    """Return the folder of all that is remembered beside a workspace; it need not be there.

    Args:
        name: of the workspace.
        location: of it.
    """
    digest = hashlib.sha256(location.encode()).hexdigest()[:8]
    return workspaces_root().parent / "azureml" / f"{re.sub(r'[^A-Za-z0-9._-]', '-', name)}-{digest}"


def read(root: Path, kind: str, name: str) -> dict[str, Any] | None:
    """Return one record; None where there is none, or it is no record any more."""
    try:
        data = json.loads(read_given(root / kind / f"{_file(name)}.json"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def read_all(root: Path, kind: str) -> dict[str, dict[str, Any]]:
    """Return name → record, sorted by name."""
    found = {}
    for path in sorted((root / kind).glob("*.json")):
        data = read(root, kind, path.stem)
        if data is not None:
            found[str(data.get("name", path.stem))] = data
    return found


def write(root: Path, kind: str, name: str, data: dict[str, Any]) -> None:
    """Write one record, in one step.

    Raises:
        ContextError: it cannot be written.
    """
    place = root / kind
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ContextError(f"{place} cannot be made: {error.strerror}", remedy="set XDG_DATA_HOME") from None
    text = json.dumps({"name": name, **data}, indent=2, sort_keys=True)
    write_text(place / f"{_file(name)}.json", text + "\n")


def remove(root: Path, kind: str, name: str) -> None:
    """Remove one record; one that is not there is fine."""
    (root / kind / f"{_file(name)}.json").unlink(missing_ok=True)


def find_service(root: Path, name: str) -> Record | None:
    """Return what is remembered of a service; None where it is none of the workspace."""
    data = read(root, SERVICES, name)
    return as_service(data) if data is not None else None


def keep_service(root: Path, record: Record) -> None:
    """Remember a service.

    Raises:
        ContextError: it cannot be written.
    """
    write(root, SERVICES, record.name, msgspec.to_builtins(record, enc_hook=str))


def as_service(data: dict[str, Any]) -> Record | None:
    """Return a record as one of a service; None where it is none."""
    try:
        return convert(data, Record, dec_hook=lambda _, text: Path(text))
    except msgspec.ValidationError:
        return None


def with_version(endpoint: Record, record: Record, *, default: bool = False, control: bool = False) -> Record:
    """Return an endpoint with a version that is added or changed. Pure.

    Args:
        endpoint: that gets it.
        record: of the version.
        default: it is the default from now on.
        control: it is the one that others are held against, from now on.
    """
    versions = {**endpoint.versions, record.name: record}
    if control:
        versions = {name: msgspec.structs.replace(each, control=name == record.name) for name, each in versions.items()}
    return msgspec.structs.replace(
        endpoint,
        versions=versions,
        default=record.name if default else endpoint.default,
        number=max(endpoint.number, record.number),
        models=tuple(dict.fromkeys(model for each in versions.values() for model in each.models)),
    )


def image_of(name: str, number: int) -> str:
    """Return the reference of the image that is made for a service."""
    return f"{name}:{number}"


def _file(name: str) -> str:
    """Return a name that can be a file's; names of v1 can."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip(".")
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
