"""What is in the layers of an image: its files with their digests, and the packages of its environment."""

from __future__ import annotations

import hashlib
import posixpath
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
from packager.oci.unpacking import DAMAGE, layer_members

_PREFIX = re.escape(ENVIRONMENT_PREFIX.removeprefix("/"))
_INFO = re.compile(rf"{_PREFIX}/lib/python[0-9.]+/site-packages/([^/]+?)-([^/-]+)\.dist-info/RECORD")
_CONDA = re.compile(rf"{_PREFIX}/conda-meta/([^/]+)-([^/-]+)-[^/-]+\.json")
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
    """Return what layers hold together, the lower ones first; what an upper one deletes or takes the place of is gone.

    Raises:
        ContextError: one cannot be read.
    """
    files: dict[str, Entry] = {}
    packages: dict[str, ImagePackage] = {}
    for path in layers:
        try:
            with path.open("rb") as stream, layer_members(stream) as archive:
                files = _over(files, archive, packages)
        except (OSError, *DAMAGE) as error:
            raise ContextError(f"the layer {path.name} cannot be read: {error}") from None
    there = [package for record, package in packages.items() if record in files]
    return ImageContents(
        files={f"/{path}": entry for path, entry in files.items()},
        packages=tuple(sorted(there, key=lambda each: (-(each.size or 0), each.manager, each.name))),
    )


def _over(lower: dict[str, Entry], archive: tarfile.TarFile, packages: dict[str, ImagePackage]) -> dict[str, Entry]:
    """Return what there is after a layer; note the packages that it brings. Paths are relative to the root."""
    # Imported late, as what reads a RECORD: whoever looks at an image without its files does without.
    from packager.laying.base_files import OPAQUE, WHITEOUT, is_gone

    own: dict[str, Entry] = {}
    removed: set[str] = set()
    emptied: set[str] = set()
    for member in archive:
        path = posixpath.normpath(posixpath.join("/", member.name)).strip("/")
        parent, _, name = path.rpartition("/")
        if name == OPAQUE:
            emptied.add(parent)
        elif name.startswith(WHITEOUT):
            removed.add(posixpath.join(parent, name.removeprefix(WHITEOUT)))
        elif member.isdir():
            if path in lower:
                removed.add(path)
        elif member.islnk():
            target = posixpath.normpath(posixpath.join("/", member.linkname)).strip("/")
            # A further name of a file, whose content is told there: which name comes first is the writer's affair.
            own[path] = own.get(target) or lower.get(target) or Entry(size=0, mode="", content=f"link to {target}")
        else:
            own[path] = Entry(
                size=member.size, mode=f"{member.mode:o}", content=_content(archive, member, path, packages)
            )
    # A file or a link in the place of a folder takes what was in it away, too.
    gone = {*removed, *emptied, *(path for path in own if path not in lower)}
    return {path: entry for path, entry in lower.items() if not is_gone(path, gone, removed)} | own


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, packages: dict[str, ImagePackage]) -> str:
    """Return what tells the content of a member; note the package that it is the record of."""
    if conda := _CONDA.fullmatch(path):
        packages[path] = ImagePackage(name=conda[1], version=conda[2], manager="conda")
    stream = archive.extractfile(member) if member.isreg() else None
    if stream is None:
        return f"link to {member.linkname}" if member.issym() else f"device {member.devmajor}:{member.devminor}"
    if (wheel := _INFO.fullmatch(path)) and member.size <= _LIMIT:
        from packager.laying.records import recorded_size

        data = stream.read()
        with suppress(ValueError):
            size = recorded_size(data.decode("utf-8", "replace"))
            packages[path] = ImagePackage(name=canonical_name(wheel[1]), version=wheel[2], manager="pip", size=size)
        return f"sha256:{hashlib.sha256(data).hexdigest()}"
    return f"sha256:{_digest(stream)}"


def _digest(stream: IO[bytes]) -> str:
    state = hashlib.sha256()
    while data := stream.read(_BLOCK):
        state.update(data)
    return state.hexdigest()
