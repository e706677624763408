"""Folders for the moment, in the temporary directory; what killed processes left there goes a day later."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

#: How the names of our folders there start; those of the programs that run in child processes, too.
PREFIXES = tuple(
    f"packager-{name}-"
    for name in (
        *("lock", "conda", "conda-lock", "create", "export", "wheels", "build", "bake"),
        *("batch", "environment", "dataset"),
    )
)

#: Seconds after which a folder is nobody's: nothing that needs one takes as long.
ABANDONED = 86400.0


@contextmanager
def scratch(prefix: str, clock: Callable[[], float] = time.time) -> Iterator[str]:
    """Give a new folder that only this user can enter, and remove it at the end.

    Args:
        prefix: of its name; one of `PREFIXES`.
        clock: the time now, in seconds since the epoch.
    """
    # Imported late: most runs need no such folder.
    import tempfile

    assert prefix in PREFIXES
    _sweep(Path(tempfile.gettempdir()), clock() - ABANDONED)
    with tempfile.TemporaryDirectory(prefix=prefix) as name, _in_use(name):
        yield name


def scratch_until_exit(prefix: str) -> str:
    """Return a new folder, as `scratch` gives one, which is removed when this process ends."""
    import atexit

    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(scratch(prefix))


@contextmanager
def _in_use(folder: str) -> Iterator[None]:
    """Keep others from sweeping a folder away, whatever their clocks say; the lock ends with the process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def scratch_folders() -> tuple[Path, ...]:
    """Return this user's folders that `scratch` made, in the temporary directory: those in use, and what was left."""
    import tempfile

    return tuple(Path(path) for path, _ in _ours(Path(tempfile.gettempdir())))


def _sweep(parent: Path, before: float) -> None:
    """Remove this user's folders of ours that were last changed before a time: SIGKILL leaves them."""
    for path, changed in _ours(parent):
        if changed < before:
            with suppress(OSError):
                _remove_unused(path)


def _ours(parent: Path) -> list[tuple[str, float]]:
    """Return path and time of the last change of this user's folders of ours."""
    found = []
    with suppress(OSError), os.scandir(parent) as listing:
        for each in listing:
            if not each.name.startswith(PREFIXES):
                continue
            with suppress(OSError):
                status = each.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                    found.append((each.path, status.st_mtime))
    return found


def _remove_unused(folder: str) -> None:
    """Remove a folder that no process says it uses.

    Raises:
        OSError: one does.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
