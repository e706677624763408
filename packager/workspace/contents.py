"""Which files are registered of a path: the rules by which a build takes a model's folder, less what programs leave."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from packager.context.strays import is_blobs_of_hub, is_pointer, pointer_error
from packager.context.walk import Everything, Root, Words, walk
from packager.errors import ContextError
from packager.storage.reading import failure
from packager.workspace.values import Content

#: Never part of a model: version control, caches, and what a file manager left.
LEFT_OUT = frozenset({".git", "__pycache__", ".ipynb_checkpoints", ".DS_Store"})

_WORDS = Words(
    folder="the folder that is registered",
    leave_out="move it out of the folder",
    too_many="register a folder with fewer files, or an archive of them",
)


class _Registered(Everything):
    """What is taken of a folder; not what links in a cache of Hugging Face lead to, which is taken at the links."""

    def keeps(self, path: str) -> bool:
        return path.rpartition("/")[2] not in LEFT_OUT

    def keeps_below(self, _folder: str) -> bool:
        return False

    def refuses(self, folder: bytes, _names: object, beside: Iterable[str]) -> bool:
        return is_blobs_of_hub(folder, tuple(beside))


def scan_contents(path: str | os.PathLike[str], called: str | None = None) -> tuple[Content, ...]:
    """Return the files of a file or folder that is to be registered, sorted by path; none is read.

    Args:
        path: of the file or folder; a link is followed, and keeps its name.
        called: name of the top, where it is not the path's own.

    Raises:
        ContextError: nothing is there, or nothing in it; a link that leaves the folder, a socket, pipe or device; a
            name that is not UTF-8, has control characters, or differs from another by its case alone; a pointer of Git
            LFS.
    """
    full = os.path.abspath(os.fsencode(path))
    root = Root.of(os.fsdecode(full), _WORDS)
    top = os.fsdecode(os.path.basename(full)) if called is None else called
    if not top:
        raise ContextError(f"{os.fsdecode(path)} is no model", remedy="name a file or folder in it")
    root.check_name(top)
    try:
        mode = os.stat(full).st_mode
    except OSError as error:
        raise failure("read", full, error) from None
    if stat.S_ISDIR(mode):
        found = [(f"{top}/{name}", each) for name, each in walk(root, full, _Registered()).files]
        below = root.real
    elif stat.S_ISREG(mode):
        found, below = [(top, full)], os.path.dirname(root.real)
    else:
        raise root.special(full, mode)
    _require_content(os.fsdecode(full), found)
    _require_apart(name for name, _ in found)
    contents = (Content(path=name, origin=Path(os.fsdecode(each)), below=below) for name, each in found)
    return tuple(sorted(contents, key=lambda each: each.path))


def _require_content(shown: str, found: Iterable[tuple[str, bytes]]) -> None:
    total = 0
    for _, full in found:
        try:
            size = os.stat(full).st_size
        except OSError as error:
            raise failure("read", full, error) from None
        if is_pointer(full, size):
            raise pointer_error(os.fsdecode(full))
        total += size
    if not total:
        raise ContextError(f"{shown} is empty", remedy="save the model there; a download may not be complete")


def _require_apart(names: Iterable[str]) -> None:
    """Refuse names that are one name on a filesystem that ignores case or forms of Unicode, as macOS' and Windows'."""
    seen: dict[str, str] = {}
    for name in names:
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            other = seen.setdefault(unicodedata.normalize("NFC", path).casefold(), path)
            if other != path:
                raise ContextError(
                    f"{other!r} and {path!r} differ by case or the form of a letter alone",
                    remedy="rename one: on macOS and Windows one would overwrite the other",
                )
