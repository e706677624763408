"""An image that was written here → an engine, which is sent no layer that it has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

from packager.errors import EngineError
from packager.oci.outputs import blob_path, docker_entries, index_json
from packager.oci.tar import counted, tar_blocks
from packager.oci.values import Content, Image, digest_of
from packager.progress import working
from packager.storage.memory import Memory


def load_into_engine(image: Image, references: Sequence[str], content: Content) -> str:
    """Stream an image into the engine, and compare what it has then; return the id by which the engine knows it.

    Raises:
        EngineError: no engine, it refuses, or it made another image of it.
        ContextError: a layer is missing.
    """
    memory = Memory("loaded")
    there = _layers_there(image, memory)
    if there:
        try:
            return _load(image, references, content, memory, there)
        except EngineError:
            # It may have lost them since it was asked; all else fails again.
            memory.forget(_chain(image, there))
    return _load(image, references, content, memory, 0)


def _load(image: Image, references: Sequence[str], content: Content, memory: Memory, there: int) -> str:
    from packager.engine.api import connect

    sent = {blob_path(layer.blob.digest) for layer in image.layers[there:]}
    left_out = {blob_path(layer.blob.digest) for layer in image.layers[:there]} - sent
    entries = [each for each in docker_entries(image, references, content) if each.path not in left_out]
    with connect() as client:
        with working("loading into the engine", sum(entry.size for entry in entries)) as advance:
            blocks = counted(tar_blocks(entries), advance)
            # The SDK gives the body to `requests`, which sends what an iterator gives, each piece as it is.
            loaded = client.images.load(cast(Any, _as_bytes(blocks)))
        ids = {str(each.id) for each in loaded}
        ids |= {str(client.images.get(reference).id) for reference in references}
    # The classic store names an image by its configuration, containerd's by its manifest, or by the index around it.
    known = {image.id, image.digest, digest_of(index_json([image], references))}
    if len(ids) != 1 or not ids <= known:
        raise EngineError(
            f"the engine has {', '.join(sorted(ids)) or 'no image'} after loading {image.id}",
            remedy="look at `docker images`; another program may have moved the tag: run the command again",
        )
    if ids == {image.id}:
        # Of the classic store alone: containerd's wants every blob that a manifest names.
        for count in range(1, len(image.layers) + 1):
            memory.remember(image.id.encode(), _chain(image, count))
    return ids.pop()


def _layers_there(image: Image, memory: Memory) -> int:
    """Return how many of the first layers the engine has, by an image of it that was loaded with them.

    Docker reads no file of a layer below which it has all (moby, image/tarexport/load.go).
    """
    from packager.engine.api import inspect_local

    wanted = [layer.diff_id for layer in image.layers]
    for count in range(len(wanted), 0, -1):
        known = memory.recall(_chain(image, count))
        local = inspect_local(known.decode()) if known else None
        if local is not None and list(local.layers[:count]) == wanted[:count]:
            return count
    return 0


def _chain(image: Image, count: int) -> str:
    return hashlib.sha256(" ".join(layer.diff_id for layer in image.layers[:count]).encode()).hexdigest()


def _as_bytes(blocks: Iterator[memoryview]) -> Iterator[bytes]:
    for block in blocks:
        yield bytes(block)
