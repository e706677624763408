"""Files of a version, to a repository: hashed once, sent in parallel, never twice, mounted where they are already."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path

from packager.errors import RegistryError
from packager.oci.values import Descriptor, digest_of
from packager.progress import reading
from packager.registry.client import RegistryClient
from packager.registry.sending import Sender, Sent
from packager.storage.content import ContentStore
from packager.storage.memory import Memory
from packager.storage.models import Store
from packager.storage.reading import changed_since, digest_file, failure
from packager.workspace.values import Content, File

#: Makes a client for blobs: repositories to mount from, and what says whether to stop.
Connect = Callable[[Iterable[str], Callable[[], bool]], RegistryClient]


def look_at(contents: Sequence[Content], store: Store) -> dict[File, Content]:
    """Return the files that contents are, each with where it is; files whose digest is known are not read.

    Args:
        contents: files.
        store: remembers digests.

    Raises:
        ContextError: one cannot be read, changes meanwhile, or two are of one path.
    """
    found = {}
    with reading("reading files"):
        for each in contents:
            if each.sha256 is None:
                sha256, size = store.digest(each.origin, each.below)
            else:
                sha256, size = each.sha256, _size(each)
            found[File(path=each.path, size=size, sha256=sha256)] = each
    return dict(sorted(found.items(), key=lambda item: item[0].path))


def _size(content: Content) -> int:
    try:
        return content.origin.stat().st_size
    except OSError as error:
        raise failure("read", content.origin, error) from None


def send(blobs: Iterable[Sent], at: str, connect: Connect, memory: Memory, registry: str) -> Sender:
    """Send blobs to a repository, unless it has them; say what became of each.

    Args:
        blobs: what to send; the same may come twice.
        at: path of the repository at its registry.
        connect: makes the client.
        memory: of where which blob is.
        registry: its host, for the memory.

    Raises:
        ContextError: a file changed since it was looked at, or is not of its digest.
        RegistryError, TemporaryError: the registry refuses, or does not answer; running again continues.
    """
    unique = {each.blob.digest: each for each in blobs}
    places = {digest: (memory.recall("place", registry, digest) or b"").decode(errors="replace") for digest in unique}
    mounts = {digest: place for digest, place in places.items() if place not in ("", at)}
    stop = threading.Event()
    sender = Sender(connect(mounts.values(), stop.is_set), mounts, stop)
    try:
        sender.send_all(unique.values())
    except RegistryError as error:
        # Registries refuse what is not of its digest: then the file is at fault.
        for digest, each in unique.items():
            if digest in error.message and f"sha256:{digest_file(each.path()).digest}" != digest:
                raise changed_since(each.path()) from None
        raise
    for digest, place in places.items():
        if place != at:
            memory.remember(at.encode(), "place", registry, digest)
    return sender


def file_blobs(layers: Sequence[Descriptor], contents: Mapping[File, Content]) -> list[Sent]:
    """Return what is to be sent of files.

    Args:
        layers: descriptors of the files, in their order.
        contents: the files, in the same order.
    """
    pairs = zip(layers, contents.items(), strict=True)
    return [Sent(layer, file.path, partial(Path, content.origin)) for layer, (file, content) in pairs]


def document_blob(descriptor: Descriptor, data: bytes, content: ContentStore) -> Sent:
    """Return what is to be sent of a document."""
    assert descriptor.digest == digest_of(data)

    def path() -> Path:
        content.put(BytesIO(data), descriptor.digest)
        return content.path(descriptor.digest)

    return Sent(descriptor, "what it is", path)
