"""What files a base image has, read once from its layers and remembered by their digests.

Format: OCI image spec 1.1, `layer.md` (changesets, whiteouts).
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Iterable, Iterator, Set
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from packager.decoding import decode_json
from packager.errors import ContextError
from packager.laying.elf import NotElf, parse_elf
from packager.laying.recipe import BasePython
from packager.oci.unpacking import DAMAGE, layer_members
from packager.storage.memory import Memory

#: Of what is remembered about a layer: a higher number reads all anew.
FORMAT = 3
OPAQUE = ".wh..wh..opq"
WHITEOUT = ".wh."
# Libraries that most wheels take from the base (manylinux, PEP 600) and whose age matters.
_VERSIONED = re.compile(r"(?:libc|libm|libstdc\+\+|libgcc_s|libgomp|libmvec)[.-][\d.]*so[\d.]*|libc-2\.\d+\.so")
_LOADER_FOLDERS = re.compile(r"etc/ld\.so\.conf(?:\.d/[^/]+\.conf)?")
_MUSL = re.compile(r"(?:usr/)?lib/ld-musl-[^/]+\.so\.1")
# The interpreter is in the program, or in a library where it is built so.
_PYTHON = re.compile(r"usr/(?:local/)?(?:bin/python3|lib(?:64)?/(?:[^/]+-linux-[^/]+/)?libpython3)\.\d+(?:\.so[.\d]*)?")
_VERSION = rb"(3\.\d{1,3}\.\d{1,3}(?:(?:a|b|rc)\d+)?)\+?(?=\0)"
# A text of its own, or the end of another (linkers put two into one place).
_VERSIONS = (re.compile(rb"\0" + _VERSION), re.compile(rb"(?<![\d.])" + _VERSION))
_MAX_LIBRARY = 64 << 20
_MAX_LINKS = 40


class LayerFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What one layer adds and removes.

    Attributes:
        paths: path → target of a symbolic link; None for other files. Folders are not listed.
        removed: paths that are gone, with all below.
        emptied: folders of which what lower layers have is gone.
        offers: versions of symbols of some libraries, by path.
        machines: machine of those libraries.
        loader_folders: lines of the loader's configuration.
        damaged: those of these libraries that are no ELF files, or cut off.
        pythons: versions in full, by the path of the program or library that holds the interpreter.
    """

    paths: dict[str, str | None]
    removed: tuple[str, ...] = ()
    emptied: tuple[str, ...] = ()
    offers: dict[str, tuple[str, ...]] = {}
    machines: dict[str, str] = {}
    loader_folders: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    pythons: dict[str, str] = {}


class BaseFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What files a base image has. Attributes as those of `LayerFiles`, all layers together."""

    paths: dict[str, str | None]
    offers: dict[str, tuple[str, ...]] = {}
    machines: dict[str, str] = {}
    loader_folders: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    pythons: dict[str, str] = {}

    def resolve(self, path: str) -> str | None:
        """Return the path of the file that a path leads to, links followed; None where there is no such file."""
        parts, done = [part for part in path.split("/") if part not in ("", ".")], ""
        for _ in range(_MAX_LINKS):
            done, rest = "", parts
            while rest:
                here = posixpath.normpath(posixpath.join(done, rest[0])) if rest[0] != ".." else posixpath.dirname(done)
                rest = rest[1:]
                target = self.paths.get(here)
                if target is not None:
                    base = "" if target.startswith("/") else posixpath.dirname(here)
                    joined = posixpath.normpath(posixpath.join("/", base, target)).strip("/")
                    parts = [*joined.split("/"), *rest]
                    break
                done = here
            else:
                return done if done in self.paths else None
        return None

    @property
    def musl(self) -> bool:
        """Its C library is musl (Alpine): wheels for glibc do not load."""
        return any(_MUSL.fullmatch(path) for path in self.paths)

    @property
    def glibc(self) -> tuple[int, ...] | None:
        """Version of its glibc: the newest that its symbols have; None where it has none."""
        found = [
            tuple(int(part) for part in name.removeprefix("GLIBC_").split("."))
            for path, names in self.offers.items()
            if re.match(r"libc[.-]", posixpath.basename(path))
            for name in names
            if re.fullmatch(r"GLIBC_\d+(?:\.\d+)*", name)
        ]
        return max(found, default=None)

    @property
    def machine(self) -> str:
        """What `uname -m` says there, as its C library tells; empty where it has none."""
        return next((self.machines[path] for path in sorted(self.machines)), "")


class LayerBlob(Protocol):
    """A layer of a base: `digest` names its content, whatever it is compressed with."""

    @property
    def digest(self) -> str:
        """`sha256:…` of the blob."""
        ...

    def open(self) -> BinaryIO:
        """Open it for reading."""
        ...


class FileBlob(msgspec.Struct, frozen=True, kw_only=True):
    """A layer in a file."""

    digest: str
    path: str

    def open(self) -> BinaryIO:
        """See `LayerBlob.open`."""
        return Path(self.path).open("rb")


def read_base_files(layers: Iterable[LayerBlob], memory: Memory) -> BaseFiles:
    """Return the files of a base image; each layer is read once and remembered.

    Raises:
        ContextError: a layer is not a tar, or damaged.
    """
    return merge_layers(_remembered(layer, memory) for layer in layers)


def _remembered(layer: LayerBlob, memory: Memory) -> LayerFiles:
    key = (str(FORMAT), layer.digest)
    with suppress(msgspec.DecodeError):
        return decode_json(memory.recall(*key) or b"", LayerFiles)
    with layer.open() as stream:
        try:
            read = read_layer(stream)
        except (OSError, *DAMAGE) as error:
            raise ContextError(
                f"layer {layer.digest} of the base image cannot be read: {error}", remedy="pull the base image again"
            ) from None
    memory.remember(msgspec.json.encode(read, order="sorted"), *key)
    return read


def read_layer(stream: BinaryIO) -> LayerFiles:
    """Return what a layer's archive (tar, gzip, zstd) holds."""
    paths: dict[str, str | None] = {}
    removed: list[str] = []
    emptied: list[str] = []
    folders: list[str] = []
    offers: dict[str, tuple[str, ...]] = {}
    machines: dict[str, str] = {}
    damaged: list[str] = []
    pythons: dict[str, str] = {}
    with layer_members(stream) as archive:
        for member in archive:
            path = posixpath.normpath(posixpath.join("/", member.name)).strip("/")
            parent, _, name = path.rpartition("/")
            if name == OPAQUE:
                emptied.append(parent)
            elif name.startswith(WHITEOUT):
                removed.append(posixpath.join(parent, name.removeprefix(WHITEOUT)))
            elif not member.isdir() and path:
                paths[path] = member.linkname if member.issym() else None
                data = _content(archive, member, path)
                if data is None:
                    continue
                if _LOADER_FOLDERS.fullmatch(path):
                    folders += _folders(data)
                    continue
                if _PYTHON.fullmatch(path):
                    pythons.update((path, version) for version in _versions(data, path))
                    continue
                try:
                    parsed = parse_elf(data)
                    offers[path], machines[path] = parsed.offers, parsed.machine
                except NotElf:
                    damaged.append(path)
    return LayerFiles(
        paths=paths,
        removed=tuple(removed),
        emptied=tuple(emptied),
        offers=offers,
        machines=machines,
        loader_folders=tuple(folders),
        damaged=tuple(damaged),
        pythons=pythons,
    )


def _versions(data: bytes, path: str) -> Iterator[str]:
    """Yield the version in full that an interpreter holds, as `sys.version` begins; none where that is unclear."""
    minor = re.search(r"python(3\.\d+)", path)
    start = f"{minor[1] if minor else ''}.".encode()
    for pattern in _VERSIONS:
        found = {each.decode() for each in pattern.findall(data) if each.startswith(start)}
        if found:
            yield from found if len(found) == 1 else ()
            return


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> bytes | None:
    versioned = _VERSIONED.fullmatch(posixpath.basename(path))
    wanted = versioned or _LOADER_FOLDERS.fullmatch(path) or _PYTHON.fullmatch(path)
    if not wanted or not member.isreg() or member.size > _MAX_LIBRARY:
        return None
    file = archive.extractfile(member)
    return file.read() if file else None


def _folders(data: bytes) -> Iterator[str]:
    for line in data.decode("utf-8", "replace").splitlines():
        if line.strip().startswith("/"):
            yield line.strip().strip("/")


def merge_layers(layers: Iterable[LayerFiles]) -> BaseFiles:
    """Return what several layers make together, the lowest first. Pure."""
    paths: dict[str, str | None] = {}
    offers: dict[str, tuple[str, ...]] = {}
    machines: dict[str, str] = {}
    folders: list[str] = []
    damaged: set[str] = set()
    pythons: dict[str, str] = {}
    for layer in layers:
        removed = set(layer.removed)
        gone = {*removed, *layer.emptied}
        # A file or a link in the place of a folder takes what was in it away, too.
        gone |= {path for path in layer.paths if path not in paths}
        if paths:
            paths = {path: target for path, target in paths.items() if not is_gone(path, gone, removed)}
        for path in layer.paths:
            offers.pop(path, None)
            machines.pop(path, None)
            pythons.pop(path, None)
        paths |= layer.paths
        damaged = damaged.difference(layer.paths).union(layer.damaged)
        offers |= layer.offers
        machines |= layer.machines
        pythons |= layer.pythons
        folders += layer.loader_folders
    kept = {path: names for path, names in offers.items() if path in paths}
    return BaseFiles(
        paths=paths,
        offers=kept,
        machines={path: machine for path, machine in machines.items() if path in kept},
        loader_folders=tuple(dict.fromkeys(folders)),
        damaged=tuple(sorted(damaged.intersection(paths))),
        pythons={path: version for path, version in pythons.items() if path in paths},
    )


def is_gone(path: str, gone: Set[str], removed: Set[str]) -> bool:
    """Whether a layer takes away what a lower one has at a path.

    Args:
        path: relative to the root.
        gone: paths of which what is below is gone.
        removed: those of them that are gone themselves.
    """
    if path in removed:
        return True
    parent = path.rpartition("/")[0]
    while parent:
        if parent in gone:
            return True
        parent = parent.rpartition("/")[0]
    return "" in gone


def find_python(files: BaseFiles) -> BasePython | None:
    """Return the interpreter of a base image: in /usr/local first, where the official images have it."""
    for path in ("usr/local/bin/python3", "usr/bin/python3"):
        resolved = files.resolve(path)
        if resolved is None:
            continue
        name = re.fullmatch(r"python(3\.\d+)", posixpath.basename(resolved))
        if name:
            return BasePython(path=f"/{path}", version=name[1])
        beside = [
            each[1]
            for each in (re.fullmatch(rf"{posixpath.dirname(path)}/python(3\.\d+)", known) for known in files.paths)
            if each
        ]
        if len(beside) == 1:
            return BasePython(path=f"/{path}", version=beside[0])
    return None


def exact_version(files: BaseFiles, python: BasePython) -> str:
    """Return the version of a base's interpreter in full (`3.13.5`); empty where its files do not tell."""
    program = files.resolve(python.path) or ""
    own, folder = files.pythons.get(program), program.rpartition("/bin/")[0]
    beside = {
        version
        for path, version in files.pythons.items()
        if path.startswith(f"{folder}/lib") and f"/libpython{python.minor}" in path
    }
    return own or (beside.pop() if len(beside) == 1 else "")
