"""Where the inputs are: folders, patterns and files of this machine, or what fsspec reads (`s3://`, `abfs://`, `gs://`)."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from packager.batches.values import InputFile
from packager.errors import ContextError, PackagerError, TemporaryError, UsageError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[A-Za-z][A-Za-z0-9+.-]*::")
_PATTERN = re.compile(r"[*?[]")
#: What of a listing tells that a file changed, by the names that file systems of fsspec have for it.
_STAMPS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")

_REMEDY = "--input DIR, 'DIR/*.csv' or FILE"


def is_remote(location: str) -> bool:
    """Return whether a location is a URL, which fsspec reads and writes."""
    return bool(_URL.match(location))


def file_system(location: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it.

    Raises:
        UsageError: fsspec, or its package for this kind of URL, is not installed, or there is none.
    """
    try:
        import fsspec

        return fsspec.core.url_to_fs(location)  # type: ignore[no-any-return]
    except ImportError as error:
        raise UsageError(
            f"{location} cannot be read here: {error}",
            remedy="pip install fsspec and its package: s3fs, adlfs or gcsfs",
        ) from None
    except ValueError as error:
        raise UsageError(f"{location} cannot be read: {error}", remedy="a path, or a URL that fsspec knows") from None


@contextmanager
def reaching(failed: str, *, remedy: str | None = None, passing: type[Exception] = PackagerError) -> Iterator[None]:
    """Tell what goes wrong elsewhere as what may pass: each of fsspec's packages has errors of its own.

    Args:
        failed: what did not succeed (`s3://a/b cannot be read`).
        remedy: what to do.
        passing: what goes on as it is, beside errors of ours.

    Raises:
        TemporaryError: any other error.
    """
    try:
        yield
    except (PackagerError, passing):
        raise
    except Exception as error:
        raise TemporaryError(f"{failed}: {type(error).__name__}: {error}", remedy=remedy) from None


def find_inputs(locations: Sequence[str]) -> tuple[InputFile, ...]:
    """Return the files that locations name, each once; in the order of the locations, and by name within one.

    Args:
        locations: a folder (all files below it), a pattern (`*`, `?`, `**`), or a file; each a path or a URL.

    Raises:
        ContextError: there is no such file, no file at all, or a folder cannot be read.
        UsageError: a URL that nothing here reads.
        TemporaryError: a server does not answer.
    """
    found: dict[str, InputFile] = {}
    for location in locations:
        several = len(locations) > 1
        listed = _remote(location, several) if is_remote(location) else _local(location, several)
        if not listed:
            raise ContextError(f"the input {location} has no files", remedy=_REMEDY)
        for each in sorted(listed, key=lambda file: os.fsencode(file.name)):
            found.setdefault(each.path, each)
    return tuple(found.values())


def roots_of(locations: Sequence[str]) -> tuple[Path, ...]:
    """Return the folders of this machine that have the inputs: what a container needs to see."""
    local = [location for location in locations if not is_remote(location)]
    return tuple(dict.fromkeys(_root(os.path.abspath(each)) for each in local))


def _root(path: str) -> Path:
    if os.path.lexists(path):
        return Path(path) if os.path.isdir(path) else Path(path).parent
    fixed = Path(path[: found.start()] if (found := _PATTERN.search(path)) else path)
    return fixed if path[len(str(fixed)) :].startswith("/") else fixed.parent


def _local(location: str, several: bool) -> list[InputFile]:
    path = os.path.abspath(os.path.expanduser(location))
    root = _root(path)
    if os.path.isdir(path):
        paths = _below(path)
    elif os.path.lexists(path):
        paths = iter((path,))
    elif _PATTERN.search(path):
        paths = (each for each in glob.iglob(path, recursive=True, include_hidden=True) if not os.path.isdir(each))
    else:
        raise ContextError(f"the input {location} is not there", remedy=_REMEDY)
    prefix = f"{location.rstrip('/')}: " if several else ""
    return [each for path in paths if (each := _file(path, f"{prefix}{os.path.relpath(path, root)}")) is not None]


def _file(path: str, name: str) -> InputFile | None:
    """Return a file; None for what is none (a pipe, a socket). A link to nothing stays: run() will say so."""
    try:
        status = os.stat(path)
    except OSError:
        return InputFile(name=name, path=path, size=0, stamp="?")
    if not stat.S_ISREG(status.st_mode):
        return None
    return InputFile(name=name, path=path, size=status.st_size, stamp=str(status.st_mtime_ns))


def _below(folder: str, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """Give the paths of all that is no folder; links to folders are followed, but for those that lead back."""
    try:
        status = os.stat(folder)
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        with os.scandir(folder) as entries:
            listed = [(entry.path, entry.is_dir()) for entry in entries]
    except OSError as error:
        raise ContextError(f"the input folder {folder} cannot be read: {error.strerror}") from None
    for path, is_folder in listed:
        if is_folder:
            yield from _below(path, above | {here})
        else:
            yield path


def _remote(location: str, several: bool) -> list[InputFile]:
    system, path = file_system(location)
    try:
        with reaching(f"{location} cannot be listed", passing=FileNotFoundError):
            if _PATTERN.search(path):
                found = system.glob(path, detail=True)
                root = _PATTERN.split(path, maxsplit=1)[0].rpartition("/")[0]
            else:
                found = system.find(path, detail=True)
                root = path.rstrip("/") if path.rstrip("/") not in found else path.rpartition("/")[0]
    except FileNotFoundError as error:
        raise ContextError(f"the input {location} is not there: {error}", remedy=_REMEDY) from None
    prefix = f"{location.rstrip('/')}: " if several else ""
    return [
        InputFile(
            name=f"{prefix}{name.removeprefix(root).lstrip('/')}",
            path=system.unstrip_protocol(name),
            size=int(about.get("size") or 0),
            stamp=next((str(about[key]) for key in _STAMPS if about.get(key)), ""),
            remote=True,
        )
        for name, about in found.items()
        if about.get("type") != "directory"
    ]
