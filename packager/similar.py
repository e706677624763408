"""A file that a spec names and that is not there: which one beside it is likely meant."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from pathlib import Path

_MOST = 2000


def similar(wanted: str, there: Iterable[str]) -> str | None:
    """Return the one of some names that is most like another, whatever the case; None where none is like it.

    Args:
        wanted: the name.
        there: those that there are.
    """
    from difflib import get_close_matches

    folded = {name.lower(): name for name in there}
    close = get_close_matches(wanted.lower(), folded, n=1, cutoff=0.75)
    return folded[close[0]] if close else None


def meant(folder: Path, path: str) -> str:
    """Return `did you mean 'models/a.pkl'?`, or nothing, for a path that is not there.

    Looked at is the folder that the path names, and where it is not there or has nothing alike, the folder of the spec.

    Args:
        folder: that the path is relative to.
        path: with `/`.
    """
    above, name = posixpath.split(posixpath.normpath(path))
    for inner in dict.fromkeys((above, "")):
        found = similar(name, _names(folder / inner))
        if found is not None:
            return f"did you mean {posixpath.join(inner, found)!r}?"
    top, _, rest = posixpath.normpath(path).partition("/")
    found = similar(top, _names(folder)) if rest else None
    if found is not None and (folder / found / rest).exists():
        return f"did you mean {posixpath.join(found, rest)!r}?"
    return ""


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as listing:
            return sorted(entry.name for _, entry in zip(range(_MOST), listing, strict=False))
    except (OSError, ValueError):
        return []
