"""What the documents of an image say: indexes, manifests and configurations, checked. Pure: bytes in, values out.

Source: OCI image spec 1.1 (`image-index.md`, `manifest.md`, `config.md`), Docker's image manifest v2 schema 2
(distribution/distribution, `manifest-v2-2.md`), which has the same fields; containerd's `platforms` for variants.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from packager.decoding import decode_json, json_decoder
from packager.errors import RegistryError
from packager.oci.values import (
    CONFIG,
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    LAYER,
    LAYER_GZIP,
    LAYER_ZSTD,
    BaseImage,
    Descriptor,
    Layer,
)

#: Docker's media types mean the same blobs. An OCI manifest names them by OCI's.
_LAYERS = {
    LAYER: LAYER,
    LAYER_GZIP: LAYER_GZIP,
    LAYER_ZSTD: LAYER_ZSTD,
    DOCKER_LAYER: LAYER,
    DOCKER_LAYER_GZIP: LAYER_GZIP,
    f"{DOCKER_LAYER}.zstd": LAYER_ZSTD,
}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
#: Architectures by the names that `uname -m` has for them, and the variants that are meant where none is named.
_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}
_VARIANTS = {"arm64": "v8", "arm": "v7", "amd64": "v1"}


class _Platform(msgspec.Struct, frozen=True):
    os: str = ""
    architecture: str = ""
    variant: str = ""


class _Entry(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str = ""
    digest: str = ""
    size: int = -1
    platform: _Platform | None = None
    annotations: dict[str, str] | None = None
    urls: list[str] | None = None


class _Document(msgspec.Struct, frozen=True, rename="camel"):
    schema_version: int = 0
    manifests: tuple[_Entry, ...] | None = None
    config: _Entry | None = None
    layers: tuple[_Entry, ...] | None = None
    annotations: dict[str, str] | None = None


#: Made when there is one thread: of several that decode a new type at once, one crashes (msgspec 0.22).
_DOCUMENT = json_decoder(_Document)


class ImageIndex(msgspec.Struct, frozen=True, kw_only=True):
    """An index: manifests, or further indexes, with their platforms."""

    manifests: tuple[Descriptor, ...]


class ImageManifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest: the configuration and the layers of one image."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


def parse(data: bytes, named: str) -> ImageIndex | ImageManifest:
    """Return what a document is.

    Args:
        data: the document.
        named: what it is the document of, for messages.

    Raises:
        RegistryError: it is of schema 1, has layers that registries may not hand out, or is no image at all.
    """
    try:
        document = _DOCUMENT.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RegistryError(f"the manifest of {named} is not valid: {error}") from None
    if document.schema_version == 1:
        raise RegistryError(
            f"{named} is in Docker's schema 1, which has no digest to rely on",
            remedy="push the image again with a current engine",
        )
    if document.manifests is not None and document.layers is None:
        return ImageIndex(manifests=tuple(_descriptor(entry, named) for entry in document.manifests))
    if document.config is None or document.layers is None:
        raise RegistryError(f"{named} is not an image: its manifest has neither layers nor manifests")
    if document.config.media_type not in (CONFIG, DOCKER_CONFIG):
        raise RegistryError(f"{named} is not an image: its configuration is {document.config.media_type!r}")
    return ImageManifest(
        config=_descriptor(document.config, named), layers=tuple(_layer(entry, named) for entry in document.layers)
    )


def named_by(data: bytes, named: str) -> tuple[tuple[Descriptor, ...], tuple[Descriptor, ...]]:
    """Return the documents and the blobs that a document names, whatever they are (attestations, too).

    Raises:
        RegistryError: as for `parse`, but that blobs of unknown kinds are taken as they are.
    """
    try:
        document = _DOCUMENT.decode(data)
    except (msgspec.DecodeError, RecursionError):
        document = _Document()
    if document.schema_version != 2 or (document.layers is None) == (document.manifests is None):
        parse(data, named)
        raise RegistryError(f"the manifest of {named} is not valid")
    entries = (*((document.config,) if document.config else ()), *(document.layers or ()))
    for entry in entries:
        _require_distributable(entry, named)
    documents = tuple(_descriptor(entry, named) for entry in document.manifests or ())
    return documents, tuple(_descriptor(entry, named) for entry in entries)


def _descriptor(entry: _Entry, named: str) -> Descriptor:
    if not _DIGEST.match(entry.digest) or entry.size < 0:
        raise RegistryError(f"the manifest of {named} is not valid: it names {entry.digest!r} of {entry.size} bytes")
    platform = None
    if entry.platform is not None:
        fields = {"os": entry.platform.os, "architecture": entry.platform.architecture}
        platform = fields | ({"variant": entry.platform.variant} if entry.platform.variant else {})
    return Descriptor(
        media_type=entry.media_type,
        digest=entry.digest,
        size=entry.size,
        platform=platform,
        annotations=entry.annotations,
    )


def _require_distributable(entry: _Entry, named: str) -> None:
    if "foreign" in entry.media_type or "nondistributable" in entry.media_type or entry.urls:
        raise RegistryError(
            f"{named} has a layer that is not at its registry ({entry.media_type}, {entry.digest})",
            remedy="choose a base whose layers may be distributed (Windows images and a few vendors' are others)",
        )


def _layer(entry: _Entry, named: str) -> Descriptor:
    _require_distributable(entry, named)
    if entry.media_type not in _LAYERS:
        raise RegistryError(f"{named} has a layer of a kind that packager does not know: {entry.media_type!r}")
    found = _descriptor(entry, named)
    return Descriptor(media_type=_LAYERS[entry.media_type], digest=found.digest, size=found.size)


def normal(platform: str) -> tuple[str, str, str]:
    """Return os, architecture and variant of a platform; the variant that goes without saying is empty."""
    os, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    architecture = _ARCHITECTURES.get(architecture, architecture)
    if architecture in _VARIANTS and variant == _VARIANTS[architecture]:
        variant = ""
    return os, architecture, variant


def platform_text(descriptor: Descriptor) -> str:
    """Return the platform of an entry of an index as text; empty where it has none."""
    fields = descriptor.platform or {}
    return "/".join(value for name in ("os", "architecture", "variant") if (value := fields.get(name)))


def images_of(index: ImageIndex) -> tuple[Descriptor, ...]:
    """Return the entries that are images: BuildKit's attestations stand beside them as `unknown/unknown`."""
    return tuple(each for each in index.manifests if platform_text(each) != "unknown/unknown")


def choose(index: ImageIndex, platform: str, named: str) -> Descriptor:
    """Return the entry of an index for a platform.

    Raises:
        RegistryError: there is none; the message says which there are.
    """
    there = images_of(index)
    for each in there:
        if normal(platform_text(each)) == normal(platform):
            return each
    unnamed = [each for each in there if not platform_text(each)]
    # An index of one image may leave the platform to its configuration, where it is checked all the same.
    if len(there) == 1 and unnamed:
        return unnamed[0]
    raise wrong_platform(named, platform, [platform_text(each) or "without platform" for each in there])


class WrongPlatformError(RegistryError):
    """An image is for other platforms than the one that is asked for."""


def wrong_platform(named: str, platform: str, there: list[str]) -> WrongPlatformError:
    """Return the error for an image that is for other platforms."""
    listed = ", ".join(sorted(set(there))) or "none"
    return WrongPlatformError(
        f"{named} is not there for {platform}, only for {listed}",
        remedy="choose another base (`--base`), or another `--platform`",
    )


def parse_config(data: bytes, named: str) -> dict[str, Any]:
    """Return the configuration of an image.

    Raises:
        RegistryError: it is none.
    """
    try:
        config = decode_json(data, dict[str, Any])
        ids = config["rootfs"]["diff_ids"]
        whole = all(isinstance(each, str) and _DIGEST.match(each) for each in ids)
    except (msgspec.DecodeError, LookupError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise RegistryError(f"the configuration of {named} is not valid")
    return config


def platform_of(config: dict[str, Any]) -> str:
    """Return the platform that a configuration says."""
    return "/".join(str(value) for name in ("os", "architecture", "variant") if (value := config.get(name)))


def base_image(layers: tuple[Descriptor, ...], config: dict[str, Any], platform: str, named: str) -> BaseImage:
    """Return the image of a manifest's layers and a configuration.

    Raises:
        RegistryError: it is for another platform, or the two do not fit each other.
    """
    found = platform_of(config)
    wanted = normal(platform)
    # Configurations often leave the variant out that their index names.
    if normal(found)[:2] != wanted[:2] or normal(found)[2] not in ("", wanted[2]):
        raise wrong_platform(named, platform, [found])
    ids = config["rootfs"]["diff_ids"]
    if len(ids) != len(layers):
        raise RegistryError(f"{named} has {len(layers)} layers, and its configuration says {len(ids)}")
    titles = layer_titles(config, len(layers))
    return BaseImage(
        config=config,
        layers=tuple(
            Layer(blob=blob, diff_id=diff_id, title=title)
            for blob, diff_id, title in zip(layers, ids, titles, strict=True)
        ),
    )


def layer_titles(config: dict[str, Any], count: int) -> tuple[str, ...]:
    """Return what the history says each layer is; where it does not fit the layers, their numbers."""
    history = config.get("history")
    entries = [each for each in history if isinstance(each, dict)] if isinstance(history, list) else []
    said = [str(each.get("created_by") or "") for each in entries if not each.get("empty_layer")]
    if len(said) != count:
        said = [""] * count
    return tuple(title or f"layer {number}" for number, title in enumerate(said, 1))
