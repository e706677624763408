"""Files as run() finds them on this machine: what is elsewhere is fetched, what is compressed is written out."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import posixpath
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from packager.batches.listing import file_system, reaching
from packager.batches.values import InputFile
from packager.storage.reading import failure

#: Ending → what opens it.
_COMPRESSED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def fetch(file: InputFile, folder: Path) -> InputFile:
    """Return a file as one of this machine, fetched where it is elsewhere.

    Args:
        file: it.
        folder: gets it, under its own name.

    Raises:
        TemporaryError: it could not be fetched.
        ContextError: the disk is full.
    """
    if not file.remote:
        return file
    # Two files of one name must not meet; and run() may look at the name.
    place = folder / hashlib.sha256(file.path.encode()).hexdigest()[:16] / posixpath.basename(file.name)
    if not place.exists():
        new = place.with_name(f"{place.name}.new")
        with reaching(f"{file.path} cannot be fetched"):
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                system, path = file_system(file.path)
                system.get_file(path, str(new))
                new.replace(place)
            except OSError as error:
                if error.errno is not None and new.exists():
                    raise failure("written", place, error) from None
                raise
    return msgspec.structs.replace(file, path=str(place), remote=False)


def plain(file: InputFile, folder: Path) -> InputFile:
    """Return a file of this machine whose parts can be read: a compressed one is written out.

    Raises:
        ContextError: the disk is full, or it cannot be read; a file that is not whole is no error of ours.
    """
    opened = _COMPRESSED.get(posixpath.splitext(file.name)[1].lower())
    if opened is None:
        return file
    place = folder / hashlib.sha256(file.path.encode()).hexdigest()[:16] / f"plain-{posixpath.basename(file.name)}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with opened(file.path, "rb") as source, place.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    return msgspec.structs.replace(file, path=str(place), size=place.stat().st_size)


@contextmanager
def fetched(files: Sequence[InputFile], folder: Path) -> Iterator[list[str]]:
    """Give the paths of files on this machine for as long as a mini-batch runs.

    Raises:
        TemporaryError, ContextError: see `fetch`.
    """
    here: list[str] = []
    try:
        for file in files:
            here.append(fetch(file, folder).path)
        yield here
    finally:
        for path, file in zip(here, files, strict=False):
            if file.remote:
                with suppress(OSError):
                    os.unlink(path)
                    os.rmdir(os.path.dirname(path))


def send(folder: Path, location: str, names: Sequence[str]) -> None:
    """Copy what a run has put out to where it is to be.

    Args:
        folder: of this machine that has it.
        location: a URL.
        names: paths of files below the folder.

    Raises:
        TemporaryError: it could not be written.
    """
    system, path = file_system(location)
    with reaching(f"{location} cannot be written", remedy=f"what is to be there is in {folder}"):
        for name in names:
            system.makedirs(posixpath.dirname(posixpath.join(path, name)), exist_ok=True)
            system.put_file(str(folder / name), posixpath.join(path, name))
