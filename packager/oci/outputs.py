"""Image → a folder or archive of the OCI layout, or an archive that `docker load` reads.

Formats: OCI image layout 1.1 (`image-layout.md`), in a tar where it is an archive; for Docker the same with
`manifest.json` beside it (Docker image spec 1.2, "Combined Image JSON + Filesystem Changeset Format"), as `docker save`
itself writes since version 25: engines with either image store read it.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

import msgspec

from packager.context.save import new_file, new_parents
from packager.contract import FILE_MODE, FOLDER_MODE, REF_NAME
from packager.errors import ContextError, UsageError
from packager.oci.compose import make_index, manifest_descriptor
from packager.oci.tar import Entry, counted, in_order, tar_blocks
from packager.oci.values import INDEX, Content, Descriptor, Image, digest_of
from packager.progress import reading, working
from packager.reference import Reference
from packager.storage.blobs import not_as_read
from packager.storage.digests import DigestMemory
from packager.storage.memory import cache_root
from packager.storage.reading import Stamp, digest_file, failure

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


def write_layout(images: Sequence[Image], references: Sequence[str], destination: Path, content: Content) -> Path:
    """Write images as a folder of the OCI layout, whole or not at all; blobs are hard links where they can be.

    A layout that has just these images already, and that nobody touched since it was written, stays as it is.

    Args:
        images: one for each platform.
        references: names that the layout's index gives the image.
        destination: a new or empty folder, or one of the OCI layout, which is replaced.
        content: holds the layers.

    Raises:
        ContextError: something else is at the destination; a layer is missing; the disk is full.
    """
    target = Path(os.path.abspath(destination))
    _check_folder(target)
    entries = _layout(images, references, content)
    memory = DigestMemory(cache_root())
    if _is_there(target, entries, memory):
        return destination
    with new_parents(target), tempfile.TemporaryDirectory(prefix=_beside(target), dir=target.parent) as name:
        try:
            made = Path(name) / "layout"
            made.mkdir()
            with reading(f"writing {target.name}", sum(entry.size for entry in entries)):
                for entry in entries:
                    _place(made / entry.path, entry)
            made.chmod(FOLDER_MODE)
            _move_in(made, target, Path(name) / "before")
        except OSError as error:
            raise failure("written", target, error) from None
    # At the end: links that come or go change a file's stamp, and those of a layout that was replaced are gone now.
    for entry in entries:
        if entry.origin is not None:
            path = target / entry.path
            with suppress(OSError):
                memory.note(str(path), Stamp.of(os.stat(path)), entry.digest or "")
    return destination


def write_oci_archive(images: Sequence[Image], references: Sequence[str], file: Path, content: Content) -> Path:
    """Write images as a tar of the OCI layout, the same bytes every time.

    Raises:
        ContextError: the file cannot be written; a layer is missing; the disk is full. What was there is as it was.
    """
    return _write_archive(_layout(images, references, content), file)


def write_docker_archive(image: Image, references: Sequence[str], file: Path, content: Content) -> Path:
    """Write one image as a tar for `docker load`, the same bytes every time.

    Raises:
        ContextError: as for `write_oci_archive`.
    """
    return _write_archive(docker_entries(image, references, content), file)


def docker_entries(image: Image, references: Sequence[str], content: Content) -> list[Entry]:
    """Return the entries of an archive for `docker load`."""
    layers = [blob_path(layer.blob.digest) for layer in image.layers]
    document = [{"Config": blob_path(image.id), "RepoTags": [_repo_tag(each) for each in references], "Layers": layers}]
    return in_order([*_layout([image], references, content), _text("manifest.json", msgspec.json.encode(document))])


# --- what -------------------------------------------------------------------------------------------------------------


def _layout(images: Sequence[Image], references: Sequence[str], content: Content) -> list[Entry]:
    texts = {"oci-layout": _LAYOUT, "index.json": index_json(images, references)}
    blobs: dict[str, Entry] = {}
    documents = [data for image in images for data in (image.manifest, image.config)]
    if len(images) > 1:
        documents.append(make_index(images))
    for data in documents:
        path = blob_path(digest_of(data))
        blobs[path] = _text(path, data)
    for layer in (layer for image in images for layer in image.layers):
        path = blob_path(layer.blob.digest)
        if not content.has(layer.blob.digest, layer.blob.size):
            raise ContextError(
                f"layer {layer.title!r} ({layer.blob.digest}) is not in the store", remedy="run the command again"
            )
        blobs[path] = Entry(
            path=path,
            mode=FILE_MODE,
            size=layer.blob.size,
            digest=layer.blob.digest.removeprefix("sha256:"),
            origin=content.path(layer.blob.digest),
        )
    folders = [Entry(path=path, kind="folder", mode=FOLDER_MODE) for path in ("blobs", "blobs/sha256")]
    return in_order([*folders, *blobs.values(), *(_text(path, data) for path, data in texts.items())])


def index_json(images: Sequence[Image], references: Sequence[str]) -> bytes:
    """The entry point of a layout: the image under each of its names, or without one."""
    if len(images) == 1:
        found = [manifest_descriptor(images[0], each) for each in _names(references)]
    else:
        document = make_index(images)
        digest, size = digest_of(document), len(document)
        found = [
            Descriptor(media_type=INDEX, digest=digest, size=size, annotations=each) for each in _names(references)
        ]
    return msgspec.json.encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": found}, order="sorted")


def _names(references: Sequence[str]) -> list[dict[str, str] | None]:
    """Annotations of an index: what buildx writes and containerd and skopeo read."""
    names: list[dict[str, str] | None] = []
    for reference in dict.fromkeys(references):
        parsed = _tagged(reference)
        assert parsed.tag is not None
        names.append({"io.containerd.image.name": str(parsed), REF_NAME: parsed.tag})
    return names or [None]


def _tagged(reference: str) -> Reference:
    parsed = Reference.parse(reference)
    if parsed.digest is not None:
        raise UsageError(f"{reference!r} names a digest, and an image gets a tag", remedy="leave @sha256:… out")
    return parsed if parsed.tag else parsed.with_tag("latest")


def _repo_tag(reference: str) -> str:
    # The engine's own short form: without docker.io.
    return str(_tagged(reference)).removeprefix("docker.io/library/").removeprefix("docker.io/")


def blob_path(digest: str) -> str:
    """Return the path of a blob in an OCI layout."""
    return f"blobs/{digest.replace(':', '/')}"


def _text(path: str, data: bytes) -> Entry:
    return Entry(path=path, mode=FILE_MODE, size=len(data), data=data)


# --- where to ---------------------------------------------------------------------------------------------------------


def _check_folder(target: Path) -> None:
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_dir():
        raise ContextError(f"{target} is there and not a folder", remedy="name a new folder")
    try:
        names = set(os.listdir(target))
    except OSError as error:
        raise failure("replaced", target, error) from None
    if names and not names <= {"oci-layout", "index.json", "blobs", "ingest"}:
        raise ContextError(f"{target} is there and not an OCI layout alone", remedy="name a new folder")
    if names and "oci-layout" not in names:
        raise ContextError(f"{target} is there and no OCI layout", remedy="name a new folder")


def _is_there(target: Path, entries: Sequence[Entry], memory: DigestMemory) -> bool:
    """Whether a folder has these entries and nothing else: small files are read, layers known by their stamps."""
    found = {
        os.path.relpath(os.path.join(top, name), target) for top, *names in os.walk(target) for name in chain(*names)
    }
    if found != {entry.path for entry in entries}:
        return False
    try:
        return all(_is_same(target / entry.path, entry, memory) for entry in entries)
    except OSError:
        return False


def _is_same(path: Path, entry: Entry, memory: DigestMemory) -> bool:
    status = os.lstat(path)
    if entry.kind == "folder":
        return status.st_mode == stat.S_IFDIR | entry.mode
    if entry.data is None:
        return stat.S_ISREG(status.st_mode) and memory.recall(str(path), Stamp.of(status)) == entry.digest
    as_written = (status.st_mode, status.st_size) == (stat.S_IFREG | entry.mode, entry.size)
    return as_written and path.read_bytes() == entry.data


def _beside(target: Path) -> str:
    # Scans of sources know this name and leave it out (`context/save.py` uses the same).
    return f".{target.name[:40]}.packager-"


def _place(path: Path, entry: Entry) -> None:
    if entry.kind == "folder":
        path.mkdir()
        path.chmod(entry.mode)
    elif entry.data is not None:
        path.write_bytes(entry.data)
        path.chmod(entry.mode)
    else:
        origin = os.fsdecode(entry.origin)
        try:
            os.link(origin, path)
        except OSError:
            shutil.copyfile(origin, path)
            path.chmod(entry.mode)
        if digest_file(path).digest != entry.digest:
            raise not_as_read(origin, entry.digest or "")


def _move_in(made: Path, target: Path, aside: Path) -> None:
    if not target.exists() or not any(target.iterdir()):
        # rename(2) takes the place of an empty folder, and refuses any other.
        made.rename(target)
        return
    target.rename(aside)
    try:
        made.rename(target)
    except BaseException:
        aside.rename(target)
        raise


def _write_archive(entries: Sequence[Entry], file: Path) -> Path:
    target = Path(os.path.abspath(file))
    if os.path.lexists(target) and (target.is_symlink() or not target.is_file()):
        raise ContextError(f"{target} is there and not a file", remedy="name a new file")
    size = sum(entry.size for entry in entries)
    with new_file(target) as stream, working(f"writing {file.name}", size) as advance:
        for block in counted(tar_blocks(entries), advance):
            stream.write(block)
    return file
