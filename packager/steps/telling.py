"""A workspace that is read, and what of it is damaged, said once."""

from __future__ import annotations

import msgspec

from packager.steps.reporting import Reporter
from packager.workspace import actions
from packager.workspace.base import Workspace
from packager.workspace.values import Kind, Version


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A version whose files were read.

    Attributes:
        version: it.
        wrong: what is wrong with them, a sentence each; empty where nothing is.
    """

    version: Version
    wrong: tuple[str, ...]


class Telling:
    """Reads versions; whatever of their records cannot be read is a warning, the first time it is met.

    Args:
        workspace: that is read.
        reporter: is told.
    """

    def __init__(self, workspace: Workspace, reporter: Reporter) -> None:
        self.workspace, self.reporter = workspace, reporter
        self._told: set[str] = set()

    def versions(self, kind: Kind, name: str | None = None) -> tuple[Version, ...]:
        """See `packager.workspace.base.Workspace`."""
        found = self.workspace.versions(kind, name)
        self._tell()
        return found

    def get(self, kind: Kind, name: str, version: int | None = None) -> Version:
        """See `packager.workspace.base.Workspace`."""
        try:
            return self.workspace.get(kind, name, version)
        finally:
            self._tell()

    def verify(self, kind: Kind, name: str | None, version: int | None) -> tuple[Verified, ...]:
        """Read every file of one version, of all of one name, or of all, and say what is wrong with them.

        Raises:
            NotRegisteredError: there is none of the name.
        """
        found: tuple[Version, ...]
        if name is not None and version is not None:
            found = (self.get(kind, name, version),)
        else:
            found = self.versions(kind, name)
        if name is not None and not found:
            found = (self.get(kind, name),)
        return tuple(Verified(version=each, wrong=actions.verify(self.workspace, each)) for each in found)

    @property
    def damage(self) -> tuple[str, ...]:
        """What was told so far."""
        return tuple(sorted(self._told))

    def _tell(self) -> None:
        for sentence in self.workspace.damage():
            if sentence not in self._told:
                self._told.add(sentence)
                self.reporter.warn(sentence)
