"""Locks by which programs that run at the same time say what they use, so that nobody removes it meanwhile.

Who uses a thing holds a shared lock on the file `<thing>.lock` beside it; who removes or makes it needs that alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from packager.progress import working
from packager.storage.reading import failure


def lock_of(path: Path) -> Path:
    """Return the file whose lock tells that something is in use."""
    return path.with_name(f"{path.name}.lock")


def hold(path: Path) -> int:
    """Return a descriptor that keeps something from removal until it is closed, by all programs that inherit it.

    Args:
        path: of the thing; it need not be there yet.

    Raises:
        ContextError: the folder around it cannot be written.
    """
    try:
        descriptor = _open(lock_of(path), make=True)
    except OSError as error:
        raise failure("written", path, error) from None
    with suppress(OSError):  # not every filesystem has locks
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Keep something from removal for a while; see `hold`."""
    descriptor = hold(path)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def turn(lock: Path, waiting: str = "") -> Iterator[int]:
    """Wait until nobody else holds a lock, and give its descriptor; whoever comes until this ends waits.

    On a filesystem that has no locks nobody is kept out: then two may do the same work, and the last one's is kept.

    Args:
        lock: a file, which is made, or a folder that is its own lock.
        waiting: what people are told while they wait; nothing where empty.

    Raises:
        ContextError: the folder around it cannot be written.
    """
    try:
        descriptor = _open(lock, make=True)
    except OSError as error:
        raise failure("written", lock, error) from None
    try:
        with suppress(OSError):
            _wait(descriptor, waiting)
        yield descriptor
    finally:
        os.close(descriptor)


def _wait(descriptor: int, waiting: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with working(waiting) if waiting else nullcontext():
            fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextmanager
def alone(lock: Path, *, make: bool = True, unsure: bool = False) -> Iterator[bool]:
    """Say whether nobody holds a lock; nobody then gets it before this ends.

    Args:
        lock: a file, or a folder that is its own lock.
        make: make the file where it is not there; else nobody holds what is not there.
        unsure: what is said where the filesystem cannot tell.
    """
    try:
        descriptor = _open(lock, make=make)
    except OSError as error:
        # What cannot be looked at may well be in use.
        yield not make and error.errno in (errno.ENOENT, errno.ENOTDIR)
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        except OSError:
            yield unsure
        else:
            yield True
    finally:
        os.close(descriptor)


def _open(lock: Path, *, make: bool) -> int:
    if make:
        lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        # To be written: on NFS nobody else gets it alone.
        return os.open(lock, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0), 0o666)
    except IsADirectoryError:
        return os.open(lock, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
