"""The one reader of small files that somebody else made: regular ones, below a folder, up to a limit.

What it refuses is an `OSError` whose `strerror` says why, as of a file that is missing: who reads knows what the file
is for, and says what to do.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

#: Bytes of what people write by hand: far above any real one.
TEXT_LIMIT = 1 << 20

# O_NONBLOCK, so that a named pipe does not hang us; O_NOCTTY, so that a terminal does not become ours.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_BLOCK = 1 << 20

_CONFLICT = re.compile(r"^(?:<<<<<<<|=======$|>>>>>>>|\|\|\|\|\|\|\|)", re.MULTILINE)


def read_given(path: str | os.PathLike[str], limit: int = TEXT_LIMIT, below: Path | None = None) -> bytes:
    """Return the content of a file.

    Args:
        path: of the file.
        limit: bytes that it may have at most.
        below: folder that links in the path may not lead out of, whoever changes them meanwhile; any where None.

    Raises:
        OSError: it is missing, unreadable, no regular file, larger than the limit, or not below the folder.
    """
    descriptor = os.open(path, _READ) if below is None else _open_below(path, below)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", os.fspath(path))
        parts, left = [], limit + 1
        # The size is not asked: of what the kernel makes up, and of what grows, it says nothing.
        while left and (data := os.read(descriptor, min(left, _BLOCK))):
            parts.append(data)
            left -= len(data)
        if not left:
            raise OSError(errno.EFBIG, f"it is larger than {limit} bytes", os.fspath(path))
        return b"".join(parts)
    finally:
        os.close(descriptor)


def find_conflict(text: str) -> int | None:
    """Return the line, from 1, on which version control left a merge conflict; None where there is none."""
    found = _CONFLICT.search(text)
    return text.count("\n", 0, found.start()) + 1 if found else None


def _open_below(path: str | os.PathLike[str], folder: Path) -> int:
    """Open a file by its path without links, part by part: none of them may have become a link meanwhile."""
    real, root = os.path.realpath(path), os.path.realpath(folder)
    if os.path.commonpath((real, root)) != root or real == root:
        raise OSError(errno.ELOOP, f"it leads out of the folder {os.fspath(folder)}", os.fspath(path))
    *above, name = os.path.relpath(real, root).split(os.sep)
    current = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for each in above:
            below = os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
            os.close(current)
            current = below
        return os.open(name, _READ | os.O_NOFOLLOW, dir_fd=current)
    finally:
        os.close(current)
