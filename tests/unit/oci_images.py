"""Small images, made of bytes."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

from packager.oci.values import (
    CONFIG,
    LAYER,
    MANIFEST,
    Content,
    Descriptor,
    Image,
    Layer,
    digest_of,
)


def tar_of(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def config_of(diff_ids: list[str], platform: str = "linux/amd64", **more: Any) -> bytes:
    os, architecture, *variant = platform.split("/")
    values = {"os": os, "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": diff_ids}, **more}
    return json.dumps(values | ({"variant": variant[0]} if variant else {})).encode()


def manifest_of(config: bytes, *layers: tuple[str, bytes], **more: Any) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)},
            "layers": [{"mediaType": kind, "digest": digest_of(data), "size": len(data)} for kind, data in layers],
            **more,
        }
    ).encode()


def image_of(content: Content, *layers: bytes, platform: str = "linux/amd64") -> Image:
    config = config_of([digest_of(layer) for layer in layers], platform)
    for layer in layers:
        content.put(io.BytesIO(layer))
    return Image(
        platform=platform,
        manifest=manifest_of(config, *((LAYER, layer) for layer in layers)),
        config=config,
        layers=tuple(
            Layer(
                blob=Descriptor(media_type=LAYER, digest=digest_of(layer), size=len(layer)),
                diff_id=digest_of(layer),
                title=f"layer {number}",
            )
            for number, layer in enumerate(layers)
        ),
    )
