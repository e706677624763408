"""Files by their sha256, in a folder: what the store is made of.

Layout: `sha256/<first two hex digits>/<64 hex digits>`, mode 0444, fixed modification time; `tmp/` for what is being
written. Nothing here is waited for to reach the disk, as `cp` does not: after a power failure `packager store verify`
finds what was lost, and the next save adds it again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from packager.contract import MTIME
from packager.errors import ContextError
from packager.storage.reading import changed_since, clone, copy_hashed, failure, hash_descriptor, opened

BLOB_MODE = 0o444

#: What the kernel says where no hard link can be: another filesystem, too many links, or a filesystem without them.
_NO_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP)
_NAME = re.compile(r"[0-9a-f]{64}\Z")


#: Bytes up to which a blob is read before it counts as there: documents are few, and what is wrong in one decides all.
SMALL = 64 << 10


T = TypeVar("T")

#: Damaged blobs that are made again in one run; where there are more, the disk is not to be relied on.
DAMAGED = 100


class DamagedError(ContextError):
    """A blob was not what its name says, and is removed: whoever makes or fetches it again goes on."""


def not_as_read(path: str | bytes | os.PathLike[str], digest: str) -> ContextError:
    """Return the error for a file whose content is not of a digest (64 hex digits); a blob of that digest is removed.

    Raises:
        ContextError: it cannot be removed.
    """
    if os.path.basename(os.fsdecode(path)) != digest:
        return changed_since(path)
    try:
        os.unlink(path)
    except OSError as error:
        return failure("removed", path, error)
    return DamagedError(
        f"{os.fsdecode(path)} in the store was damaged, and is removed", remedy="run the command again: it is made anew"
    )


def healed(act: Callable[[], T], say: Callable[[str], None]) -> T:
    """Return what an act returns, which makes or fetches anew what is damaged in the store; `say` is told of it.

    Raises:
        DamagedError: again and again, as on a disk that fails.
    """
    for _ in range(DAMAGED):
        try:
            return act()
        except DamagedError as error:
            say(error.message)
    return act()


class Blobs:
    """The blobs in one folder, which is made when needed. Several processes may use it at the same time.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Return where the blob of a digest (64 hex digits) is, or would be."""
        return self.root / "sha256" / digest[:2] / digest

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether a blob is there as it was written: type, mode, time and size (where given) are looked at.

        A small one is read as well. Others are hashed where they are read anyway.
        """
        path = self.path(digest)
        try:
            status = path.lstat()
            as_written = status.st_mode == stat.S_IFREG | BLOB_MODE and status.st_mtime_ns == MTIME * 10**9
            if not as_written or size not in (None, status.st_size):
                return False
            return status.st_size > SMALL or hashlib.sha256(path.read_bytes()).hexdigest() == digest
        except OSError:
            return False

    def receive(self, path: Path, below: bytes | None = None) -> tuple[str, int, bool]:
        """Copy a file in, reading it once.

        Returns:
            its sha256 (64 hex digits), size in bytes, and whether the blob is this copy: one of that name may be there.

        Args:
            path: of the file.
            below: folder that it must be in, as for `opened`.

        Raises:
            ContextError: the file cannot be read, or changes meanwhile; the folder cannot be written, or is full.
        """
        with self._temporary() as (target, temporary):
            with opened(path, below) as source:
                digest, size = copy_in(source, target, path)
            placed = self._place(temporary, digest, size)
        return digest, size, placed

    def link(self, digest: str, destination: Path) -> bool:
        """Give a blob another name: a hard link, or a copy where none can be. Return False when the blob is gone.

        Raises:
            ContextError: the destination exists or cannot be written.
        """
        try:
            os.link(self.path(digest), destination)
        except OSError as error:
            if error.errno in _NO_LINK:
                self._copy_out(digest, destination)
            elif error.errno == errno.ENOENT and not self.has(digest):
                return False
            else:
                raise failure("written", destination, error) from None
        return True

    def adopt(self, path: Path, digest: str) -> bool:
        """Make a file a blob by a further link, unread; return False where no link can be, or it is not as one is."""
        blob = self.path(digest)
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            blob.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.link(path, blob)
            if not self.has(digest):
                blob.unlink()
                return False
        except OSError:
            return False
        return True

    def copy(self, digest: str, target: int) -> None:
        """Copy a blob into an open file, and hash it on the way.

        Raises:
            DamagedError: it is not what its name says; it is removed. What was written is of no use.
            ContextError: it is gone, or cannot be removed.
            OSError: the target cannot be written.
        """
        path = self.path(digest)
        with opened(path) as source:
            if copy_hashed(source, target)[0] != digest:
                raise not_as_read(path, digest)

    def remove(self, path: Path) -> None:
        """Remove a file of the folder; one that is gone already is fine.

        Raises:
            ContextError: it cannot be removed.
        """
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise failure("removed", path, error) from None

    def all(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Iterate over all blobs with their stat results, sorted by digest."""
        for path in sorted(self.root.glob("sha256/*/*")):
            if _NAME.match(path.name):
                with contextlib.suppress(FileNotFoundError):
                    yield path, path.lstat()

    def _copy_out(self, digest: str, destination: Path) -> None:
        try:
            with destination.open("xb") as target:
                try:
                    self.copy(digest, target.fileno())
                except BaseException:
                    destination.unlink()
                    raise
            destination.chmod(BLOB_MODE)
            os.utime(destination, (MTIME, MTIME))
        except OSError as error:
            raise failure("written", destination, error) from None

    @contextmanager
    def _temporary(self) -> Iterator[tuple[int, Path]]:
        """Give descriptor and path of a new file; its name is gone when the block ends."""
        # Imported late: it costs 4 ms, and most commands write no blob.
        import tempfile

        try:
            # Models may be private, and blobs are readable for all: nobody else gets into this folder.
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = self.root / "tmp"
            folder.mkdir(exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=folder)
        except OSError as error:
            raise self._refused(error) from None
        try:
            yield descriptor, Path(name)
        finally:
            os.close(descriptor)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)

    def _place(self, temporary: Path, digest: str, size: int) -> bool:
        """Give a finished file its name; return False where one that is as it was written has that already."""
        blob = self.path(digest)
        try:
            blob.parent.mkdir(parents=True, exist_ok=True)
            try:
                # Not a rename, which would replace the blob that another process placed and linked meanwhile.
                os.link(temporary, blob)
            except OSError:
                if self.has(digest, size):
                    return False
                temporary.replace(blob)
            return True
        except OSError as error:
            raise self._refused(error) from None

    def _refused(self, error: OSError) -> ContextError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return failure("written", self.root, error)
        return ContextError(
            f"the store {self.root} cannot be written: {error.strerror}",
            remedy="let XDG_CACHE_HOME name a folder that you may write to",
        )


def copy_in(source: int, target: int, path: Path) -> tuple[str, int]:
    """Make a new file a read-only copy of another; return sha256 (64 hex digits) and size.

    Args:
        source: descriptor of the other.
        target: descriptor of the new one.
        path: of the source, for what is said.

    Raises:
        ContextError: the disk is full, or one of them fails.
    """
    try:
        # A reflink costs no space at all. The clone is what gets hashed: it cannot change any more.
        digest, size = hash_descriptor(target) if clone(source, target) else copy_hashed(source, target)
        os.fchmod(target, BLOB_MODE)
        os.utime(target, (MTIME, MTIME))
    except OSError as error:
        raise failure("copied into the store", path, error) from None
    return digest, size
