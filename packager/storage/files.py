"""Writing small files so that an interruption leaves the old one or the new one, never half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from packager.errors import ContextError


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file in one step: a temporary file beside it, then a rename.

    Raises:
        ContextError: the folder is missing, not writable, or full.
    """
    write_bytes(path, text.encode())


def require_place(path: Path) -> None:
    """Refuse a place where no file can be written, before work is done for it.

    Raises:
        ContextError: the folder is missing or not writable; a folder has the file's name.
    """
    if path.is_dir():
        raise ContextError(f"{path} cannot be written: it is a folder", remedy="name a file in it")
    if not path.parent.is_dir():
        raise ContextError(
            f"{path} cannot be written: there is no folder {path.parent}", remedy="make it, or name another place"
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise _failed(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def _failed(path: Path, error: OSError) -> ContextError:
    # Imported late: most who write small files hash nothing.
    from packager.storage.reading import failure

    return failure("written", path, error)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file in one step, with the permissions that the process's umask gives a new file."""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise _failed(path, error) from None
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except OSError as error:
        raise _failed(path, error) from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
