"""Where the blobs of images are kept: by digest, verified when they come in, never half-written.

`$XDG_CACHE_HOME/packager/content` has the folders of `packager.storage.blobs`. It is apart from the store of
models: what a saved context links to must stay, and this here can always be pulled or made again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from packager.contract import MTIME
from packager.errors import ContextError, PackagerError
from packager.progress import count_read, reading
from packager.storage.blobs import BLOB_MODE, Blobs
from packager.storage.collect import DAY, Guard, Kind
from packager.storage.locks import hold
from packager.storage.memory import Memory, cache_root
from packager.storage.reading import BLOCK, failure, hash_descriptor, opened, write_all

__all__ = ["ContentStore", "Memory", "content_guard", "content_root", "layer_kind"]

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})\Z")

#: Seconds for which a note of a blob's use is good enough.
_NOTED = 3600


def content_root() -> Path:
    """Return the folder of this user's content store."""
    return cache_root() / "content"


def content_guard(cache: Path) -> Guard:
    """Return what keeps things that a build under way may have found: all but those of no use for a day."""
    return Guard(over=cache / "content", spares=DAY)


def layer_kind(cache: Path) -> Kind:
    """Return the layers, configurations and manifests in the content store of a cache."""
    return Kind(
        name="layer",
        root=cache / "content",
        patterns=("sha256/*/*",),
        things="file",
        cost=2,
        used="atime",
        guards=(content_guard(cache),),
    )


class ContentStore:
    """Blobs by `sha256:…` (`content.Content`). Several threads and processes may use one at the same time.

    What it has given stays as long as it lives: it holds the lock of its folder.

    Args:
        root: its folder, made when needed; `content_root()` where None.
        clock: the time now, in seconds since the epoch.
    """

    _hold: int | None = None

    def __init__(self, root: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self.root = root if root is not None else content_root()
        self.blobs = _StreamBlobs(self.root)
        self._clock = clock
        self._beginning = threading.Lock()

    def __del__(self) -> None:
        self.release()

    def release(self) -> None:
        """Need no more what it has given, so that a collection may remove it; what is asked for next is held again."""
        hold, self._hold = self._hold, None
        if hold is not None:
            os.close(hold)

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether `sha256:…` is there, whole; it then counts as used now."""
        name = _hex(digest)
        # Looked at again once it is held: a collection may have been about to remove it.
        if not self.blobs.has(name, size) or (self._begin_use() and not self.blobs.has(name, size)):
            return False
        path = self.blobs.path(name)
        # A blob's modification time says that it is as written, so its access time says when it was of use. The
        # filesystem keeps that one only where it is not mounted with noatime.
        with contextlib.suppress(OSError):
            if path.stat().st_atime < self._clock() - _NOTED:
                os.utime(path, (self._clock(), MTIME))
        return True

    def path(self, digest: str) -> Path:
        """The file of `sha256:…`, or where it would be."""
        return self.blobs.path(_hex(digest))

    def put(self, stream: BinaryIO, expected: str | None = None) -> tuple[str, int]:
        """Take in a stream; return `sha256:…` and bytes.

        Raises:
            ContextError: `expected` differs, the folder cannot be written, or the disk is full. Nothing is kept.
        """
        wanted = _hex(expected) if expected is not None else None
        self._begin_use()
        digest, size = self.blobs.receive_stream(stream, wanted, self._clock)
        return f"sha256:{digest}", size

    def put_bytes(self, data: bytes) -> str:
        """Take in some bytes; return `sha256:…`.

        Raises:
            ContextError: as for `put`.
        """
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if not self.has(digest, len(data)):
            self.put(BytesIO(data), digest)
        return digest

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading.

        Raises:
            ContextError: it is not there, or not as it was written.
        """
        if not self.has(digest):
            raise ContextError(f"the blob {digest} is not in the store {self.root}", remedy="run the command again")
        try:
            return self.path(digest).open("rb")
        except OSError as error:
            raise failure("read", self.path(digest), error) from None

    def copy(self, digest: str, target: int) -> None:
        """Copy a blob into an open file (its descriptor), and hash it on the way.

        Raises:
            DamagedError: it is not what its name says; it is removed. What was written is of no use.
            ContextError: it is not there.
            OSError: the target cannot be written.
        """
        self.blobs.copy(_hex(digest), target)

    def verify(self) -> tuple[str, ...]:
        """Read every blob, remove the damaged ones and return their digests; they are pulled or made again.

        Raises:
            ContextError: a damaged one cannot be removed.
        """
        damaged = []
        blobs = list(self.blobs.all())
        with reading("reading layers", sum(status.st_size for _, status in blobs)):
            for path, status in blobs:
                with opened(path) as descriptor:
                    sound = self.blobs.has(path.name) and hash_descriptor(descriptor)[0] == path.name
                if sound:
                    with contextlib.suppress(OSError):
                        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # looking after it is no use of it
                else:
                    self.blobs.remove(path)
                    damaged.append(f"sha256:{path.name}")
        return tuple(damaged)

    def _begin_use(self) -> bool:
        """Hold the lock of the folder from now on; return whether it was not held before."""
        with self._beginning:
            if self._hold is not None:
                return False
            # Who may not write here cannot remove anything either; and what is put in is refused with a better reason.
            with contextlib.suppress(PackagerError):
                self._hold = hold(self.root)
            return self._hold is not None


class _StreamBlobs(Blobs):
    """Blobs that come as streams."""

    def receive_stream(self, stream: BinaryIO, expected: str | None, clock: Callable[[], float]) -> tuple[str, int]:
        """Copy a stream in; return its sha256 (64 hex digits) and size in bytes."""
        with self._temporary() as (target, temporary):
            digest, size = _copy(stream, target, self.root)
            if expected is not None and digest != expected:
                raise ContextError(f"what arrived as sha256:{expected} is sha256:{digest} ({size} bytes)")
            try:
                os.fchmod(target, BLOB_MODE)
                os.utime(target, (clock(), MTIME))
            except OSError as error:
                raise self._refused(error) from None
            self._place(temporary, digest, size)
        return digest, size


def _copy(stream: BinaryIO, target: int, shown: Path) -> tuple[str, int]:
    state, size = hashlib.sha256(), 0
    while data := stream.read(BLOCK):
        try:
            write_all(target, data)
        except OSError as error:
            if error.errno == errno.EIO:
                raise ContextError(f"{shown} cannot be written: the disk fails") from None
            raise failure("written", shown, error) from None
        state.update(data)
        size += len(data)
        count_read(len(data))
    return state.hexdigest(), size


def _hex(digest: str) -> str:
    found = _DIGEST.match(digest)
    # A digest may come from a document that somebody else wrote, and becomes part of a path here.
    if found is None:
        raise ContextError(f"{digest!r} is not a sha256 digest")
    return found[1]
