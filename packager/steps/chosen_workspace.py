"""Which workspace is meant in a folder: what was asked for, what its spec names, what this user has set."""

from __future__ import annotations

import os
from pathlib import Path

from packager.spec.document import parse_yaml, read_text
from packager.spec.find import find_spec
from packager.steps.settings import current_settings
from packager.workspace.base import Workspace
from packager.workspace.locate import VARIABLE, Choice, choose, open_workspace


def chosen(workspace: str | os.PathLike[str] | None = None, start: str | os.PathLike[str] | None = None) -> Choice:
    """Return which workspace is meant; see `packager.Workspace`.

    Raises:
        UsageError, SpecError: this user's settings, the spec, or a file of Azure ML v1 is wrong.
    """
    wish = workspace if workspace is None or isinstance(workspace, str) else os.path.abspath(workspace)
    here = Path(start or ".").absolute()
    of_spec = None if wish or os.environ.get(VARIABLE) else _of_spec(here)
    return choose(wish, spec=of_spec, used=current_settings(os.environ).workspace, start=here)


def _of_spec(here: Path) -> str | None:
    """Return the workspace that the spec of a folder, or of the nearest above it, names; the rest of it may be wrong.

    Raises:
        SpecError: it is not YAML.
    """
    path = find_spec(here, Path.home())
    wish = None if path is None else parse_yaml(read_text(path), path).data.get("workspace")
    if path is None or not isinstance(wish, str) or not wish:
        return None
    # A path in a spec is one from its folder.
    return os.path.join(path.parent, wish) if "/" in wish and "://" not in wish and not wish.startswith("~") else wish


def kept(choice: Choice) -> Workspace:
    """Return the workspace that a choice means.

    Raises:
        UsageError, NotRegisteredError, ContextError, RegistryError, TemporaryError: see `open_workspace`.
    """
    return open_workspace(choice)
