"""What is behind a reference: a ModelPack artifact, a KitOps ModelKit, or an image; checked, whoever wrote it. Pure.

Sources: as of `packager.workspace.modelpack`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, TypeVar

import msgspec

from packager.contract import TITLE_LABEL
from packager.decoding import decode_json
from packager.errors import RegistryError
from packager.http import MAX_DOCUMENT, readable
from packager.oci.values import (
    CONFIG,
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    LAYER,
    LAYER_GZIP,
    LAYER_ZSTD,
    Descriptor,
)
from packager.workspace.paths import check_together, checked_path

MODELPACK_CONFIG = "application/vnd.cncf.model.config.v1+json"
KITFILE = "application/vnd.kitops.modelkit.config.v1+json"

Form = Literal["modelpack", "modelkit", "image"]
Packing = Literal["raw", "tar"]
T = TypeVar("T")

#: Layers of an artifact at most: above what the manifests of most registries have room for.
MOST_LAYERS = 20_000

_FORMS: dict[str, Form] = {MODELPACK_CONFIG: "modelpack", KITFILE: "modelkit", CONFIG: "image", DOCKER_CONFIG: "image"}
_IMAGE_LAYERS = (LAYER, LAYER_GZIP, LAYER_ZSTD, DOCKER_LAYER, DOCKER_LAYER_GZIP, f"{DOCKER_LAYER}.zstd")
_LAYER = re.compile(
    r"application/vnd\.(?:cncf\.model\.(?:weight|weight\.config|doc|code|dataset)"
    r"|kitops\.modelkit\.(?:model|modelpart|dataset|code|docs|prompt))\.v1\.(raw|tar)(?:\+(gzip|zstd))?\Z"
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_FILEPATH = "org.cncf.model.filepath"


class ArtifactLayer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer of an artifact.

    Attributes:
        blob: what is stored.
        packing: a file as it is, or a tar of several.
        compressed: whether gzip or zstd is around it.
        path: of the one file; empty of a tar.
    """

    blob: Descriptor
    packing: Packing
    compressed: bool = False
    path: str = ""


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest, checked.

    Attributes:
        form: what it is of.
        config: its configuration.
        layers: in their order.
        annotations: of the manifest.
        skipped: layers that hold none of its files.
    """

    form: Form
    config: Descriptor
    layers: tuple[ArtifactLayer, ...]
    annotations: dict[str, str] = {}
    skipped: int = 0


class _Entry(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] | None = None


class _Manifest(msgspec.Struct, frozen=True, rename="camel"):
    config: _Entry
    layers: tuple[_Entry, ...]
    annotations: dict[str, str] | None = None


def read_json(data: bytes, kind: type[T], named: str) -> T:
    """Return what a document says, without being filled by a large one.

    Raises:
        RegistryError: it is larger than 4 MiB, no JSON, or not of its form: the field is named.
    """
    if len(data) > MAX_DOCUMENT:
        raise RegistryError(f"{named} is larger than {MAX_DOCUMENT} bytes")
    try:
        return decode_json(data, kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RegistryError(f"{named} is not valid: {readable(str(error))}") from None


def read_artifact(manifest: bytes, named: str) -> Artifact:
    """Return what a manifest is of.

    Args:
        manifest: the document.
        named: what has it, for messages.

    Raises:
        RegistryError: it is no model that packager knows, or what is missing, wrong or hostile of it.
    """
    found = read_json(manifest, _Manifest, f"the manifest of {named}")
    if len(found.layers) > MOST_LAYERS:
        raise RegistryError(f"{named} has {len(found.layers)} layers; {MOST_LAYERS} are the most that packager takes")
    form = _FORMS.get(found.config.media_type)
    if form is None:
        raise RegistryError(
            f"{named} is neither a ModelPack artifact nor a ModelKit nor an image: its configuration is "
            f"{readable(found.config.media_type, 100)!r}"
        )
    config = _blob(found.config, named)
    if config.size > MAX_DOCUMENT:
        raise RegistryError(f"the configuration of {named} is larger than {MAX_DOCUMENT} bytes")
    # A ModelPack artifact that KitOps wrote has its Kitfile beside the layers.
    entries = [entry for entry in found.layers if entry.media_type != KITFILE]
    layers = tuple(_layer(entry, form, named) for entry in entries)
    check_together((layer.path for layer in layers if layer.path), named)
    return Artifact(
        form=form,
        config=config,
        layers=layers,
        annotations=found.annotations or {},
        skipped=len(found.layers) - len(entries),
    )


def _blob(entry: _Entry, named: str) -> Descriptor:
    if not _DIGEST.match(entry.digest) or entry.size < 0:
        raise RegistryError(f"{named} names {readable(entry.digest, 100)!r} of {entry.size} bytes, which is no blob")
    return Descriptor(media_type=entry.media_type, digest=entry.digest, size=entry.size, annotations=entry.annotations)


def _layer(entry: _Entry, form: Form, named: str) -> ArtifactLayer:
    blob = _blob(entry, named)
    if form == "image":
        if entry.media_type not in _IMAGE_LAYERS:
            raise _unknown(entry, named)
        return ArtifactLayer(blob=blob, packing="tar", compressed=entry.media_type not in (LAYER, DOCKER_LAYER))
    kind = _LAYER.match(entry.media_type)
    if kind is None:
        raise _unknown(entry, named)
    if kind[1] == "tar":
        return ArtifactLayer(blob=blob, packing="tar", compressed=bool(kind[2]))
    annotations = entry.annotations or {}
    path = annotations.get(_FILEPATH) or annotations.get(TITLE_LABEL)
    if path is None:
        raise RegistryError(f"{named} has a file without a path: its layer {entry.digest} has no {_FILEPATH}")
    return ArtifactLayer(blob=blob, packing="raw", compressed=bool(kind[2]), path=checked_path(path, named))


def _unknown(entry: _Entry, named: str) -> RegistryError:
    kind = readable(entry.media_type, 100)
    return RegistryError(f"{named} has a layer of a kind that packager does not know: {kind!r}")


def kitfile_name(config: bytes, named: str) -> str:
    """Return the name of the package of a Kitfile; empty where it has none.

    Raises:
        RegistryError: it is no Kitfile.
    """
    found: dict[str, Any] = read_json(config, dict[str, Any], f"the Kitfile of {named}")
    return next((name for name in _names(found) if name), "")


def _names(kitfile: dict[str, Any]) -> Iterator[str]:
    for part in ("package", "model"):
        section = kitfile.get(part)
        name = section.get("name") if isinstance(section, dict) else None
        yield name if isinstance(name, str) else ""


class _ImageLabels(msgspec.Struct, frozen=True):
    labels: dict[str, Any] = msgspec.field(default_factory=dict, name="Labels")


class _ImageConfig(msgspec.Struct, frozen=True):
    config: _ImageLabels = msgspec.field(default_factory=_ImageLabels)


def image_title(config: bytes) -> str:
    """Return the title that an image's labels say; empty where they say none."""
    try:
        title = read_json(config, _ImageConfig, "an image").config.labels.get(TITLE_LABEL)
    except RegistryError:
        return ""
    return title if isinstance(title, str) else ""
