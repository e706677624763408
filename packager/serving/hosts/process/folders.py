"""The folders in which packager keeps what runs without Docker: `$XDG_STATE_HOME/packager`, `~/.local/state` unset."""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from packager.storage.collect import UNUSED, Guard, Kind
from packager.storage.locks import turn
from packager.storage.memory import state_root
from packager.storage.reading import failure


def service_folder(name: str) -> Path:
    """Return the folder of a named service; it is there only while the service is."""
    return state_root() / "services" / name


def service_kind(state: Path) -> Kind:
    """Return the services without Docker: each stays until it is deleted."""
    root = state / "services"
    return Kind(name="service", root=root, patterns=("[!.]*",), things="folder", cost=3, young=math.inf)


def run_kind(state: Path) -> Kind:
    """Return the folders of runs; one that is under way holds its own, which was made just before."""
    return Kind(
        name="run",
        root=state / "runs",
        patterns=("*",),
        things="folder",
        cost=0,
        keeps=0.0,
        young=60.0,
        guards=(Guard(itself=True),),
    )


def batches_folder() -> Path:
    """Return the folder of batches whose results go to a URL; whoever runs one holds it (`packager.storage.locks`)."""
    return state_root() / "batches"


def batch_kind(state: Path) -> Kind:
    """Return the results of batches that are not, or not all, where they were to go: `--resume` goes on with them.

    No limit takes one that somebody may still want: what is done of it may have taken days.
    """
    root = state / "batches"
    return Kind(
        name="batch result",
        root=root,
        patterns=("[0-9a-f]*",),
        things="folder",
        cost=3,
        young=UNUSED,
        guards=(Guard(over=root),),
    )


@contextmanager
def run_folder() -> Iterator[Path]:
    """Give a folder for one run, which goes at the end; those of runs that were killed go at the start of the next.

    Not below /tmp: models would often have to be copied there, where here they are links.

    Raises:
        ContextError: it cannot be made.
    """
    runs = state_root() / "runs"
    try:
        runs.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in runs.iterdir():
            _remove_left(each)
        folder = Path(tempfile.mkdtemp(dir=runs))
    except OSError as error:
        raise failure("written", runs, error) from None
    with turn(folder):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def live_runs() -> Iterator[Path]:
    """Give the folders of runs that are under way."""
    with suppress(OSError):
        for folder in sorted((state_root() / "runs").iterdir()):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                yield folder
            finally:
                os.close(lock)


def _remove_left(folder: Path) -> None:
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # One that was made just now is not locked yet, and empty.
        if any(folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return
    finally:
        os.close(lock)
