"""Layers that somebody else packed → files in a folder: nothing leaves it, and nothing fills memory or disk.

Files are kept under numbers while they are unpacked, and get their names at the end, when all are known to be harmless.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from packager.errors import ContextError, RegistryError
from packager.oci.unpacking import DAMAGE, BoundedInfo, most_of, unpacked
from packager.storage.reading import BLOCK, failure, write_all
from packager.workspace.paths import check_together, checked_path, shown
from packager.workspace.values import File

#: Entries of all layers together at most: far above any model's, far below what fills a filesystem.
MOST_ENTRIES = 200_000

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


class Unpacker:
    """Unpacks the layers of one artifact, the lower ones first.

    Args:
        folder: for the files; empty, on the filesystem that they are to be on.
        named: what is unpacked, for messages.
        image: whether upper layers may replace and delete what lower ones have, and links are left out until it is
            known that nobody needs them.
    """

    def __init__(self, folder: Path, named: str, *, image: bool = False) -> None:
        self._folder = folder
        self._named = named
        self._image = image
        self._found: dict[str, tuple[Path, File]] = {}
        self._others: dict[str, str] = {}
        self._entries = self._kept = 0

    def add_file(self, path: str, blob: Path, file: File) -> None:
        """Take a layer that is one file, as it is.

        Raises:
            RegistryError: its path is none, or another's.
        """
        self._add(path, blob, file)

    def add_compressed(self, path: str, blob: Path) -> None:
        """Take a layer that is one file, compressed.

        Raises:
            RegistryError: it is damaged, or its path is none.
            ContextError: it cannot be read, or the disk is full.
        """
        with self._opened(blob) as stream:
            self._keep(path, stream)

    def add_tar(self, blob: Path) -> None:
        """Take a layer that is a tar, whatever is around it.

        Raises:
            RegistryError: it is damaged, or has what leaves the folder, or links, or too much.
            ContextError: it cannot be read, or the disk is full.
        """
        before = dict(self._found)
        with (
            self._opened(blob) as plain,
            tarfile.open(fileobj=plain, mode="r|", bufsize=32 << 10, errorlevel=2, tarinfo=BoundedInfo) as archive,
        ):
            for member in archive:
                # tarfile remembers every member that it has seen.
                archive.members = []  # type: ignore[attr-defined]
                self._take(archive, member, before)

    def finish(self) -> dict[str, tuple[Path, File]]:
        """Return path → where its file is, and what it is.

        Raises:
            RegistryError: files are in each other's way, or something is no file.
        """
        found, others = self._found, self._others
        if self._image and any(path.startswith("models/") for path in found):
            # As KServe's and olot's modelcars have it: the model is there, the rest is a system.
            found = {path.removeprefix("models/"): each for path, each in found.items() if path.startswith("models/")}
            others = {path: what for path, what in others.items() if path.startswith("models/")}
        for path, what in others.items():
            raise RegistryError(f"{self._named} has {what} at {shown(path)}; a model is of files and folders")
        check_together(found, self._named)
        if not found:
            raise RegistryError(f"{self._named} holds no file")
        return {path: (at, File(path=path, size=file.size, sha256=file.sha256)) for path, (at, file) in found.items()}

    # --- one entry ---

    def _take(self, archive: tarfile.TarFile, member: tarfile.TarInfo, before: dict[str, tuple[Path, File]]) -> None:
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            raise RegistryError(f"{self._named} has more than {MOST_ENTRIES} files and folders")
        name = member.name.rstrip("/")
        while name.startswith("./"):
            name = name[2:]
        if name in ("", ".") and member.isdir():
            return
        path = checked_path(name, self._named)
        if self._image and self._hides(path, before):
            return
        if member.isdir():
            return
        if not member.isreg() or member.issparse():
            self._others[path] = _kind_of(member)
            if not self._image:
                raise RegistryError(
                    f"{self._named} has {_kind_of(member)} at {shown(path)}; a model is of files and folders"
                )
            return
        stream = archive.extractfile(member)
        assert stream is not None
        if path in self._found and not (self._image and path in before and self._found[path] is before[path]):
            raise RegistryError(f"{self._named} has two files of one path: {shown(path)}")
        self._keep(path, stream)

    def _hides(self, path: str, before: dict[str, tuple[Path, File]]) -> bool:
        """Let what an entry says is deleted be gone; return whether it says that (OCI image spec, "Whiteouts")."""
        parent, _, name = path.rpartition("/")
        if not name.startswith(_WHITEOUT):
            return False
        gone = parent if name == _OPAQUE else f"{parent}/{name.removeprefix(_WHITEOUT)}".lstrip("/")
        for each in [each for each in before if each == gone or each.startswith(f"{gone}/" if gone else "")]:
            if self._found.get(each) is before[each]:
                del self._found[each]
        for each in [each for each in self._others if each == gone or each.startswith(f"{gone}/")]:
            del self._others[each]
        return True

    def _keep(self, path: str, stream: BinaryIO | IO[bytes]) -> None:
        self._kept += 1
        at = self._folder / str(self._kept)
        state, size = hashlib.sha256(), 0
        try:
            descriptor = os.open(at, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise failure("written", at, error) from None
        try:
            while data := stream.read(BLOCK):
                try:
                    write_all(descriptor, data)
                except OSError as error:
                    raise failure("written", at, error) from None
                state.update(data)
                size += len(data)
        finally:
            os.close(descriptor)
        self._add(path, at, File(path=path, size=size, sha256=state.hexdigest()))

    def _add(self, path: str, at: Path, file: File) -> None:
        checked_path(path, self._named)
        if path in self._found and not self._image:
            raise RegistryError(f"{self._named} has two files of one path: {shown(path)}")
        self._found[path] = (at, file)

    @contextmanager
    def _opened(self, blob: Path) -> Iterator[BinaryIO]:
        try:
            with blob.open("rb") as stream:
                magic = stream.read(4)
                with unpacked(stream, magic, most=most_of(stream)) as plain:
                    yield plain
        except (ContextError, RegistryError):
            raise
        except (OSError, *DAMAGE) as error:
            raise RegistryError(f"a layer of {self._named} is damaged: {error}") from None


def _kind_of(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return "a link"
    return "a file with holes" if member.isreg() else "what is neither file nor folder"
