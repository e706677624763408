"""What is in the layers of an image: its files with their digests, and the packages of its environment."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from packager.contract import ENVIRONMENT_PREFIX
from packager.environments.declare.requirement import canonical_name
from packager.errors import ContextError
from packager.laying.records import record_rows
from packager.oci.unpacking import DAMAGE, BoundedInfo, unpacked

_PREFIX = re.escape(ENVIRONMENT_PREFIX)
_INFO = re.compile(rf"{_PREFIX}/lib/python[0-9.]+/site-packages/([^/]+?)-([^/-]+)\.dist-info/RECORD")
_CONDA = re.compile(rf"{_PREFIX}/conda-meta/([^/]+)-([^/-]+)-[^/-]+\.json")
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
#: Bytes of a RECORD that is read, and of other content that is read at once.
_LIMIT, _BLOCK = 64 << 20, 1 << 20


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A file, link or device of an image: bytes, permissions (octal), and what tells its content."""

    size: int
    mode: str
    content: str


class ImagePackage(msgspec.Struct, frozen=True, kw_only=True):
    """A package in an image.

    Attributes:
        name: as its own records have it.
        version: of the package.
        manager: `pip` or `conda`.
        size: bytes of its files; null where its records do not tell.
    """

    name: str
    version: str
    manager: str
    size: int | None = None


class ImageContents(msgspec.Struct, frozen=True, kw_only=True):
    """What layers hold together: absolute path → entry, and packages, the largest first."""

    files: dict[str, Entry]
    packages: tuple[ImagePackage, ...]


def contents_of(layers: Iterable[Path]) -> ImageContents:
    """Return what layers hold together, the lower ones first; what an upper one deletes is gone.

    Raises:
        ContextError: one cannot be read.
    """
    files: dict[str, Entry] = {}
    packages: dict[str, ImagePackage] = {}
    for layer in layers:
        try:
            _read(layer, files, packages)
        except (OSError, *DAMAGE) as error:
            raise ContextError(f"the layer {layer.name} cannot be read: {error}") from None
    there = [each for path, each in packages.items() if path in files]
    return ImageContents(
        files=files, packages=tuple(sorted(there, key=lambda each: (-(each.size or 0), each.manager, each.name)))
    )


def _read(layer: Path, files: dict[str, Entry], packages: dict[str, ImagePackage]) -> None:
    with layer.open("rb") as stream:
        magic = stream.read(4)
        stream.seek(0)
        with unpacked(stream, magic) as plain, tarfile.open(fileobj=plain, mode="r|", tarinfo=BoundedInfo) as tar:
            for member in tar:
                path = "/" + member.name.removeprefix("./").strip("/")
                folder, _, name = path.rpartition("/")
                if name.startswith(_WHITEOUT):
                    gone = folder if name == _OPAQUE else f"{folder}/{name.removeprefix(_WHITEOUT)}"
                    for each in [each for each in files if each == gone or each.startswith(f"{gone}/")]:
                        del files[each]
                elif not member.isdir():
                    content = _content(tar, member, path, packages)
                    files[path] = Entry(size=member.size, mode=f"{member.mode:o}", content=content)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str, packages: dict[str, ImagePackage]) -> str:
    """Return what tells the content of a member; note the package that it is the record of."""
    if conda := _CONDA.fullmatch(path):
        packages[path] = ImagePackage(name=conda[1], version=conda[2], manager="conda")
    stream = tar.extractfile(member) if member.isreg() else None
    if stream is None:
        # A hard link is told by what it is a link to, as a symbolic one is.
        return f"link to {member.linkname}" if member.linkname else f"device {member.devmajor}:{member.devminor}"
    if (wheel := _INFO.fullmatch(path)) and member.size <= _LIMIT:
        data = stream.read()
        size = None
        with suppress(ValueError):
            rows = record_rows(data.decode("utf-8", "replace"))
            size = sum(int(number) for _, _, number in rows if number.isdecimal())
        packages[path] = ImagePackage(name=canonical_name(wheel[1]), version=wheel[2], manager="pip", size=size)
        return f"sha256:{hashlib.sha256(data).hexdigest()}"
    return f"sha256:{_digest(stream)}"


def _digest(stream: IO[bytes]) -> str:
    state = hashlib.sha256()
    while data := stream.read(_BLOCK):
        state.update(data)
    return state.hexdigest()
