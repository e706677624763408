"""Walking a folder of the user's: regular files and folders only, links only where they stay inside, in one order.

Paths are handled as bytes and decoded as UTF-8, so that the locale of the machine changes nothing.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from packager.errors import ContextError
from packager.storage.reading import failure

#: Files of one context: far above any real one, far below what links to folders full of links could pretend to be.
MAX_FILES = 200_000

#: C0 and C1 control characters, line separators, and the surrogates by which Python stands for bytes that are no UTF-8.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# OCI image spec 1.1, `layer.md`, "Whiteouts": such a file never appears in a container.
_WHITEOUT = ".wh."

_KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


class Words(NamedTuple):
    """How errors of a walk speak.

    Attributes:
        folder: what the root is.
        leave_out: what to do with something that is not to be taken.
        too_many: what to do about too many files.
    """

    folder: str = "the folder of the spec"
    leave_out: str = "leave it out by .dockerignore"
    too_many: str = "leave folders out by .dockerignore, or let `source_dir` name a smaller folder"


class Root(NamedTuple):
    """The folder of the spec, or of what has no spec, which no path may leave.

    Attributes:
        path: absolute, as the user knows it.
        real: the same without links.
        words: of errors.
    """

    path: bytes
    real: bytes
    words: Words = Words()

    @classmethod
    def of(cls, folder: str | os.PathLike[str], words: Words = Words()) -> Root:  # noqa: B008 - it is a value
        """Return the root at a folder."""
        path = os.path.abspath(os.fsencode(folder))
        return cls(path, os.path.realpath(path), words)

    def join(self, origin: str) -> bytes:
        """Return the absolute path of one that is relative to the root.

        Files of registered models have absolute ones: they are where packager laid them down, and a spec names no
        absolute path.
        """
        if origin.startswith("/"):
            return origin.encode()
        return self.path if origin == "." else b"%s/%s" % (self.path, origin.encode())

    def holds(self, real: bytes) -> bool:
        """Whether a path without links is inside."""
        return real == self.real or real.startswith(os.path.join(self.real, b""))

    def resolve(self, path: bytes) -> bytes:
        """Return where a path leads, without links.

        Raises:
            ContextError: nowhere, in a circle, or out of the root.
        """
        try:
            real = os.path.realpath(path, strict=True)
        except OSError as error:
            raise self._bad_link(path, f"leads nowhere ({error.strerror})") from None
        if not self.holds(real):
            raise self._bad_link(path, f"leaves {self.words.folder} ({os.fsdecode(self.path)})")
        return real

    def check_name(self, path: str) -> None:
        """Refuse a path whose last part could not be unpacked on every machine.

        Raises:
            ContextError: it is not UTF-8, has control characters, or means something else in a layer.
        """
        name = path.rpartition("/")[2]
        if _UNFIT.search(name):
            raise ContextError(
                f"the name {_shown(path)!r} is not plain UTF-8 text without control characters",
                remedy=f"rename it, or {self.words.leave_out}: it could not be unpacked on every machine",
            )
        if name.startswith(_WHITEOUT):
            raise ContextError(
                f"the name {_shown(path)!r} means in a layer that {name.removeprefix(_WHITEOUT)!r} is deleted",
                remedy=f"rename it, or {self.words.leave_out}",
            )

    def special(self, path: bytes, mode: int) -> ContextError:
        """Return the error for what is neither file nor folder."""
        kind = _KINDS.get(stat.S_IFMT(mode), "a special file")
        return ContextError(f"{os.fsdecode(path)} is {kind}", remedy=f"remove it, or {self.words.leave_out}")

    def in_circle(self, path: bytes) -> ContextError:
        """Return the error for a link without end."""
        return self._bad_link(path, "leads to a folder that holds it")

    def _bad_link(self, path: bytes, reason: str) -> ContextError:
        try:
            shown = f"the link {os.fsdecode(path)} -> {os.fsdecode(os.readlink(path))}"
        except OSError:
            # Not the last part of the path is a link, but one before.
            shown = os.fsdecode(path)
        return ContextError(
            f"{shown} {reason}", remedy=f"copy what it leads to into {self.words.folder}, or {self.words.leave_out}"
        )


class Walked(NamedTuple):
    """What a walk found; paths relative to its start.

    Attributes:
        files: path, and absolute path to open.
        folders: the empty ones, and those that hold a file.
        left_out: files, and folders with `/` at their end.
    """

    files: list[tuple[str, bytes]]
    folders: list[str]
    left_out: list[str]


class Selection(Protocol):
    """Says what a walk takes. Paths are relative to its start."""

    def keeps(self, path: str) -> bool:
        """Whether a file or folder is taken."""

    def keeps_below(self, folder: str) -> bool:
        """Whether something below a folder could be taken that is not taken itself."""

    def refuses(self, folder: bytes, names: Sequence[str], beside: Sequence[str]) -> bool:
        """Whether a folder (absolute path) is left out for the names in it, or for those in the folder that has it."""


class Everything:
    """The selection of a folder that is taken whole."""

    def keeps(self, _path: str) -> bool:
        """Yes."""
        return True

    def keeps_below(self, _folder: str) -> bool:
        """Yes."""
        return True

    def refuses(self, _folder: bytes, _names: Sequence[str], _beside: Sequence[str]) -> bool:
        """No."""
        return False


class _Folder(NamedTuple):
    """A folder to be walked.

    Attributes:
        path: from the start of the walk.
        full: absolute, as it was reached.
        real: the same without links.
        through: the folders (without links) that hold the links that led here.
        kept: it is taken itself, and not only looked into.
        beside: names in the folder that holds it.
    """

    path: str
    full: bytes
    real: bytes
    through: tuple[bytes, ...] = ()
    kept: bool = True
    beside: Sequence[str] = ()


def walk(root: Root, start: bytes, selection: Selection | None = None) -> Walked:
    """Find what is below a folder.

    Args:
        root: the folder of the spec.
        start: absolute path of the folder; inside the root.
        selection: what to take; everything where None.

    Raises:
        ContextError: a named pipe, socket or device; a link that leaves the root, leads nowhere or to a folder that
            holds it; a name that is not UTF-8 or holds control characters; an unreadable folder; more than `MAX_FILES`
            files.
    """
    selection = selection or Everything()
    found = Walked([], [], [])
    waiting = [_Folder("", start, root.resolve(start))]
    while waiting:
        folder = waiting.pop()
        try:
            waiting += _visit(root, folder, selection, found)
        except OSError as error:
            raise failure("read", folder.full, error) from None
        if len(found.files) + len(found.left_out) > MAX_FILES:
            raise ContextError(
                f"{os.fsdecode(start)} holds more than {MAX_FILES} files",
                remedy=root.words.too_many,
            )
    return found


def _visit(root: Root, folder: _Folder, selection: Selection, found: Walked) -> list[_Folder]:
    """Put what a folder holds into `found`; return the folders in it that are to be walked."""
    with os.scandir(folder.full) as listing:
        entries = sorted(((_decoded(entry.name), entry) for entry in listing), key=lambda pair: pair[0])
    names = [name for name, _ in entries]
    if folder.path and selection.refuses(folder.full, names, folder.beside):
        found.left_out.append(_shown(f"{folder.path}/"))
        return []
    # A folder whose content is all left out is left out too: else the first saved context in `out/` would leave an
    # empty `out/` in the next one, and change its digest. A folder that holds a file comes back as that file's parent.
    if not entries and folder.path:
        if folder.kept:
            found.folders.append(folder.path)
        else:
            found.left_out.append(_shown(f"{folder.path}/"))
    folders = (_take(root, folder, name, entry, selection, found) for name, entry in entries)
    return [below._replace(beside=names) for below in folders if below is not None]


def _take(
    root: Root, folder: _Folder, name: str, entry: os.DirEntry[bytes], selection: Selection, found: Walked
) -> _Folder | None:
    """Put an entry into `found`, or return the folder that it is."""
    path = f"{folder.path}/{name}" if folder.path else name
    is_folder = entry.is_dir(follow_symlinks=False)
    kept = selection.keeps(path)
    if not kept and not (is_folder and selection.keeps_below(path)):
        # Looked at no further: what is left out may have any name and lead anywhere.
        found.left_out.append(_shown(f"{path}/" if is_folder else path))
        return None
    if kept:
        root.check_name(path)
    if is_folder:
        return _Folder(path, entry.path, os.path.join(folder.real, entry.name), folder.through, kept)
    if entry.is_symlink():
        return _follow(root, folder, path, entry, selection, found)
    if not entry.is_file(follow_symlinks=False):
        raise root.special(entry.path, entry.stat(follow_symlinks=False).st_mode)
    found.files.append((path, entry.path))
    return None


def _is_refused(entry: os.DirEntry[bytes], selection: Selection) -> bool:
    """Whether a link leads to a folder that is left out for what it is."""
    try:
        names = sorted(map(_decoded, os.listdir(entry.path))) if entry.is_dir() else []
    except OSError:
        return False  # whoever follows it says so
    return bool(names) and selection.refuses(entry.path, names, ())


def _follow(
    root: Root, folder: _Folder, path: str, entry: os.DirEntry[bytes], selection: Selection, found: Walked
) -> _Folder | None:
    """Put the file that a link leads to into `found`, or return the folder."""
    if _is_refused(entry, selection):
        # Wherever it leads: a virtual environment is often a link to one that several projects share.
        found.left_out.append(_shown(f"{path}/"))
        return None
    real = root.resolve(entry.path)
    mode = os.stat(real).st_mode
    if stat.S_ISDIR(mode):
        through = (*folder.through, folder.real)
        if any(_within(each, real) for each in through):
            raise root.in_circle(entry.path)
        return _Folder(path, entry.path, real, through)
    if not stat.S_ISREG(mode):
        raise root.special(entry.path, mode)
    found.files.append((path, entry.path))
    return None


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _shown(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()


def _within(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(os.path.join(folder, b""))
