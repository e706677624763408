"""What is registered and lies on this machine: which version it is, and the folder that has its files."""

from __future__ import annotations

from pathlib import Path

import msgspec


class LaidFile(msgspec.Struct, frozen=True, array_like=True):
    """A file: its path with `/` below the folder, bytes, and sha256 of its content (64 hex digits)."""

    path: str
    size: int
    sha256: str


class Laid(msgspec.Struct, frozen=True, kw_only=True):
    """A registered model or environment on this machine.

    Attributes:
        name: in the workspace.
        version: there.
        digest: `sha256:…` of the content.
        folder: absolute; it has the files and nothing else, and nobody may write to them.
        files: sorted by path.
    """

    name: str
    version: int
    digest: str
    folder: Path
    files: tuple[LaidFile, ...]

    @property
    def id(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"

    @property
    def path(self) -> str:
        """Path of its one file or folder; the folder of all, with `/` at its end, where there are several."""
        tops = {file.path.partition("/")[0] for file in self.files}
        return f"{self.folder}/{tops.pop()}" if len(tops) == 1 else f"{self.folder}/"
