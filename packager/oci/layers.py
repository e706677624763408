"""Trees and folders → layers in the content store: tar, hashes, compression and writing in one pass; nothing twice.

A layer is remembered by what it is made from, never by when: the digest of its tree (or the key of its folder), the
compression, and the versions of what writes both. An unchanged one is neither built, compressed nor hashed again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from packager.context.walk import Root
from packager.contract import FILE_MODE, FOLDER_MODE, MODEL_MODE, PROGRAM_MODE
from packager.decoding import json_decoder
from packager.errors import ContextError
from packager.oci.compression import (
    MEDIA_TYPES,
    Compression,
    codec_for,
    codec_name,
    is_incompressible,
    sample_offsets,
)
from packager.oci.tar import TAR_VERSION, Entry, counted, in_order, tar_blocks
from packager.oci.values import Content, Descriptor, Layer
from packager.plan.trees import Tree, parent_of
from packager.progress import working
from packager.storage.listing import Listed, list_folder
from packager.storage.memory import Memory
from packager.storage.models import Store
from packager.storage.reading import failure, opened

#: Bytes from which a layer of weights is worth a look at a sample of the whole.
_LARGE = 16 << 20
_SAMPLES, _SAMPLE = 16, 64 << 10


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a layer."""

    media_type: str
    digest: str
    size: int
    diff_id: str


#: Made when there is one thread: of several that decode a new type at once, one crashes (msgspec 0.22).
_RECORD = json_decoder(_Record)


def tree_layer(
    tree: Tree,
    title: str,
    root: Path,
    store: Store,
    content: Content,
    compression: Compression = "gzip",
    memory: Memory | None = None,
) -> Layer:
    """Return the layer of a tree, from the content store where it is.

    Args:
        tree: laid out from the root of the image.
        title: for people.
        root: the folder of the spec, which the files' origins are relative to.
        store: where models are read from that are in it; others are read from `root`.
        content: where the layer goes.
        compression: of the blob. Large weights, which no compression makes smaller, are stored as they are.
        memory: of the layers made before; this user's where None.

    Raises:
        ContextError: a file cannot be read or changed since the tree was made; the disk is full. Nothing is kept.
    """
    known = Known(tree_key(tree), compression, content, memory)
    if found := known.recall(title):
        return found
    entries = _tree_entries(tree, Root.of(root), store)
    return known.make(title, entries, "none" if holds_weights(entries) else compression)


def folder_layer(
    folder: Path,
    prefix: str,
    title: str,
    key: str,
    content: Content,
    compression: Compression = "gzip",
    memory: Memory | None = None,
    listing: Iterable[Listed] | None = None,
) -> Layer:
    """Return the layer of a folder on disk (the environment), from the content store where it is.

    Modes become 0755 for folders and what its owner may execute, 0644 for others; times and owners are fixed.

    Args:
        folder: read only where the layer is not known.
        prefix: where it goes in the image, `/opt/env`; its parents become folders of the layer.
        title: for people.
        key: names what the folder holds: of the same key, it has the same files.
        content: where the layer goes.
        compression: of the blob.
        memory: of the layers made before; this user's where None.
        listing: of the folder, where it is known.

    Raises:
        ContextError: a file cannot be read, or is neither file, folder nor link; the disk is full. Nothing is kept.
    """
    known = Known(f"folder {prefix} {key}", compression, content, memory)
    return known.recall(title) or known.make(title, folder_entries(folder, prefix, listing), compression)


def recall_folder_layer(
    prefix: str, title: str, key: str, content: Content, compression: Compression, memory: Memory | None = None
) -> Layer | None:
    """Return what `folder_layer` would without its folder: None where the layer has to be made."""
    return Known(f"folder {prefix} {key}", compression, content, memory).recall(title)


def tree_key(tree: Tree) -> str:
    """Return what a tree's layer is remembered by."""
    # Once, files of one content were written each.
    return f"tree {tree.digest} linked" if tree.twins else f"tree {tree.digest}"


class Known:
    """One layer, by what it is made from.

    Args:
        source: what of the layer is not in the other two.
        compression: that was asked for.
        content: where the layer is, or goes.
        memory: of layers made before; this user's where None.
    """

    def __init__(self, source: str, compression: Compression, content: Content, memory: Memory | None) -> None:
        self._key = (source, f"tar-{TAR_VERSION}", codec_name(compression))
        self._content = content
        self._memory = memory if memory is not None else Memory("layers")

    def recall(self, title: str) -> Layer | None:
        """Return the layer where it is in the content store."""
        data = self._memory.recall(*self._key)
        if data is None:
            return None
        try:
            record = _RECORD.decode(data)
            there = self._content.has(record.digest, record.size)
        except (msgspec.MsgspecError, ContextError):
            # Made by hand, or by half: as good as none.
            return None
        if not there:
            return None
        blob = Descriptor(media_type=record.media_type, digest=record.digest, size=record.size)
        return Layer(blob=blob, diff_id=record.diff_id, title=title)

    def make(self, title: str, entries: Sequence[Entry], compression: Compression) -> Layer:
        """Write the layer and remember it."""
        layer = write_layer(title, entries, compression, self._content)
        self.remember(layer)
        return layer

    def remember(self, layer: Layer) -> None:
        """Remember a layer for the next time."""
        blob = layer.blob
        record = _Record(media_type=blob.media_type, digest=blob.digest, size=blob.size, diff_id=layer.diff_id)
        self._memory.remember(msgspec.json.encode(record), *self._key)


def write_layer(
    title: str,
    entries: Sequence[Entry],
    compression: Compression,
    content: Content,
    digests: dict[str, str] | None = None,
) -> Layer:
    """Write a layer to the content store; `digests` gets path → sha256 of the files that it read.

    Raises:
        ContextError: a file cannot be read or changed; the disk is full. Nothing is kept.
    """
    from packager.oci.packing import PackedStream

    codec, block = codec_for(compression)
    with working(f"packing {title}", sum(entry.size for entry in entries)) as advance:
        blocks = counted(tar_blocks(entries, block, digests), advance)
        with PackedStream(blocks, codec) as stream:
            digest, size = content.put(cast(BinaryIO, stream))
            diff_id = stream.diff_id or digest
    return Layer(
        blob=Descriptor(media_type=MEDIA_TYPES[compression], digest=digest, size=size), diff_id=diff_id, title=title
    )


# --- of what ----------------------------------------------------------------------------------------------------------


def _tree_entries(tree: Tree, root: Root, store: Store) -> list[Entry]:
    entries = [Entry(path=folder, kind="folder", mode=FOLDER_MODE) for folder in tree.folders]
    for file in tree.files:
        if file.text is not None:
            entries.append(Entry(path=file.path, mode=file.mode, size=file.size, data=file.text.encode()))
            continue
        if file.path in tree.twins:
            entries.append(hard_link(file.path, tree.twins[file.path]))
            continue
        origin: bytes = root.join(file.origin)
        if file.mode == MODEL_MODE and store.has(file.digest, file.size):
            origin = os.fsencode(store.path(file.digest))
        entries.append(Entry(path=file.path, mode=file.mode, size=file.size, digest=file.digest, origin=origin))
    return in_order(entries)


def hard_link(path: str, first: str) -> Entry:
    """Return the entry of a model's file whose content an earlier one has."""
    return Entry(path=path, kind="hard link", mode=MODEL_MODE, target=first)


def folder_entries(folder: Path, prefix: str, listing: Iterable[Listed] | None = None) -> list[Entry]:
    """Return the entries of a folder on disk, put at `prefix`; links as they are, pointing where they point.

    Raises:
        ContextError: something cannot be read, or is neither file, folder nor link.
    """
    place = prefix.strip("/")
    entries, parent = [], place
    while parent:
        entries.append(Entry(path=parent, kind="folder", mode=FOLDER_MODE))
        parent = parent_of(parent)
    above = f"{place}/" if place else ""
    found = list_folder(folder) if listing is None else listing
    entries += (_entry(os.fspath(folder), above, each) for each in found)
    return in_order(entries)


def _entry(folder: str, above: str, each: Listed) -> Entry:
    path, origin = above + each.path, f"{folder}/{each.path}"
    if each.kind == "file":
        return Entry(path=path, mode=PROGRAM_MODE if each.executable else FILE_MODE, size=each.size, origin=origin)
    if each.kind == "folder":
        return Entry(path=path, kind="folder", mode=FOLDER_MODE)
    if each.kind == "other":
        raise ContextError(f"{origin} is not a regular file", remedy="package files and folders only")
    try:
        return Entry(path=path, kind="link", mode=0o777, target=os.readlink(origin))
    except OSError as error:
        raise failure("read", origin, error) from None


def holds_weights(entries: Sequence[Entry]) -> bool:
    """Whether a layer is large and almost all of it is data that compression does not make smaller.

    It then becomes a plain tar: blob and archive are the same bytes, hashed once. Looks at fixed places of large files.
    """
    large = [entry for entry in entries if entry.size >= _LARGE]
    size = sum(entry.size for entry in large)
    if not large or size < 0.9 * sum(entry.size for entry in entries):
        return False
    return is_incompressible(b"".join(_samples(large, size)))


def _samples(files: Sequence[Entry], size: int) -> Iterator[bytes]:
    """Iterate over samples at fixed places of files laid end to end."""
    offsets, start = sample_offsets(size, _SAMPLES, _SAMPLE), 0
    for file in files:
        inside = [offset - start for offset in offsets if start <= offset < start + file.size]
        start += file.size
        if inside:
            with opened(file.origin) as descriptor:
                for offset in inside:
                    yield os.pread(descriptor, _SAMPLE, offset)
