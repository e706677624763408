"""Which workspace: what was asked for, what is set, what stands in files of Azure ML v1, or this machine's own."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from packager.decoding import decode_json
from packager.errors import UsageError
from packager.given import read_given
from packager.storage.memory import data_root
from packager.workspace.base import NotRegisteredError, Workspace
from packager.workspace.names import is_name

DEFAULT = "default"
VARIABLE = "PACKAGER_WORKSPACE"
_REGISTRY = "oci://"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace that is meant.

    Attributes:
        wish: a name, a path with a `/`, or `oci://registry/prefix`.
        by: what says so, for people.
        make: whether it may be made when something is registered; others must be there, so that a slip of the pen makes
            no second workspace.
    """

    wish: str
    by: str
    make: bool = False


class _V1(msgspec.Struct, frozen=True):
    workspace_name: str = ""


def workspaces_root() -> Path:
    """Return the folder of this user's workspaces: `$XDG_DATA_HOME/packager/workspaces`, below `~/.local/share`."""
    return data_root() / "workspaces"


def choose(
    option: str | None = None,
    *,
    spec: str | None = None,
    used: str | None = None,
    start: Path | None = None,
    environ: dict[str, str] | os._Environ[str] = os.environ,
) -> Choice:
    """Return the workspace that is meant: the first that is named.

    Args:
        option: by an option of the command or a parameter.
        spec: by the spec.
        used: by this user's settings (`packager workspace use`).
        start: the folder where `.azureml/config.json` and `config.json` of Azure ML v1 are looked for, and above it.
        environ: has PACKAGER_WORKSPACE.

    Raises:
        UsageError: a file of Azure ML v1 that cannot be read.
    """
    named = ((option, "--workspace"), (environ.get(VARIABLE), VARIABLE), (spec, "the spec"))
    for wish, by in named:
        if wish:
            return Choice(wish=wish, by=by, make=wish == DEFAULT)
    if start is not None and (found := find_config(start)) is not None:
        return Choice(wish=found[1], by=str(found[0]), make=True)
    if used:
        return Choice(wish=used, by="your defaults", make=used == DEFAULT)
    return Choice(wish=DEFAULT, by="the default", make=True)


def open_workspace(choice: Choice, *, root: Path | None = None, base: Path | None = None) -> Workspace:
    """Return a workspace.

    Args:
        choice: which one.
        root: of this user's workspaces; `workspaces_root()` where None.
        base: what a relative path starts at; here where None.

    Raises:
        UsageError: it is neither a name, a path, nor `oci://…`.
        NotRegisteredError: it is not there, and may not be made.
        ContextError, RegistryError, TemporaryError: see `Workspace`.
    """
    wish = choice.wish
    if wish.startswith(_REGISTRY):
        from packager.workspace.registry import RegistryWorkspace

        return RegistryWorkspace(wish)
    # Imported late: every verb of a spec asks which workspace is meant, and few open one.
    from packager.workspace.folder import FolderWorkspace

    folder = folder_of(wish, root=root, base=base)
    workspace = FolderWorkspace(folder)
    if not workspace.exists and not choice.make:
        raise NotRegisteredError(
            f"there is no workspace {wish!r} ({folder}){_named_by(choice.by)}",
            remedy=f"`packager workspace create {wish}` makes it, `packager workspace list` shows what is there",
        )
    return workspace


def _named_by(by: str) -> str:
    """Return who named a workspace that is not there; they know who did it in the command itself."""
    if by in ("", "you"):
        return ""
    return f", which {by} {'name' if by == 'your defaults' else 'names'}"


def folder_of(wish: str, *, root: Path | None = None, base: Path | None = None) -> Path:
    """Return the folder of a workspace that is no registry's.

    Raises:
        UsageError: it is neither a name nor a path.
    """
    scheme, _, rest = wish.partition("://")
    if rest and "/" not in scheme:
        raise UsageError(
            f"no workspace is kept by {scheme}://",
            remedy=f"name a registry as oci://{rest}, or a folder by its path",
        )
    if "/" in wish or wish in (".", ".."):
        return (base or Path()) / Path(wish).expanduser()
    if not is_name(wish):
        raise UsageError(
            f"{wish!r} is no workspace",
            remedy="give a name of letters, digits, '-', '_' and '.', a path with a '/', or oci://REGISTRY/PREFIX",
        )
    return (root or workspaces_root()) / wish


def find_config(start: Path) -> tuple[Path, str] | None:
    """Return path and workspace's name of the nearest `config.json` of Azure ML v1, in a folder or above it.

    Source: azureml-core 1.61, `Workspace.from_config`: `.azureml/config.json`, then `config.json`, in every parent.
    A `config.json` of something else is passed over.

    Raises:
        UsageError: one in `.azureml` is not valid.
    """
    for folder in (start.absolute(), *start.absolute().parents):
        for path in (folder / ".azureml/config.json", folder / "config.json"):
            try:
                name = decode_json(read_given(path), _V1).workspace_name
            except OSError:
                continue
            except msgspec.MsgspecError as error:
                if path.parent.name != ".azureml":
                    continue
                raise UsageError(f"{path} is not valid: {error}", remedy="mend it, or use --workspace") from None
            if is_name(name):
                return path, name
    return None
