"""The values of the OCI image format, and where content is kept. Values only; nothing is read or written here.

Source: OCI image spec 1.1 (`descriptor.md`, `manifest.md`, `image-index.md`, `config.md`) and distribution spec 1.1.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = f"{LAYER}+gzip"
LAYER_ZSTD = f"{LAYER}+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = f"{DOCKER_LAYER}.gzip"


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What names a piece of content: media type, `sha256:…` and bytes; for a manifest in an index its platform, too."""

    media_type: str
    digest: str
    size: int
    platform: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of an image.

    Attributes:
        blob: what is stored and uploaded: the compressed archive.
        diff_id: `sha256:…` of the uncompressed archive, for the image's configuration.
        title: what it is, for people (`app from src`); becomes the history's `created_by`.
    """

    blob: Descriptor
    diff_id: str
    title: str


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """One image of one platform: its two documents, byte for byte, and its layers in order.

    Attributes:
        platform: OCI os/arch.
        manifest: bytes of the manifest.
        config: bytes of the configuration.
        layers: base first.
    """

    platform: str
    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]

    @property
    def digest(self) -> str:
        """`sha256:…` of the manifest: the image's digest."""
        return digest_of(self.manifest)

    @property
    def id(self) -> str:
        """`sha256:…` of the configuration: the id by which an engine's classic store knows it."""
        return digest_of(self.config)


class BaseImage(msgspec.Struct, frozen=True, kw_only=True):
    """A base image of one platform, its layers being in the content store.

    Attributes:
        config: its configuration, decoded JSON (`config`, `rootfs`, `history`, `architecture`, `os` …).
        layers: as its manifest lists them, with their diff ids.
    """

    config: dict[str, object]
    layers: tuple[Layer, ...]


class Content(Protocol):
    """Where blobs are kept: by digest, verified when they come in, never half-written (`ContentStore`)."""

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether `sha256:…` is there, whole."""
        ...

    def path(self, digest: str) -> Path:
        """The file of `sha256:…`, or where it would be."""
        ...

    def put(self, stream: BinaryIO, expected: str | None = None) -> tuple[str, int]:
        """Take in a stream; return `sha256:…` and bytes. ContextError where `expected` differs: nothing is kept."""
        ...


def digest_of(data: bytes) -> str:
    """Return `sha256:…` of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
