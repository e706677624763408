"""Reading and hashing files that may change under us, in one pass and with bounded memory."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from packager.errors import ContextError
from packager.progress import count_read

#: Bytes of one read. Large enough that calls cost nothing, small enough to stay in a processor's cache between the
#: write and the hashing of the same block.
BLOCK = 1 << 20

# Of a file whose inode changes meanwhile.
_READS = 10

# <linux/fs.h>: FICLONE = _IOW(0x94, 9, int).
_FICLONE = 0x40049409

AnyPath = str | bytes | os.PathLike[str]


class Stamp(NamedTuple):
    """What tells an unchanged file without reading it; sizes in bytes, times in nanoseconds since the epoch."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """Return the stamp of a stat result."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Digested(NamedTuple):
    """A file that was read: sha256 of its content (64 hex digits), bytes, and st_mode."""

    digest: str
    size: int
    mode: int


def failure(action: str, path: AnyPath, error: OSError) -> ContextError:
    """Return the error to raise for an `OSError`; `action` completes "PATH cannot be …"."""
    shown = os.fsdecode(path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ContextError(f"{shown} cannot be {action}: the disk is full", remedy=_space(shown))
    reason = error.strerror or type(error).__name__
    return ContextError(f"{shown} cannot be {action}: {reason}", remedy="check the path and its permissions")


def _space(path: str) -> str:
    """Return how space is made on the disk of a file; the store is of help on its own disk alone."""
    from packager.storage.memory import cache_root

    folder = existing(os.path.dirname(os.path.abspath(path)))
    with suppress(OSError):
        if os.stat(folder).st_dev == os.stat(existing(cache_root())).st_dev:
            return "free some space; `packager store gc` removes models that no saved context uses"
    return f"free some space on the disk of {folder}, or name a place on another one"


def existing(folder: str | os.PathLike[str]) -> str:
    """Return a folder, or the nearest one above it that is there."""
    found = os.path.abspath(folder)
    while not os.path.isdir(found) and found != os.path.dirname(found):
        found = os.path.dirname(found)
    return found


# O_NONBLOCK, so that a named pipe that took the place of a file cannot hang us; regular files ignore it.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def open_file(path: AnyPath, below: bytes | None = None) -> int:
    """Open a file for reading; one that is not below a folder is closed again before anything of it is read.

    Raises:
        OSError: it cannot be opened.
        ContextError: it is not below the folder.
    """
    descriptor = os.open(path, _READ)
    try:
        if below is not None and not _is_below(descriptor, path, below):
            raise ContextError(
                f"{os.fsdecode(path)} leads out of {os.fsdecode(below)} by now",
                remedy="let the program that replaces it finish, then run the command again",
            )
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_below(descriptor: int, path: AnyPath, below: bytes) -> bool:
    """Whether an open file is below a folder: asked of the descriptor, because the path may be another one by now."""
    try:
        real = os.readlink(b"/proc/self/fd/%d" % descriptor)
    except OSError:  # no Linux, or no /proc: then the path has to do
        real = os.path.realpath(os.fsencode(path))
    return real.startswith(os.path.join(below, b""))


@contextmanager
def opened(path: AnyPath, below: bytes | None = None) -> Iterator[int]:
    """Open a regular file for reading; when the block ends normally, the file must still be as it was when opened.

    Args:
        path: of the file.
        below: folder (absolute, without links) that it must be in, whoever replaces it by a link meanwhile.

    Yields:
        the descriptor.

    Raises:
        ContextError: it is missing, unreadable, not a regular file, elsewhere, or changed while the block ran.
    """
    try:
        descriptor = open_file(path, below)
    except OSError as error:
        raise failure("read", path, error) from None
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise not_regular(path)
        yield descriptor
        now, then = Stamp.of(os.fstat(descriptor)), Stamp.of(before)
        if now != then:
            raise _touched(path) if now._replace(ctime_ns=then.ctime_ns) == then else changed(path)
    finally:
        os.close(descriptor)


def read_small(path: AnyPath, below: bytes | None = None) -> tuple[bytes, int] | None:
    """Return content and st_mode of a file of less than `BLOCK` bytes, which must not change meanwhile; None of others.

    Most of a source directory is small files, 20,000 at times: this does what `opened` does in one function and without
    stamps, at half the cost.

    Raises:
        ContextError: it is missing, unreadable, not a regular file, not `below`, or changed.
    """
    try:
        descriptor = open_file(path, below)
        try:
            before = os.fstat(descriptor)
            size = before.st_size
            if size >= BLOCK:
                return None
            if not stat.S_ISREG(before.st_mode):
                raise not_regular(path)
            # One byte more than there should be, so that one call also sees the end.
            data = os.read(descriptor, size + 1)
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise failure("read", path, error) from None
    if after.st_mtime_ns != before.st_mtime_ns or len(data) != size or after.st_size != size:
        raise changed(path)
    if after.st_ctime_ns != before.st_ctime_ns:
        raise _touched(path)
    return data, before.st_mode


def not_regular(path: AnyPath) -> ContextError:
    """Return the error for what is a folder, a pipe or a device where a file is wanted."""
    return ContextError(f"{os.fsdecode(path)} is not a regular file", remedy="package files and folders only")


def changed(path: AnyPath) -> ContextError:
    """Return the error for a file that somebody writes to at the same time."""
    return ContextError(
        f"{os.fsdecode(path)} changed while it was read",
        remedy="let the program that writes it finish, then run the command again",
    )


class TouchedError(ContextError):
    """Nothing tells of other content than that the inode changed: a hard link was made or removed, or a mode set."""


def _touched(path: AnyPath) -> TouchedError:
    error = changed(path)
    return TouchedError(error.message, remedy=error.remedy)


def changed_since(path: AnyPath) -> ContextError:
    """Return the error for a file that is not what it was when its digest was taken."""
    return ContextError(f"{os.fsdecode(path)} changed since it was read", remedy="run the command again")


def digest_file(path: AnyPath, below: bytes | None = None) -> Digested:
    """Return digest, size and mode of a file, which must not change meanwhile.

    One that only got or lost a hard link is read again: other builds do that to the files of uv's cache all the time.

    Args:
        path: of the file.
        below: folder that it must be in, as for `opened`.

    Raises:
        ContextError: it is missing, unreadable, not a regular file, not `below`, or changed.
    """
    for _ in range(_READS - 1):
        with suppress(TouchedError):
            return _digest_once(path, below)
    return _digest_once(path, below)


def _digest_once(path: AnyPath, below: bytes | None) -> Digested:
    small = read_small(path, below)
    if small is not None:
        return Digested(hashlib.sha256(small[0]).hexdigest(), len(small[0]), small[1])
    with opened(path, below) as descriptor:
        try:
            digest, size = hash_descriptor(descriptor)
        except OSError as error:
            raise failure("read", path, error) from None
        return Digested(digest, size, os.fstat(descriptor).st_mode)


def hash_descriptor(descriptor: int) -> tuple[str, int]:
    """Return sha256 (64 hex digits) and size of what is left in a descriptor."""
    state = hashlib.sha256()
    size = 0
    buffer = bytearray(BLOCK)
    view = memoryview(buffer)
    while count := os.readv(descriptor, [buffer]):
        state.update(view[:count])
        size += count
        count_read(count)
    return state.hexdigest(), size


def copy_hashed(source: int, target: int) -> tuple[str, int]:
    """Copy what is left in a descriptor to another; return sha256 (64 hex digits) and size of the bytes copied.

    Of a large file, a second thread hashes each block while this one writes it and reads the next: both give up the
    interpreter's lock, so the two together take as long as the slower one.
    """
    data = os.read(source, BLOCK)
    if len(data) == BLOCK:
        return _copy_large(source, target, data)
    state, size = hashlib.sha256(), 0
    while data:
        state.update(data)
        write_all(target, data)
        size += len(data)
        count_read(len(data))
        data = os.read(source, BLOCK)
    return state.hexdigest(), size


def _copy_large(source: int, target: int, first: bytes) -> tuple[str, int]:
    # Imported late: it brings `logging`, and most files are small.
    from concurrent.futures import ThreadPoolExecutor

    state = hashlib.sha256()
    filled, other = bytearray(first), bytearray(BLOCK)
    size = count = len(first)
    with ThreadPoolExecutor(1) as pool:
        while count:
            data = memoryview(filled)[:count]
            hashing = pool.submit(state.update, data)
            write_all(target, data)
            count_read(count)
            count = os.readv(source, [other])
            size += count
            hashing.result()
            filled, other = other, filled
    return state.hexdigest(), size


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`: one call may write less when the disk fills or a signal arrives."""
    written = os.write(descriptor, data)
    while written < len(data):
        data = data[written:]
        written = os.write(descriptor, data)


def clone(source: int, target: int) -> bool:
    """Let `target` share the blocks of `source` (a reflink); return whether the filesystem can."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True
