"""Files into a new version's folder: linked where this machine has the content already, else copied and hashed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from packager.contract import MODEL_MODE, MTIME
from packager.errors import ContextError
from packager.progress import count_read
from packager.storage.blobs import copy_in
from packager.storage.digests import DigestMemory
from packager.storage.models import Store
from packager.storage.reading import Stamp, changed, changed_since, failure, opened
from packager.workspace.values import Content, File


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a version that are in its folder, sorted by path."""

    files: tuple[File, ...]
    samples: tuple[File, ...]


class Placer:
    """Puts files into folders of a workspace, read-only.

    Args:
        store: of this machine: it remembers digests, and its blobs are linked.
        known: digest (64 hex digits) → path of what another version has; one of the store's form is linked.
    """

    def __init__(self, store: Store, known: Mapping[str, Path]) -> None:
        self._store = store
        self._memory = DigestMemory(store.root)
        self._known = dict(known)

    def place(self, contents: Sequence[Content], folder: Path) -> tuple[File, ...]:
        """Put files below a folder, which is made.

        Raises:
            ContextError: one cannot be read, changes meanwhile, or is not of its digest; the disk is full.
        """
        found = []
        for content in sorted(contents, key=lambda each: each.path):
            target = folder / content.path
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise failure("written", target.parent, error) from None
            found.append(self._file(content, target))
        return tuple(found)

    def _file(self, content: Content, target: Path) -> File:
        known = self._recall(content)
        if known is not None and self._link(known[0], known[1], target):
            count_read(known[1])
            digest, size = known
        else:
            digest, size = self._copy(content, target)
        if content.sha256 not in (None, digest):
            raise changed_since(content.origin)
        self._known.setdefault(digest, target)
        return File(path=content.path, size=size, sha256=digest)

    def _recall(self, content: Content) -> tuple[str, int] | None:
        """Return digest and size of a file that need not be read."""
        return self._store.recall(content.origin)

    def _link(self, digest: str, size: int, target: Path) -> bool:
        """Link what is known to have the content: another version's file, or the store's blob, as they were written."""
        for origin in (self._known.get(digest), self._store.path(digest)):
            if origin is None or not _as_written(origin, size):
                continue
            try:
                if origin == self._store.path(digest):
                    self._store.link(digest, target)
                else:
                    read = self._store.recall(origin)
                    os.link(origin, target)
                    if read is not None:  # a link changes the time of the inode, and not what is known of it
                        self._store.note(origin, read[0])
            except ContextError:
                continue
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise failure("written", target, error) from None
                continue
            return True
        return False

    def _copy(self, content: Content, target: Path) -> tuple[str, int]:
        name = os.path.abspath(content.origin)
        read_at = self._memory.now()
        try:
            before = Stamp.of(content.origin.stat())
            descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise failure("written" if content.origin.exists() else "read", target, error) from None
        try:
            with opened(content.origin, content.below) as source:
                digest, size = copy_in(source, descriptor, content.origin)
        finally:
            os.close(descriptor)
        with suppress(OSError):
            if Stamp.of(content.origin.stat()) != before:
                raise changed(content.origin)
            self._memory.remember(name, before, digest, read_at=read_at)
        return digest, size


def _as_written(path: Path, size: int) -> bool:
    """Whether a file is as a workspace or the store writes them, as far as that can be told without reading it."""
    try:
        status = path.lstat()
    except OSError:
        return False
    mode, when = stat.S_IFREG | MODEL_MODE, MTIME * 10**9
    return (status.st_mode, status.st_mtime_ns, status.st_size) == (mode, when, size)
