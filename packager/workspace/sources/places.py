"""Where downloads land: a folder of the cache for each, so that another try goes on where one was ended.

A process has a place alone; a second one waits. What is in it counts by what a note beside it says, which is written
whole, and last.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from packager.storage.collect import DAY, Guard, Kind
from packager.storage.locks import alone, lock_of, turn
from packager.storage.memory import cache_root
from packager.storage.reading import clone, copy_hashed, failure, opened

_FOLDER = "sources"


def download_kind(cache: Path) -> Kind:
    """Return the models in a cache that were fetched to be registered, whole ones and others."""
    return Kind(
        name="download",
        root=cache,
        patterns=(f"{_FOLDER}/*-*",),
        things="folder",
        cost=2,
        keeps=7 * DAY,
        guards=(Guard(),),
        young=DAY,
    )


@contextmanager
def place(scheme: str, key: str) -> Iterator[Path]:
    """Give the folder of a download, which is there and this process's alone until the block ends.

    Args:
        scheme: of its address.
        key: what tells it from others; nothing secret is kept of it.

    Raises:
        ContextError: the cache cannot be written.
    """
    folder = cache_root() / _FOLDER / f"{scheme}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise failure("written", folder, error) from None
    with turn(lock_of(folder), "waiting for another process that fetches the same"):
        # Models may be private. Made once the lock is ours: a collection may have removed it.
        folder.mkdir(mode=0o700, exist_ok=True)
        os.utime(folder)
        yield folder


def give(source: Path, target: Path) -> None:
    """Put a file that is whole into a folder of somebody else's: a hard link, or a copy on another filesystem.

    Raises:
        ContextError: it cannot be read, or the target is there or cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                raise
            _copy(source, target)
    except OSError as error:
        raise failure("written", target, error) from None


def _copy(source: Path, target: Path) -> None:
    with opened(source) as reading, target.open("xb") as writing:
        if not clone(reading, writing.fileno()):
            copy_hashed(reading, writing.fileno())


def remove_place(folder: Path) -> None:
    """Remove a download, unless another process uses it."""
    with alone(lock_of(folder)) as free:
        if free:
            shutil.rmtree(folder, ignore_errors=True)
