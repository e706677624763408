"""Paths that somebody else wrote into an artifact: which of them may become files here. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from packager.errors import RegistryError

#: Bytes of a path, and of a part of one: what filesystems take. Parts of a path: far above any model's.
_PATH, _PART, _DEPTH = 4095, 255, 100


def checked_path(path: str, named: str) -> str:
    """Return a path of a file below a folder, as it is.

    Args:
        path: with `/`.
        named: what has it, for messages.

    Raises:
        RegistryError: it is absolute, leaves the folder, or is none.
    """
    if problem := problem_of(path):
        raise RegistryError(f"{named} has a file whose path {problem}: {shown(path)}", remedy="do not trust it")
    return path


def problem_of(path: str) -> str:
    """Return what makes a path none of a file below a folder: completes "its path …"; empty where it is one."""
    if not path:
        return "is empty"
    if path.startswith("/"):
        return "is absolute"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in path):
        return "has control characters"
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "leaves its folder, or goes round about"
    if len(parts) > _DEPTH or len(path.encode()) > _PATH or any(len(part.encode()) > _PART for part in parts):
        return "is too long"
    return ""


def check_together(paths: Iterable[str], named: str) -> None:
    """Check that files can stand beside each other.

    Raises:
        RegistryError: two have one path, or one's path is another's folder.
    """
    if clash := clash_of(paths):
        raise RegistryError(f"{named} has {clash}")


def clash_of(paths: Iterable[str]) -> str:
    """Return which files cannot stand beside each other: completes "it has …"; empty where all can."""
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            return f"two files of one path: {shown(path)}"
        seen.add(path)
    for path in seen:
        above = path.rpartition("/")[0]
        while above:
            if above in seen:
                return f"{shown(above)} as a file and as a folder"
            above = above.rpartition("/")[0]
    return ""


def shown(path: str) -> str:
    """Return a path for a message: quoted, in one line, not too long."""
    return repr(path if len(path) <= 200 else f"{path[:200]}…")
