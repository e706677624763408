"""Images as `docker save` writes them: layers without compression, so that the registry's blobs are made here.

Source: moby, `image/spec/v1.2.md` ("Combined Image JSON + Filesystem Changeset Format") for `manifest.json`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO, cast

import msgspec

from packager.decoding import decode_json
from packager.errors import ContextError
from packager.oci.archives import Files, read_document
from packager.oci.compression import MEDIA_TYPES, Compression, codec_for, codec_name
from packager.oci.packing import PackedStream
from packager.oci.parse import base_image, parse_config
from packager.oci.unpacking import DAMAGE, most_of, unpacked
from packager.oci.values import LAYER_GZIP, LAYER_ZSTD, BaseImage, Content, Descriptor, digest_of
from packager.storage.memory import Memory
from packager.storage.reading import BLOCK


class _Entry(msgspec.Struct, frozen=True, rename="pascal"):
    config: str
    layers: tuple[str, ...]
    repo_tags: tuple[str, ...] | None = None


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """One image of a `docker save` archive.

    Attributes:
        id: `sha256:…` of its configuration.
        config: its configuration.
        layers: paths of the layers in the archive.
        tags: references that it had in its engine.
    """

    id: str
    config: bytes
    layers: tuple[str, ...]
    tags: tuple[str, ...]


def saved_images(files: Files, named: str) -> tuple[Saved, ...]:
    """Return the images of a `docker save` archive.

    Raises:
        ContextError: it is none.
    """
    data = read_document(files, "manifest.json")
    try:
        entries = decode_json(data, tuple[_Entry, ...])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ContextError(f"the manifest.json of {named} is not valid: {error}") from None
    found = []
    for entry in entries:
        config = read_document(files, entry.config)
        tags = tuple(entry.repo_tags or ())
        found.append(Saved(id=digest_of(config), config=config, layers=entry.layers, tags=tags))
    return tuple(found)


def choose_saved(files: Files, named: str, name: str = "") -> Saved:
    """Return the image of an archive that has a name or id, or the only one.

    Raises:
        ContextError: there is none, or there are several.
    """
    images = saved_images(files, named)
    found = [each for each in images if not name or name == each.id or name in each.tags]
    if len({each.id for each in found}) == 1:
        return found[0]
    listed = ", ".join(tag for each in images for tag in (each.tags or (each.id,))) or "no names"
    raise ContextError(
        f"{named} has {'several images' if found else f'no image {name!r}'}: {listed}",
        remedy="name one: docker-archive:FILE:REFERENCE",
    )


def convert(
    files: Files, saved: Saved, platform: str, content: Content, named: str, compression: Compression
) -> BaseImage:
    """Take an image into the content store: its layers compressed, and held against their diff ids.

    Raises:
        ContextError: it is damaged.
        RegistryError: it is for another platform, or its configuration is none.
    """
    config = parse_config(saved.config, named)
    # Whether the platform and the number of layers are right is known before anything is written.
    nothing = Descriptor(media_type="", digest=saved.id, size=0)
    planned = base_image((nothing,) * len(saved.layers), config, platform, named)
    blobs = tuple(
        _take(files, path, layer.diff_id, content, named, compression)
        for path, layer in zip(saved.layers, planned.layers, strict=True)
    )
    return base_image(blobs, config, platform, named)


def _take(files: Files, path: str, diff_id: str, content: Content, named: str, compression: Compression) -> Descriptor:
    memory, key = Memory("base-layers"), (diff_id, codec_name(compression))
    if (known := memory.recall(*key)) is not None:
        found = decode_json(known, Descriptor)
        if content.has(found.digest, found.size):
            return found
    with files.open(path) as stream:
        magic = stream.read(4)
        with unpacked(stream, magic, most=most_of(stream)) as plain:
            codec, size = codec_for(compression)
            with closing(PackedStream(_blocks(plain, size), codec)) as packed:
                digest, written = content.put(cast(BinaryIO, packed))
                found_id = packed.diff_id or digest
    if found_id != diff_id:
        raise ContextError(
            f"{named} is damaged: {path} is {found_id}, its configuration says {diff_id}", remedy="write it again"
        )
    descriptor = Descriptor(media_type=MEDIA_TYPES[compression], digest=digest, size=written)
    memory.remember(msgspec.json.encode(descriptor), *key)
    return descriptor


def _blocks(stream: BinaryIO, size: int) -> Iterator[bytes]:
    """Iterate over blocks of one size, however little single reads give: the compressed bytes depend on the blocks."""
    while True:
        parts, left = [], size
        while left and (data := stream.read(left)):
            parts.append(data)
            left -= len(data)
        if parts:
            yield b"".join(parts)
        if left:
            return


def check_diff_id(content: Content, blob: Descriptor, diff_id: str, named: str) -> None:
    """Unpack a blob of the store and hold it against its diff id.

    Raises:
        ContextError: it is another, or damaged.
    """
    import hashlib

    magic = {LAYER_GZIP: b"\x1f\x8b\x08\x00", LAYER_ZSTD: b"\x28\xb5\x2f\xfd"}.get(blob.media_type, b"")
    state = hashlib.sha256()
    try:
        with content.path(blob.digest).open("rb") as stream, unpacked(stream, magic) as plain:
            while data := plain.read(BLOCK):
                state.update(data)
    except (OSError, *DAMAGE) as error:
        raise ContextError(f"{named} is damaged: {blob.digest} cannot be unpacked: {error}") from None
    if f"sha256:{state.hexdigest()}" != diff_id:
        raise ContextError(f"{named} is damaged: {blob.digest} is not {diff_id}, as its configuration says")
