"""The folder of a deployment's files: read with its record, and written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from packager.contract import DEPLOY_RECORD as NAME
from packager.deployment.record import FileChange, Record, read_record, record_text
from packager.errors import ContextError
from packager.given import read_given
from packager.storage.files import write_bytes, write_text

#: Bytes of a file; those of platforms have some thousands.
MOST = 4 << 20


def record_in(folder: Path) -> Record | None:
    """Return the record of a folder; None where packager wrote nothing there.

    Raises:
        ContextError: it cannot be read, or is damaged.
    """
    text = _text(folder, NAME)
    return None if text is None else read_record(text, str(folder / NAME))


def texts_in(folder: Path, paths: Iterable[str]) -> dict[str, str | None]:
    """Return path → text of files in a folder; None of one that is not there.

    Raises:
        ContextError: one cannot be read, or leads out of the folder.
    """
    return {path: _text(folder, path) for path in paths}


def _text(folder: Path, path: str) -> str | None:
    try:
        # What is no UTF-8 is somebody's edit, and stays as it is.
        return read_given(folder / path, MOST, folder).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ContextError(
            f"{folder / path} cannot be read: {error.strerror}", remedy="it is to be a file, or nothing"
        ) from None


def write_changes(folder: Path, changes: Sequence[FileChange], record: Record) -> None:
    """Write the files of a folder, and its record at last.

    Raises:
        ContextError: one cannot be written.
    """
    try:
        for each in changes:
            path = folder / each.path
            if not each.writes:
                continue
            if each.after is None:
                path.unlink(missing_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, each.after.encode("utf-8", "surrogateescape"))
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ContextError(f"{folder} cannot be written: {error.strerror}", remedy="-o names another folder") from None
    write_text(folder / NAME, record_text(record))
