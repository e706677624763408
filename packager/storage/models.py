"""Content-addressed store of models and other large files: one copy on disk, however many contexts there are.

Users' files change under us, and a hard link to them would change a saved context. So they enter the store once, read
and hashed in the same pass, and every context hard-links from here. The blobs are in the folders of
`packager.storage.blobs`; `memory/digests` beside them holds the digests of files that were read before.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from packager.errors import ContextError
from packager.progress import reading
from packager.storage.blobs import SMALL, Blobs
from packager.storage.collect import Kind
from packager.storage.content import content_guard
from packager.storage.digests import DigestMemory
from packager.storage.memory import cache_root
from packager.storage.reading import Stamp, changed_since, digest_file, failure, not_regular, open_file


class StoreCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What `Store.verify` found: blobs and bytes that were read, and the digests whose blobs were damaged."""

    checked: int
    size: int
    damaged: tuple[str, ...]


def default_root() -> Path:
    """Return the folder of this user's store: `$XDG_CACHE_HOME/packager/store`, below `~/.cache` when that is unset."""
    return cache_root() / "store"


def model_kind(cache: Path) -> Kind:
    """Return the models in the store of a cache: contexts, services and runs link to those that they need.

    Contexts on other filesystems have copies, and lose nothing. A link made or removed is the last use of a model. A
    build without an engine reads one without a link.
    """
    return Kind(
        name="model",
        root=cache / "store",
        patterns=("sha256/*/*",),
        things="file",
        cost=0,
        keeps=0.0,
        used="ctime",
        guards=(content_guard(cache),),
        linked=True,
    )


class Store:
    """Blobs by their sha256. Several processes may use one store at the same time.

    Args:
        root: its folder, made when needed; `default_root()` where None.
        clock: the time now, in nanoseconds since the epoch.
    """

    def __init__(self, root: Path | None = None, clock: Callable[[], int] = time.time_ns) -> None:
        self.root = root if root is not None else default_root()
        self.blobs = Blobs(self.root)
        self._memory = DigestMemory(self.root, clock)

    def digest(self, path: Path, below: bytes | None = None) -> tuple[str, int]:
        """Return sha256 (64 hex digits) and size in bytes of a file; one that has not changed is not read again.

        Args:
            path: of the file.
            below: folder (absolute, without links) that it must be in, whoever replaces it by a link meanwhile.

        Raises:
            ContextError: the file is missing, unreadable, not regular, elsewhere, or changes while it is read.
        """
        name, stamp = self._look(path, below)
        if known := self._memory.recall(name, stamp):
            return known, stamp.size
        read_at = self._memory.now()
        found = digest_file(path, below)
        self._remember(path, name, stamp, found.digest, read_at)
        return found.digest, found.size

    def recall(self, path: Path) -> tuple[str, int] | None:
        """Return what `digest` does where it is remembered; None where the file would have to be read.

        Raises:
            ContextError: the file is missing, unreadable or not regular.
        """
        name, stamp = self._look(path)
        known = self._memory.recall(name, stamp)
        return None if known is None else (known, stamp.size)

    def add(self, path: Path, below: bytes | None = None) -> tuple[str, int]:
        """Put a file into the store, unless it is there; return its sha256 (64 hex digits) and size in bytes.

        Args:
            path: of the file.
            below: as for `digest`.

        Raises:
            ContextError: as for `digest`, or the store cannot be written, or the disk is full. Nothing is left behind.
        """
        name, stamp = self._look(path, below)
        known = self._memory.recall(name, stamp)
        if known is not None and self.blobs.has(known, stamp.size):
            return known, stamp.size
        read_at = self._memory.now()
        digest, size, placed = self.blobs.receive(path, below)
        if placed:
            self._note(digest, self._stamp(digest))
        self._remember(path, name, stamp, digest, read_at)
        return digest, size

    def adopt(self, path: Path, digest: str, size: int) -> bool:
        """Take a read-only file of another place of ours in, by link where that can be; return whether it has a digest.

        Args:
            path: of the file.
            digest: of its content (64 hex digits).
            size: bytes.

        Raises:
            ContextError: it cannot be read, or the store not written.
        """
        if self.has(digest, size):
            return True
        known = self.recall(path)
        if not self.blobs.adopt(path, digest):
            return self.blobs.receive(path)[0] == digest
        if known is not None and known[0] == digest:
            # A link changes the time of the inode, of which both are names, and nothing else.
            self._note(digest, self._stamp(digest))
            self.note(path, digest)
        elif not self._is_sound(digest, size):
            self.blobs.remove(self.path(digest))
            return False
        return True

    def note(self, path: Path, digest: str) -> None:
        """Remember the digest (64 hex digits) of a file that was just written or read, and that nobody writes to."""
        name, stamp = self._look(path)
        if stamp.size > SMALL:
            self._memory.note(name, stamp, digest)

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether the blob of a digest (64 hex digits) is there as it was written, and of `size` bytes where given."""
        return self.blobs.has(digest, size)

    def is_sound(self, digest: str, size: int | None = None) -> bool:
        """Whether the blob of a digest has its content: by what is remembered of it, or else by reading it."""
        return self._is_sound(digest, size)

    def path(self, digest: str) -> Path:
        """Return where the blob of a digest (64 hex digits) is, or would be."""
        return self.blobs.path(digest)

    def link(self, digest: str, destination: Path, *, size: int | None = None, origin: Path | None = None) -> None:
        """Give a blob another name: a hard link, or a copy where none can be.

        A blob that somebody changed through another of its names is never passed on: it is read where anything of its
        inode changed since it was read last, by others than this store, which knows what its own links change.

        Args:
            digest: of the blob (64 hex digits).
            destination: must not exist.
            size: bytes that the blob must have.
            origin: the file to add again where the blob is missing or damaged.

        Raises:
            ContextError: the blob is missing or damaged and there is no `origin`, or that has another content now, or
                the destination cannot be written.
        """
        for _ in range(3):
            if not self._is_sound(digest, size):
                self._restore(digest, origin)
            with self.relinking([digest]):
                linked = self.blobs.link(digest, destination)
            if linked:
                return
            # The blob went between the look and the link: a `gc` of another process. It comes back from its origin.
        raise ContextError(f"{destination} cannot be written: its blob keeps vanishing", remedy="run the command again")

    @contextmanager
    def relinking(self, digests: Iterable[str]) -> Iterator[None]:
        """Make or remove links to blobs in the block: what else the block did not change is still known as read.

        A link changes the time of the inode, as other content does. Whoever else writes to a blob in that very moment,
        and sets its time back, is not noticed here; `packager store verify`, which reads everything, finds it.
        """
        before = {each: stamp for each in digests if (stamp := self._stamp(each)) and self._knows(each, stamp)}
        try:
            yield
        finally:
            for digest, stamp in before.items():
                after = self._stamp(digest)
                if after is not None and after != stamp and after._replace(ctime_ns=stamp.ctime_ns) == stamp:
                    self._note(digest, after)

    def verify(self) -> StoreCheck:
        """Read every blob; the damaged ones are removed, so that the next save adds them again from the model.

        Raises:
            ContextError: a damaged one cannot be removed.
        """
        damaged = []
        blobs = list(self.blobs.all())
        with reading("reading models", sum(found.st_size for _, found in blobs)):
            for path, _ in blobs:
                try:
                    sound = self.blobs.has(path.name) and digest_file(path).digest == path.name
                except ContextError:
                    sound = False
                if not sound:
                    damaged.append(path.name)
                    self.blobs.remove(path)
        return StoreCheck(checked=len(blobs), size=sum(found.st_size for _, found in blobs), damaged=tuple(damaged))

    def _look(self, path: Path, below: bytes | None = None) -> tuple[str, Stamp]:
        try:
            if below is None:
                status = path.stat()
            else:
                descriptor = open_file(path, below)
                status = os.fstat(descriptor)
                os.close(descriptor)
        except OSError as error:
            raise failure("read", path, error) from None
        if not stat.S_ISREG(status.st_mode):
            raise not_regular(path)
        return os.path.abspath(path), Stamp.of(status)

    def _remember(self, path: Path, name: str, before: Stamp, digest: str, read_at: int) -> None:
        # What was read did not change meanwhile; this also sees that the path still names that same file.
        if self._look(path)[1] == before:
            self._memory.remember(name, before, digest, read_at=read_at)

    def _is_sound(self, digest: str, size: int | None) -> bool:
        """Whether a blob is there and has its content: by what is remembered of it, or else by reading it."""
        stamp = self._stamp(digest)
        if stamp is None or not self.blobs.has(digest, size):
            return False
        # A small one was read just now.
        if self._knows(digest, stamp):
            return True
        if digest_file(self.path(digest)).digest != digest:
            return False
        if self._stamp(digest) == stamp:
            self._note(digest, stamp)
        return True

    def _knows(self, digest: str, stamp: Stamp) -> bool:
        return stamp.size <= SMALL or self._memory.recall(str(self.path(digest)), stamp) == digest

    def _note(self, digest: str, stamp: Stamp | None) -> None:
        if stamp is not None and stamp.size > SMALL:
            self._memory.note(str(self.path(digest)), stamp, digest)

    def _stamp(self, digest: str) -> Stamp | None:
        try:
            return Stamp.of(self.path(digest).lstat())
        except OSError:
            return None

    def _restore(self, digest: str, origin: Path | None) -> None:
        existed = os.path.lexists(self.path(digest))
        if existed:
            self.blobs.remove(self.path(digest))
        if origin is None:
            reason = "was damaged, and is removed" if existed else "is not there"
            raise ContextError(
                f"the blob sha256:{digest} in the store {reason}", remedy="save the context again from its model"
            )
        if self.add(origin)[0] != digest:
            raise changed_since(origin)
