"""What packager keeps of environments on this machine: conda packages, and the environments of `environment run`.

Both are in packager's cache, and can be made again: `conda/<subdir>/<package>/` is rattler's cache of unpacked
packages, `prefixes/<key>/` an environment. Who uses one holds a shared lock meanwhile; who removes one needs it alone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from packager.storage.reading import failure

PACKAGES, PREFIXES = "conda", "prefixes"

# As the store's: after a day, a temporary folder belongs to no running process.
_STALE = 86400


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Conda packages and environments, and their bytes: all that is kept, or what was removed of it."""

    packages: int
    packages_size: int
    prefixes: int
    prefixes_size: int


def hold(path: Path) -> int:
    """Return a descriptor that keeps `collect` from a folder until it is closed, by all programs that inherit it.

    Args:
        path: of the cache of conda packages, or of an environment; it need not be there yet.

    Raises:
        ContextError: the folder around it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(_lock(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise failure("written", path, error) from None
    with suppress(OSError):  # not every filesystem has locks
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Keep `collect` from a folder for a while; see `hold`."""
    descriptor = hold(path)
    try:
        yield
    finally:
        os.close(descriptor)


def used(paths: Iterable[Path]) -> None:
    """Note that folders were of use now."""
    for path in paths:
        with suppress(OSError):
            os.utime(path)


def info(root: Path) -> Kept:
    """Return what is kept in packager's cache; nothing is read but folders."""
    packages, prefixes = list(_packages(root / PACKAGES)), list(_folders(root / PREFIXES))
    return Kept(
        packages=len(packages),
        packages_size=sum(map(_size, packages)),
        prefixes=len(prefixes),
        prefixes_size=sum(map(_size, prefixes)),
    )


def collect(root: Path, older_than: float) -> Kept:
    """Remove what was not used for some seconds and is not in use now, and what interrupted runs have left.

    Raises:
        ContextError: something cannot be removed.
    """
    limit = time.time() - older_than
    packages: list[int] = []
    with _alone(root / PACKAGES) as alone:
        for path in _packages(root / PACKAGES) if alone else ():
            if path.stat().st_mtime < limit:
                packages.append(_remove(path))
                # rattler's own lock and note of the package.
                path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    prefixes = []
    for path in _folders(root / PREFIXES):
        with _alone(path) as alone:
            if alone and path.stat().st_mtime < limit:
                prefixes.append(_remove(path))
    for path in (root / PREFIXES).glob(".*.packager-*"):
        if path.stat().st_mtime < time.time() - _STALE:
            _remove(path)
    return Kept(
        packages=len(packages), packages_size=sum(packages), prefixes=len(prefixes), prefixes_size=sum(prefixes)
    )


def _lock(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether nobody uses a folder; nobody then begins to before this ends."""
    if not path.is_dir():
        yield False
        return
    descriptor = os.open(_lock(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # in use, or a filesystem that cannot tell
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _folders(folder: Path) -> Iterator[Path]:
    """Yield folders by name, those of ours that are not finished left out."""
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        if not name.startswith(".") and (folder / name).is_dir() and not (folder / name).is_symlink():
            yield folder / name


def _packages(folder: Path) -> Iterator[Path]:
    for subdir in _folders(folder):
        yield from _folders(subdir)


def _size(folder: Path) -> int:
    found = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                found += os.lstat(os.path.join(parent, name)).st_size
    return found


def _remove(folder: Path) -> int:
    size = _size(folder)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise failure("removed", folder, error) from None
    return size
