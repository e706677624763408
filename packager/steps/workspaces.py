"""The workspaces of this user: made, listed, chosen, and copied one to another."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from packager.errors import PackagerError, UsageError
from packager.steps.reporting import SILENT, Reporter
from packager.steps.settings import settings_file, write_workspace
from packager.workspace import actions
from packager.workspace.actions import Copied
from packager.workspace.base import NotRegisteredError, Workspace
from packager.workspace.folder import FolderWorkspace
from packager.workspace.locate import Choice, folder_of, open_workspace, workspaces_root
from packager.workspace.names import check_name
from packager.workspace.values import KINDS, Version

_REGISTRY = "oci://"


class WorkspaceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace, and how much is in it.

    Attributes:
        name: for people.
        location: path of a folder, or `oci://…`.
        models: names of models.
        environments: names of environments.
        versions: of all of them.
        size: bytes of their files; what several versions share counts for each.
        images: that are remembered.
        chosen: it is the one that is meant where none is named.
        by: what says so; empty of others.
        damage: what of it cannot be read, a sentence each.
    """

    name: str
    location: str
    models: int
    environments: int
    versions: int
    size: int
    images: int
    chosen: bool = False
    by: str = ""
    damage: tuple[str, ...] = ()


def create(wish: str) -> Workspace:
    """Make a workspace, unless it is there, and return it.

    Args:
        wish: a name, a path with a `/`, or `oci://registry/prefix`.

    Raises:
        UsageError: it is none of them.
        ContextError, RegistryError, TemporaryError: it cannot be made.
    """
    workspace = open_workspace(Choice(wish=wish, by="you", make=True))
    if isinstance(workspace, FolderWorkspace):
        workspace.create()
    else:
        from packager.workspace.registry import RegistryWorkspace

        assert isinstance(workspace, RegistryWorkspace), "there are two kinds"
        with workspace:
            workspace.create()
    return workspace


def summarise(workspace: Workspace, chosen: Choice | None = None) -> WorkspaceSummary:
    """Return how much is in a workspace.

    Args:
        workspace: it.
        chosen: what says that it is the one that is meant; None where nothing does.

    Raises:
        ContextError, RegistryError, TemporaryError: it cannot be read.
    """
    versions: dict[str, tuple[Version, ...]] = {}
    damage: list[str] = []
    for kind in KINDS:
        versions[kind] = workspace.versions(kind)
        damage += workspace.damage()
    counts = {kind: len({version.name for version in found}) for kind, found in versions.items()}
    return WorkspaceSummary(
        name=workspace.name,
        location=workspace.location,
        models=counts["model"],
        environments=counts["environment"],
        versions=sum(len(found) for found in versions.values()),
        size=sum(version.size for found in versions.values() for version in found),
        images=len(workspace.images()),
        chosen=chosen is not None,
        by="" if chosen is None else chosen.by,
        damage=tuple(damage),
    )


def list_workspaces(chosen: Choice, *, reporter: Reporter = SILENT) -> tuple[WorkspaceSummary, ...]:
    """Return the workspaces of this user's folder, and the one that is meant, wherever it is.

    One that cannot be read is a warning.

    Args:
        chosen: the one that is meant.
        reporter: is told what cannot be read.
    """
    root, found = workspaces_root(), dict[str, WorkspaceSummary]()
    meant = chosen.wish if chosen.wish.startswith(_REGISTRY) else os.path.abspath(folder_of(chosen.wish))
    wishes = {os.path.abspath(root / name): Choice(wish=name, by="") for name in names()}
    for place, wish in (wishes | {meant: chosen}).items():
        try:
            found[place] = summarise(open_workspace(wish), chosen if place == meant else None)
        except PackagerError as error:
            reporter.warn(f"{wish.wish}: {error.message}")
    return tuple(found[place] for place in (wishes | {meant: chosen}) if place in found)


def names() -> tuple[str, ...]:
    """Return the names of the workspaces of this user's folder, sorted."""
    return tuple(sorted(path.parent.name for path in workspaces_root().glob("*/workspace.json")))


def use(wish: str) -> Path:
    """Write the workspace that is meant where nothing else says it into this user's settings; return their file.

    Args:
        wish: a name, a path with a `/`, or `oci://registry/prefix`. It must be there.

    Raises:
        UsageError, NotRegisteredError, ContextError, RegistryError, TemporaryError: it is not there, or cannot be read.
        SpecError: the file of settings is wrong.
    """
    open_workspace(Choice(wish=wish, by="you", make=wish == "default"))
    if "/" in wish and not wish.startswith(_REGISTRY):
        wish = os.path.abspath(folder_of(wish))
    path = settings_file(os.environ)
    write_workspace(path, wish)
    return path


def copy(
    source: str,
    target: str,
    *,
    only: tuple[str, ...] = (),
    reporter: Reporter = SILENT,
) -> Copied:
    """Copy versions from one workspace to another, with their numbers; what is there is not sent again.

    Args:
        source: a name, a path with a `/`, or `oci://registry/prefix`.
        target: the same; it is made when needed.
        only: names of models and environments; all where none is named.
        reporter: is told what is damaged.

    Raises:
        NotRegisteredError: the source is not there, or has nothing of a name.
        TakenError: the target has another version of a name and number. What was copied before stays.
        ContextError, RegistryError, TemporaryError: one of them cannot be read or written.
    """
    origin = open_workspace(Choice(wish=source, by="you"))
    for name in only:
        check_name(name, "model")
    versions: list[Version] = []
    for kind in KINDS:
        versions += [each for each in origin.versions(kind) if not only or each.name in only]
        for sentence in origin.damage():
            reporter.warn(f"left out: {sentence}")
    missing = [name for name in only if name not in {each.name for each in versions}]
    if missing:
        raise NotRegisteredError(
            f"nothing named {missing[0]!r} is registered in {origin.name} ({origin.location})",
            remedy=f"`packager model list --workspace {source}` shows what is",
        )
    place = open_workspace(Choice(wish=target, by="you", make=True))
    if place.location == origin.location:
        raise UsageError(f"{source} and {target} are one workspace", remedy="name another")
    return actions.copy(origin, place, versions)
