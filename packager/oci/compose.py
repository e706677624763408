"""Plan + base + layers → the documents of an image: configuration, manifest, index. Pure, but for `make_image`.

The configuration is the one that BuildKit makes of our Dockerfile: what ENV, LABEL, EXPOSE, USER and others there do to
the base's is done here; `tests/integration/test_oci_document.py` compares the two.

Source: OCI image spec 1.1 (`config.md`, `manifest.md`, `image-index.md`); Healthcheck as in Docker's image spec 1.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import msgspec

from packager.errors import ContextError
from packager.oci.values import (
    CONFIG,
    DOCKER_INDEX,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    INDEX,
    LAYER,
    LAYER_GZIP,
    MANIFEST,
    BaseImage,
    Content,
    Descriptor,
    Image,
    Layer,
    digest_of,
)
from packager.plan.plan import Plan

#: What an OCI manifest calls layers that come from an image with Docker's media types; the bytes are the same.
_OCI_LAYERS = {DOCKER_LAYER: LAYER, DOCKER_LAYER_GZIP: LAYER_GZIP}

#: What of a base's configuration is inherited as it is (BuildKit drops `Hostname` and others that are a container's).
_INHERITED = ("Volumes", "ArgsEscaped", "StopTimeout", "Shell")
_TOP_INHERITED = ("architecture", "os", "variant", "os.version", "os.features", "author")


def image_config(
    plan: Plan, base: BaseImage, layers: Sequence[Layer], labels: Mapping[str, str], created: int
) -> bytes:
    """Return the configuration of an image as deterministic JSON.

    Args:
        plan: the image's.
        base: its base image.
        layers: ours, in order, without the base's.
        labels: of this build (`created`, `revision`).
        created: seconds since the epoch, SOURCE_DATE_EPOCH.

    Raises:
        ContextError: the base holds instructions that only an engine can execute (ONBUILD).
    """
    document: dict[str, Any] = {name: base.config[name] for name in _TOP_INHERITED if base.config.get(name)}
    document["created"] = rfc3339(created)
    document["config"] = _config(plan, _mapping(base.config.get("config")), labels)
    document["rootfs"] = {"type": "layers", "diff_ids": [layer.diff_id for layer in (*base.layers, *layers)]}
    document["history"] = _history(base, layers)
    return _json(document)


def manifest(config: bytes, layers: Sequence[Layer]) -> bytes:
    """Return the manifest of an image.

    Args:
        config: its configuration.
        layers: all of them, the base's first.
    """
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": Descriptor(media_type=CONFIG, digest=digest_of(config), size=len(config)),
            "layers": [layer.blob for layer in layers],
        }
    )


def make_index(images: Sequence[Image]) -> bytes:
    """Return the index of one image for several platforms."""
    return index_of([manifest_descriptor(each) for each in images])


def index_of(manifests: Sequence[Descriptor]) -> bytes:
    """Return the index of manifests, which say their platforms."""
    return _json({"schemaVersion": 2, "mediaType": index_type(manifests), "manifests": manifests})


def index_type(manifests: Sequence[Descriptor]) -> str:
    """Return the media type of an index of manifests: a list of Docker's where all of them are Docker's."""
    return DOCKER_INDEX if all(each.media_type == DOCKER_MANIFEST for each in manifests) else INDEX


def manifest_descriptor(image: Image, annotations: dict[str, str] | None = None) -> Descriptor:
    """Return what an index says of an image."""
    return Descriptor(
        media_type=MANIFEST,
        digest=image.digest,
        size=len(image.manifest),
        platform=platform_object(image.platform),
        annotations=annotations,
    )


def platform_object(platform: str) -> dict[str, str]:
    """Return an OCI platform (`linux/arm64/v8`) as an index has it."""
    return dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))


def make_image(
    plan: Plan, base: BaseImage, layers: Sequence[Layer], labels: Mapping[str, str], created: int, content: Content
) -> Image:
    """Return the image of a plan, with its configuration and manifest put into the content store.

    Args: as for `image_config`.

    Raises:
        ContextError: as for `image_config`, or the store cannot be written.
    """
    config = image_config(plan, base, layers, labels, created)
    every = tuple(_as_oci(layer) for layer in (*base.layers, *layers))
    document = manifest(config, every)
    for data in (config, document):
        if not content.has(digest_of(data), len(data)):
            content.put(BytesIO(data), digest_of(data))
    return Image(platform=plan.platform, manifest=document, config=config, layers=every)


def rfc3339(seconds: int) -> str:
    """Return a time as the documents have it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merged_env(base: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """Return the environment after ENV lines: what the base sets stays in its place, what is new follows."""
    merged = dict(each.partition("=")[::2] for each in base)
    merged.update(env)
    return [f"{name}={value}" for name, value in merged.items()]


def _as_oci(layer: Layer) -> Layer:
    media_type = _OCI_LAYERS.get(layer.blob.media_type, layer.blob.media_type)
    blob = Descriptor(media_type=media_type, digest=layer.blob.digest, size=layer.blob.size)
    return Layer(blob=blob, diff_id=layer.diff_id, title=layer.title)


def _config(plan: Plan, base: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    if base.get("OnBuild"):
        raise ContextError(
            f"the base {plan.base.reference} has ONBUILD instructions, which have to run in a container",
            remedy="use `--builder engine`, or a base without them",
        )
    own, health = plan.config, plan.config.health
    return {
        **{name: base[name] for name in _INHERITED if base.get(name)},
        "User": own.user,
        "ExposedPorts": {**_mapping(base.get("ExposedPorts")), f"{own.port}/tcp": {}},
        "Env": merged_env(base.get("Env") or (), own.env),
        # ENTRYPOINT resets the base's CMD, so there is none.
        "Entrypoint": list(own.entrypoint),
        "WorkingDir": own.working_dir,
        "Labels": {**_mapping(base.get("Labels")), **own.labels, **labels},
        "StopSignal": own.stop_signal,
        "Healthcheck": {
            "Test": ["CMD", *health.command],
            "Interval": health.interval * 10**9,
            "Timeout": health.timeout * 10**9,
            "StartPeriod": health.start_period * 10**9,
            "Retries": health.retries,
        },
    }


def _history(base: BaseImage, layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """The base's, and what each of our layers is: no more, because every edit of a script sends this document anew.

    What an instruction changes (ENV, LABEL, …) is in the configuration itself, and `created` stands above.
    """
    found = base.config.get("history")
    history: list[dict[str, Any]] = list(found) if isinstance(found, list) else []
    if sum(not each.get("empty_layer") for each in history) != len(base.layers):
        # Some tools write none, or half of one; engines refuse a history that does not fit the layers.
        history = [{"created_by": layer.title or "base"} for layer in base.layers]
    return history + [{"created_by": layer.title} for layer in layers]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _json(value: object) -> bytes:
    return msgspec.json.encode(value, order="sorted")
