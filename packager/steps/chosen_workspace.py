"""Which workspace is meant in a folder: what was asked for, what its spec names, what this user has set."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from packager.errors import SpecError
from packager.given import read_given
from packager.spec.document import parse_yaml, read_text
from packager.spec.find import find_spec
from packager.steps.settings import current_settings
from packager.workspace.base import Workspace
from packager.workspace.locate import VARIABLE, Choice, choose, open_workspace

_Say = Callable[[str], None]
#: A line that names a workspace, in a spec that may be no YAML.
_NAMES_ONE = re.compile(rb"""^["']?workspace["']?\s*:""", re.MULTILINE)


def _silent(_text: str) -> None:
    pass


def chosen(
    workspace: str | os.PathLike[str] | None = None,
    start: str | os.PathLike[str] | None = None,
    *,
    say: _Say = _silent,
) -> Choice:
    """Return which workspace is meant; see `packager.Workspace`.

    Args:
        workspace: as of `packager.Workspace`.
        start: as there.
        say: is told of a spec that cannot be read and is passed over, as it names no workspace.

    Raises:
        UsageError, SpecError: this user's settings, the spec, or a file of Azure ML v1 is wrong.
    """
    wish = workspace if workspace is None or isinstance(workspace, str) else os.path.abspath(workspace)
    here = Path(start or ".").absolute()
    of_spec = None if wish or os.environ.get(VARIABLE) else _of_spec(here, say)
    return choose(wish, spec=of_spec, used=current_settings(os.environ).workspace, start=here)


def _of_spec(here: Path, say: _Say) -> str | None:
    """Return the workspace that the spec of a folder, or of the nearest above it, names; the rest of it may be wrong.

    Raises:
        SpecError: it is not YAML, and names a workspace all the same.
    """
    path = find_spec(here, Path.home())
    if path is None:
        return None
    try:
        wish = parse_yaml(read_text(path), path).data.get("workspace")
    except SpecError as error:
        if _names_one(path):
            remedy = error.remedy or "mend it, or say by --workspace which workspace is meant"
            raise SpecError(error.message, where=error.where, remedy=remedy) from None
        say(f"{path} is passed over, as it names no workspace; it {error.message}")
        return None
    if not isinstance(wish, str) or not wish:
        return None
    # A path in a spec is one from its folder.
    return os.path.join(path.parent, wish) if "/" in wish and "://" not in wish and not wish.startswith("~") else wish


def _names_one(path: Path) -> bool:
    try:
        return _NAMES_ONE.search(read_given(path)) is not None
    except OSError:
        return False


def kept(choice: Choice) -> Workspace:
    """Return the workspace that a choice means.

    Raises:
        UsageError, NotRegisteredError, ContextError, RegistryError, TemporaryError: see `open_workspace`.
    """
    return open_workspace(choice)
