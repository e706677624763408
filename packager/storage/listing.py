"""What is in a folder of thousands of files, asked for once: for its stamp, its size, its compiled modules, its tar."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from packager.storage.reading import failure


class Listed(msgspec.Struct, frozen=True):
    """One thing in a folder.

    Attributes:
        path: relative to the folder, with `/`.
        kind: `other` is neither file, folder nor link.
        size: bytes, as the filesystem says.
        mtime_ns: time of the last change, ns since the epoch.
        executable: its owner may execute it.
    """

    path: str
    kind: Literal["file", "folder", "link", "other"]
    size: int
    mtime_ns: int
    executable: bool

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rpartition("/")[2]


def list_folder(folder: Path | str) -> tuple[Listed, ...]:
    """Return all that is in a folder, at any depth; links are not followed. In no order.

    Raises:
        ContextError: something cannot be read.
    """
    return tuple(_listed(os.fspath(folder), ""))


def _listed(folder: str, prefix: str) -> Iterator[Listed]:
    try:
        with os.scandir(folder) as found:
            for each in found:
                status = each.stat(follow_symlinks=False)
                path, mode = prefix + each.name, status.st_mode
                executable = bool(mode & stat.S_IXUSR)
                if stat.S_ISREG(mode):
                    yield Listed(path, "file", status.st_size, status.st_mtime_ns, executable)
                elif stat.S_ISDIR(mode):
                    yield Listed(path, "folder", status.st_size, status.st_mtime_ns, executable)
                    yield from _listed(each.path, f"{path}/")
                else:
                    kind: Literal["link", "other"] = "link" if stat.S_ISLNK(mode) else "other"
                    yield Listed(path, kind, status.st_size, status.st_mtime_ns, executable)
    except OSError as error:
        raise failure("read", folder, error) from None


def totals(listing: Iterable[Listed]) -> tuple[int, int]:
    """Return how many files there are, and their bytes."""
    sizes = [each.size for each in listing if each.kind == "file"]
    return len(sizes), sum(sizes)


def stamp(listing: Iterable[Listed]) -> str:
    """Return what tells whether somebody changed a file: sha256 (64 hex digits) over paths, sizes and times."""
    found = {each.path: (each.size, each.mtime_ns) for each in listing if each.kind != "folder"}
    return hashlib.sha256(msgspec.json.encode(found, order="sorted")).hexdigest()
