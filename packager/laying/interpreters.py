"""The interpreter of a base image, run on this machine by the base's own loader: no container, no root, no engine.

Program, library and shared libraries are taken out of the base's layers into a folder of the cache, once for each base:

    loader  lib/  bin/python3.13  lib/python3.13/

`loader --library-path lib bin/python3.13` with `PYTHONHOME` there needs nothing else of the base, and nothing of this
machine but its kernel.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from packager.errors import ContextError
from packager.laying.base_files import BaseFiles, LayerBlob
from packager.laying.recipe import BasePython, Interpreter
from packager.oci.unpacking import DAMAGE, layer_members
from packager.storage.collect import Kind
from packager.storage.content import content_guard
from packager.storage.reading import failure

#: Of the way an interpreter is laid out.
LAYOUT = 1

_LOADER = re.compile(r"(?:usr/)?lib(?:64)?/(?:[^/]+/)?(?:ld-linux[^/]*\.so\.\d+|ld-musl-[^/]+\.so\.1|ld64\.so\.\d+)")
# What interpreters and the modules for source encodings are linked with; not what other modules need.
_LIBRARY = re.compile(
    r"lib(?:c|m|dl|pthread|rt|util|crypt|z|expat|intl|gcc_s|python3[.\d]*|libc\.musl-[^.]+)(?:[.-][\d.]*so|\.so)[\d.]*"
)
_LIBRARY_FOLDER = re.compile(r"(?:usr/)?(?:local/)?lib(?:64)?(?:/[^/]+-linux-[^/]+)?")
_NOT_NEEDED = frozenset(
    ("site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "ensurepip", "lib2to3", "turtledemo")
)
_LARGEST = 128 << 20
_PART = 32 << 10


def base_interpreter(
    files: BaseFiles, layers: Iterable[LayerBlob], python: BasePython, key: str, cache: Path
) -> Interpreter | None:
    """Return the interpreter of a base of this machine's platform; None where its files are not those of one.

    Args:
        files: of the base.
        layers: the base's, the lowest first.
        python: which interpreter.
        key: names the base's files.
        cache: the folder of all that packager remembers.

    Raises:
        ContextError: a layer is damaged; the disk is full or not writable.
    """
    folder = _taken(files, layers, python, key, cache)
    return _started(folder, folder, python.minor) if folder else None


def prefix_interpreter(
    prefix: Path, minor: str, files: BaseFiles, layers: Iterable[LayerBlob], key: str, cache: Path
) -> Interpreter | None:
    """Return the interpreter of a conda environment, run by the loader of its base: this machine's may be older.

    Args:
        prefix: folder of the environment.
        minor: version of its Python.
        files: of the base.
        layers: the base's, the lowest first.
        key: names the base's files.
        cache: the folder of all that packager remembers.

    Raises:
        ContextError: a layer is damaged; the disk is full or not writable.
    """
    folder = _taken(files, layers, None, key, cache)
    return _started(folder, prefix, minor) if folder else None


def _started(folder: Path, home: Path, minor: str) -> Interpreter:
    libraries = ":".join(dict.fromkeys((f"{home}/lib", f"{folder}/lib")))
    command = (f"{folder}/loader", "--library-path", libraries, f"{home}/bin/python{minor}")
    return Interpreter(command=command, variables={"PYTHONHOME": str(home)})


def _taken(
    files: BaseFiles, layers: Iterable[LayerBlob], python: BasePython | None, key: str, cache: Path
) -> Path | None:
    """Return the folder with what was taken out of a base: its loader, libraries, and a Python where one is named."""
    root = cache / "interpreters"
    folder = root / f"{key[:40]}-{python.minor if python else 'loader'}-{LAYOUT}"
    wanted = dict(_wanted(files, python))
    needed = {"loader", *([f"bin/python{python.minor}"] if python else [])}
    if not needed <= {place for places in wanted.values() for place in places}:
        return None
    try:
        if not folder.is_dir():
            root.mkdir(parents=True, exist_ok=True)
            making = Path(tempfile.mkdtemp(prefix=f".{key[:16]}.packager-", dir=root))
            try:
                for layer in layers:
                    _take(layer, wanted, making)
                (making / "lib64").symlink_to("lib")
                with suppress(OSError):  # another process was faster
                    os.rename(making, folder)
            finally:
                shutil.rmtree(making, ignore_errors=True)
        os.utime(folder)  # it was used: see `interpreter_kind`
    except OSError as error:
        raise failure("written", folder, error) from None
    return folder


def interpreter_kind(cache_root: Path) -> Kind:
    """Return the interpreters of bases in a cache."""
    return Kind(
        name="base interpreter",
        root=cache_root / "interpreters",
        patterns=("[!.]*",),
        things="folder",
        cost=1,
        guards=(content_guard(cache_root),),
    )


def _wanted(files: BaseFiles, python: BasePython | None) -> Iterator[tuple[str, set[str]]]:
    """Yield the files of a base that an interpreter needs, with the places that each has in the folder."""
    found: dict[str, set[str]] = {}

    def want(path: str, place: str) -> None:
        real = files.resolve(path)
        if real is not None:
            found.setdefault(real, set()).add(place)

    library = None
    if python is not None:
        want(python.path, f"bin/python{python.minor}")
        # Where the program itself is, its library is: `/usr/local/bin/python3` may lead to `/usr/bin`.
        start = (files.resolve(python.path) or "").rpartition("/bin/")[0]
        library = re.compile(rf"{re.escape(start)}/lib(?:64)?/(?P<below>python{re.escape(python.minor)}/.+)")
    for path in files.paths:
        inside = library.fullmatch(path) if library else None
        if inside:
            if _NOT_NEEDED.isdisjoint(inside["below"].split("/")):
                want(path, f"lib/{inside['below']}")
            continue
        folder, name = posixpath.split(path)
        if _LOADER.fullmatch(path):
            want(path, "loader")
            want(path, f"lib/{name}")
        elif _LIBRARY.fullmatch(name) and _LIBRARY_FOLDER.fullmatch(folder):
            want(path, f"lib/{name}")
    yield from found.items()


def _take(layer: LayerBlob, wanted: dict[str, set[str]], folder: Path) -> None:
    """Take files out of a layer, those of hard links in a second pass."""
    left = _extract(layer, wanted, folder)
    if left:
        _extract(layer, left, folder)


def _extract(layer: LayerBlob, wanted: dict[str, set[str]], folder: Path) -> dict[str, set[str]]:
    """Write what is wanted of a layer; return the targets of hard links among it, with their places."""
    left: dict[str, set[str]] = {}
    with layer.open() as stream:
        try:
            with layer_members(stream) as archive:
                for member in archive:
                    places = wanted.get(_normal(member.name))
                    if places and member.islnk():
                        left.setdefault(_normal(member.linkname), set()).update(places)
                    elif places and member.isreg() and member.size <= _LARGEST:
                        content = archive.extractfile(member)
                        assert content is not None, "a regular file"
                        _write(content, [folder / place for place in places], member.mtime, member.mode)
        except DAMAGE as error:
            raise ContextError(
                f"layer {layer.digest} of the base image cannot be read: {error}", remedy="pull the base image again"
            ) from None
    return left


def _normal(path: str) -> str:
    return posixpath.normpath(posixpath.join("/", path)).strip("/")


def _write(content: IO[bytes], places: list[Path], mtime: float, mode: int) -> None:
    """Write a file in its places; the time stays, by which Python tells whether a compiled file is of its source."""
    first, *others = places
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)  # a lower layer's
    with first.open("wb") as stream:
        shutil.copyfileobj(content, stream)
    first.chmod(0o755 if mode & 0o111 else 0o644)
    os.utime(first, (mtime, mtime))
    for other in others:
        os.link(first, other)
