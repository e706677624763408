"""Images in folders and files: OCI layouts (a folder or a tar), and the tars that `docker save` writes. Reading only.

Source: OCI image spec 1.1, `image-layout.md`; moby's `image/spec/v1.2.md` for `manifest.json`.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import msgspec

from packager.contract import REF_NAME
from packager.errors import ContextError, UsageError
from packager.http import MAX_DOCUMENT
from packager.oci.parse import ImageIndex, parse, platform_text
from packager.oci.unpacking import BoundedInfo, most_of, unpacked
from packager.oci.values import Content, Descriptor, digest_of
from packager.plan.plan import ARCHIVES
from packager.storage.content import content_root
from packager.storage.reading import BLOCK, failure

#: The annotation by which an entry of a layout's index is called (image spec, `annotations.md`).
#: containerd and `docker save` write the whole reference here.
_IMAGE_NAME = "io.containerd.image.name"


#: Images have a few for each layer; each is held in memory.
_MEMBERS = 100_000


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """An image in the file system, as `skopeo` names them.

    Attributes:
        kind: `oci`, `oci-archive` or `docker-archive`.
        path: of the folder or file.
        name: which image of it; empty where there is one only.
    """

    kind: str
    path: Path
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Archive | None:
        """Return the archive that a text names (`oci:DIR[:NAME]` …); None where it is a reference."""
        prefix = next((each for each in ARCHIVES if text.startswith(each)), None)
        if prefix is None:
            return None
        rest = text.removeprefix(prefix)
        path, name = rest, ""
        # Folders may have colons in their names, and names of images have them, too.
        for found in re.finditer(":", rest):
            if not os.path.lexists(rest) and os.path.lexists(rest[: found.start()]):
                path, name = rest[: found.start()], rest[found.end() :]
                break
        if not path:
            raise UsageError(f"{text!r} names no file", remedy="oci:DIR[:NAME], oci-archive:FILE, docker-archive:FILE")
        return cls(kind=prefix.rstrip(":"), path=Path(path), name=name)

    @classmethod
    def at(cls, path: Path) -> Archive:
        """Return the archive that a folder or file is.

        Raises:
            ContextError: it is none.
        """
        with open_files(path) as files:
            for kind, marker in (("oci", "index.json"), ("docker-archive", "manifest.json")):
                if files.has(marker):
                    return cls(kind=kind if kind != "oci" or path.is_dir() else "oci-archive", path=path)
        raise ContextError(f"{path} is no image: it has neither index.json nor manifest.json")

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}" + (f":{self.name}" if self.name else "")


class Files(Protocol):
    """Files by their `/` paths, in a folder or a tar."""

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open a file; ContextError where there is none."""
        ...


@contextmanager
def open_files(path: Path) -> Iterator[Files]:
    """Give the files of a folder or of a tar, which may be compressed by gzip or zstd.

    Raises:
        ContextError: it cannot be read.
    """
    if path.is_dir():
        yield _Folder(path)
        return
    try:
        with (
            _open_regular(path) as stream,
            _plain(stream) as plain,
            tarfile.open(fileobj=plain, mode="r:", tarinfo=BoundedInfo) as tar,
        ):
            yield _Tar(tar, path)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ContextError(f"{path} is not a whole tar: {error}", remedy="write it again") from None
    except OSError as error:
        raise failure("read", path, error) from None


@contextmanager
def _plain(stream: BinaryIO) -> Iterator[BinaryIO]:
    """Give the stream as it is, or unpacked into a file without a name: layers are read in their own order."""
    magic = stream.read(4)
    stream.seek(0)
    most = most_of(stream)
    with unpacked(stream, magic, most=most) as plain:
        if plain is stream:
            yield stream
            return
        content_root().mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=content_root()) as file:
            shutil.copyfileobj(plain, file, BLOCK)
            file.seek(0)
            yield cast(BinaryIO, file)


def _open_regular(path: Path) -> BinaryIO:
    """Open a file that is neither a pipe nor a device: those have no end, or hang.

    Raises:
        OSError: it cannot be opened.
        ContextError: it is none.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ContextError(f"{path} is not a regular file", remedy="name a file or a folder with an image")
    return open(descriptor, "rb")


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def has(self, name: str) -> bool:
        return (self._path / name).is_file()

    def open(self, name: str) -> BinaryIO:
        """Open a regular file below the folder: what an archive names is its writer's choice, not the user's."""
        path = self._path / name
        try:
            within = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self._path))
        except ValueError:
            within = False
        if not within:
            raise ContextError(
                f"{self._path} names {name!r}, which is not in it", remedy="copy what belongs to the image into it"
            )
        try:
            return _open_regular(path)
        except OSError as error:
            raise failure("read", path, error) from None


class _Tar:
    def __init__(self, tar: tarfile.TarFile, path: Path) -> None:
        self._tar = tar
        self._path = path
        self._members: dict[str, tarfile.TarInfo] = {}
        try:
            for member in tar:
                self._members[os.path.normpath(member.name)] = member
                if len(self._members) > _MEMBERS:
                    raise ContextError(f"{path} is no image: it has more than {_MEMBERS} files")
        except ValueError as error:
            raise tarfile.ReadError(str(error)) from None

    def has(self, name: str) -> bool:
        member = self._members.get(name)
        return member is not None and not member.isdir()

    def open(self, name: str) -> BinaryIO:
        member = self._members.get(name)
        # `docker save` of old engines writes a layer that it wrote before as a link to it.
        for _ in range(8):
            if member is None or not (member.issym() or member.islnk()):
                break
            folder = os.path.dirname(member.name) if member.issym() else ""
            member = self._members.get(os.path.normpath(os.path.join(folder, member.linkname)))
        stream = self._tar.extractfile(member) if member is not None and member.isreg() else None
        if stream is None:
            raise ContextError(f"{self._path} has no file {name}", remedy="write it again")
        return cast(BinaryIO, stream)


def read_document(files: Files, name: str) -> bytes:
    """Return a file that is a document.

    Raises:
        ContextError: there is none, or it is too large to be one.
    """
    with files.open(name) as stream:
        data = stream.read(MAX_DOCUMENT + 1)
    if len(data) > MAX_DOCUMENT:
        raise ContextError(f"{name} is larger than {MAX_DOCUMENT} bytes, too large for a document of an image")
    return data


class Layout:
    """An OCI image layout (an `Origin`).

    Args:
        files: of the layout.
        named: what it is called in messages.
    """

    def __init__(self, files: Files, named: str) -> None:
        self._files = files
        self._named = named

    def top(self, name: str = "") -> Descriptor:
        """Return the descriptor of an image, or of the index of several platforms.

        Args:
            name: its name or tag; not needed where the layout has one image only.

        Raises:
            ContextError: there is none of this name, or there are several.
            RegistryError: `index.json` is none.
        """
        index = parse(read_document(self._files, "index.json"), self._named)
        if not isinstance(index, ImageIndex):
            raise ContextError(f"the index.json of {self._named} is not an index")
        found = [
            each
            for each in index.manifests
            if not name
            or name in (names := names_of(each))
            or any(each_name.endswith(f":{name}") for each_name in names)
        ]
        if len({each.digest for each in found}) == 1:
            return found[0]
        if not name and index.manifests and all(platform_text(each) for each in index.manifests):
            # Some tools write the images of several platforms side by side, without an index of their own.
            return self._whole()
        listed = ", ".join(sorted({each for entry in index.manifests for each in names_of(entry)})) or "no names"
        raise ContextError(
            f"{self._named} has {'several images' if found else f'no image {name!r}'}: {listed}",
            remedy="name one: oci:DIR:NAME",
        )

    def _whole(self) -> Descriptor:
        data = read_document(self._files, "index.json")
        return Descriptor(media_type="", digest=digest_of(data), size=len(data))

    def manifest(self, digest: str) -> bytes:
        """Return a manifest or an index, verified."""
        name = f"blobs/sha256/{digest.removeprefix('sha256:')}"
        data = read_document(self._files, name if self._files.has(name) else "index.json")
        if digest_of(data) != digest:
            raise ContextError(f"{self._named} is damaged: {name} has another digest", remedy="write it again")
        return data

    def blob(self, descriptor: Descriptor, content: Content) -> None:
        """Take a blob into the content store, verified."""
        with self._files.open(f"blobs/sha256/{descriptor.digest.removeprefix('sha256:')}") as stream:
            content.put(stream, descriptor.digest)


def names_of(descriptor: Descriptor) -> tuple[str, ...]:
    """Return what an entry of a layout's index is called."""
    annotations = descriptor.annotations or {}
    return tuple(value for key in (_IMAGE_NAME, REF_NAME) if (value := annotations.get(key)))
