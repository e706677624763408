"""What a workspace does, whoever keeps it, and the errors of all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from packager.errors import ContextError
from packager.workspace.values import Change, Content, File, ImageRecord, Kind, Version


class NotRegisteredError(ContextError):
    """Nothing of that name, or no such version of it, is registered."""


class TakenError(ContextError):
    """A version with that number is there, with other content."""


class Workspace(Protocol):
    """Versions of models and environments, and the images made of them. Several processes may use one at once.

    Errors of all methods: ContextError (a folder cannot be read or written, something in it is damaged or of a newer
    packager), RegistryError and TemporaryError (a registry refuses, does not answer, or not now).
    """

    @property
    def name(self) -> str:
        """For people."""

    @property
    def location(self) -> str:
        """What names it everywhere: the path of a folder, or `oci://…`."""

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Return the names that have a version now, sorted."""

    def versions(self, kind: Kind, name: str | None = None) -> tuple[Version, ...]:
        """Return all versions, of one name or of all, sorted by name and number; deleted ones are not among them.

        What is damaged is left out, and said by `damage`.
        """

    def damage(self) -> tuple[str, ...]:
        """Return what of the records could not be read when they were last looked at, one sentence each."""

    def get(self, kind: Kind, name: str, version: int | None = None) -> Version:
        """Return one version; the latest where None.

        Raises:
            NotRegisteredError: there is none.
        """

    def add(
        self, draft: Version, files: Sequence[Content], samples: Sequence[Content] = (), *, number: int | None = None
    ) -> Version:
        """Register a version, and return it: whole, or not at all.

        Args:
            draft: without number, time, files and samples.
            files: at least one.
            samples: that go with it.
            number: as it has elsewhere; else the next after all there ever were. Where that is here already, with the
                same content, it is returned as it is.

        Raises:
            TakenError: the number is another content's, or was, and is deleted.
            ContextError: a file cannot be read, changes meanwhile, or is not of its digest; the disk is full.
        """

    def change(self, version: Version, change: Change) -> Version:
        """Change description, tags or properties, and return what the version is then; others' changes are kept.

        Raises:
            NotRegisteredError: it is deleted.
            UsageError: a property that is there would change.
        """

    def delete(self, version: Version) -> None:
        """Remove a version; its number is never given again.

        Raises:
            NotRegisteredError: it is not there.
        """

    def open(self, version: Version, file: File) -> AbstractContextManager[Path]:
        """Give the path of a file's content on this machine, for reading; fetched where needed.

        It is as it was written, as far as its size tells: whoever reads it holds it against its digest.

        Raises:
            ContextError: it is gone.
        """

    def note(self, image: ImageRecord) -> None:
        """Remember an image."""

    def images(self) -> tuple[ImageRecord, ...]:
        """Return the images that are remembered, the oldest first."""


def not_registered(
    location: str, kind: Kind, name: str, version: int | None, there: Iterable[int], *, deleted: bool = False
) -> NotRegisteredError:
    """Return the error for a name or a version that a workspace has not, and say what it has.

    Args:
        location: of the workspace.
        kind: of what.
        name: it.
        version: that was asked for; None for the latest.
        there: numbers that are there.
        deleted: the version was there.
    """
    if deleted:
        return NotRegisteredError(f"the {kind} {name}:{version} is deleted from {location}")
    if numbers := sorted(there):
        return NotRegisteredError(
            f"there is no {kind} {name}:{version} in {location}",
            remedy=f"it has {'version' if len(numbers) == 1 else 'versions'} {', '.join(map(str, numbers[-10:]))}",
        )
    return NotRegisteredError(
        f"no {kind} {name!r} is registered in {location}",
        remedy=f"`packager {kind} list` shows what is, `packager {kind} register` adds one",
    )
