"""Write the files of a lock so that nobody ever finds half of one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from packager.errors import ContextError, Location


def write_files(root: Path, files: Mapping[str, str]) -> None:
    """Replace files, all of them or (but for a machine that stops in between) none.

    All texts are on disk under temporary names before the first file is replaced, so a full disk changes nothing.
    Ctrl-C is answered when all is done: these are a few small files.

    Args:
        root: the folder of the spec.
        files: path relative to `root` → text; replaced in this order.

    Raises:
        ContextError: a file cannot be written.
    """
    staged: dict[Path, Path] = {}
    made: list[Path] = []
    path = root
    with _undisturbed():
        try:
            for relative, text in files.items():
                path = root / relative
                for folder in (root / parent for parent in reversed(Path(relative).parents)):
                    if not folder.is_dir():
                        folder.mkdir()
                        made.append(folder)
                temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
                staged[temporary] = path
                _write(temporary, text)
            for temporary, path in staged.items():
                temporary.replace(path)
        except OSError as error:
            where = Location(file=str(path))
            remedy = "the lock is as it was; make room or get the right to write there, and run the command again"
            raise ContextError(f"{path.name} cannot be written: {error.strerror}", where=where, remedy=remedy) from None
        finally:
            for temporary in staged:
                temporary.unlink(missing_ok=True)
            for folder in reversed(made):
                if not any(folder.iterdir()):
                    folder.rmdir()


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off the signals that end a process until the block is left."""
    # Python lets only the main thread set handlers, and runs them nowhere else: another thread is not disturbed.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    held = {
        number: signal.signal(number, lambda number, _frame: caught.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in held.items():
            # `None` stands for a handler that was not set from Python, which cannot be put back.
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if caught:
            signal.raise_signal(caught[0])
