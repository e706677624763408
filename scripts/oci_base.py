#!/usr/bin/env python3
"""Wrap root file systems into an OCI image, with no engine: `scripts/engine base` makes the local base image by it.

    oci_base.py --output base.oci.tar linux/amd64=trixie.tar linux/arm64=trixie-arm64.tar
    oci_base.py --layer-of base.oci.tar linux/amd64 >trixie.tar

The image has one layer for each platform, the tar as it is. The same tars give the same bytes. Needs only Python 3.11.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"

KEYS = ("os", "architecture", "variant")  # of a platform

# As the official Python images have them.
PATH = "/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
COMMAND = ["python3"]

Files = dict[str, bytes | Path]
"""The files of a layout by their names: what is in them, or where that is."""


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--output", type=Path, metavar="PATH", help="an archive (*.tar) or a folder")
    what.add_argument("--layer-of", type=Path, metavar="ARCHIVE", help="write a platform's layer to standard output")
    parser.add_argument("platforms", nargs="+", metavar="OS/ARCH[=TAR]", help="a platform, and its root file system")
    given = parser.parse_args(arguments)
    if given.layer_of is not None:
        if len(given.platforms) != 1:
            parser.error("--layer-of takes one platform")
        copy_layer(given.layer_of, given.platforms[0], sys.stdout.buffer)
        return
    trees: dict[str, Path] = {}
    for text in given.platforms:
        platform, equals, name = text.partition("=")
        if platform.count("/") not in (1, 2) or not equals or not name:
            parser.error(f"{text!r} is not OS/ARCH=TAR")
        if platform in trees:
            parser.error(f"{platform} is given twice")
        if not tarfile.is_tarfile(name):
            parser.error(f"{name} is no tar")
        trees[platform] = Path(name)
    write(layout(trees), given.output)


def layout(trees: dict[str, Path]) -> Files:
    """Return the files of the image whose platforms have these root file systems."""
    files: Files = {"oci-layout": encode({"imageLayoutVersion": "1.0.0"})}
    entries = [entry(platform, tree, files) for platform, tree in trees.items()]
    if len(entries) > 1:
        # An index of its own: then the layout has one image, as every tool understands it.
        entries = [add(files, INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})]
    return {**files, "index.json": encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})}


def entry(platform: str, tree: Path, files: Files) -> dict[str, Any]:
    """Add a platform's image to a layout, and return its place in an index."""
    with tree.open("rb") as stream:
        if stream.read(4)[:2] == b"\x1f\x8b":
            sys.exit(f"{tree} is compressed; give the tar itself")
        stream.seek(0)
        diff_id = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
    files[blob(diff_id)] = tree
    where = dict(zip(KEYS, platform.split("/"), strict=False))
    config = {
        **where,
        "config": {"Env": [f"PATH={PATH}"], "Cmd": COMMAND},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created_by": "scripts/engine base"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": add(files, CONFIG, config),
        "layers": [{"mediaType": LAYER, "digest": diff_id, "size": tree.stat().st_size}],
    }
    return {**add(files, MANIFEST, manifest), "platform": where}


def add(files: Files, media_type: str, document: dict[str, Any]) -> dict[str, Any]:
    """Add a document to a layout, and return its descriptor."""
    data = encode(document)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    files[blob(digest)] = data
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def encode(document: dict[str, Any]) -> bytes:
    """Return a document as JSON, the same bytes each time."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def blob(digest: str) -> str:
    """Return the name of a blob's file in a layout."""
    return "blobs/" + digest.replace(":", "/")


def write(files: Files, output: Path) -> None:
    """Write a layout; what is at `output` is replaced only by a whole one."""
    part = output.with_name(f"{output.name}.part")
    if output.suffix == ".tar":
        with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as archive:
            for name, content in sorted(files.items()):
                with opened(content) as stream:
                    archive.addfile(member(name, content), stream)
    else:
        shutil.rmtree(part, ignore_errors=True)
        for name, content in files.items():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            with opened(content) as stream, (part / name).open("wb") as target:
                shutil.copyfileobj(stream, target, 1 << 20)
        if output.is_dir():
            shutil.rmtree(output)
    os.replace(part, output)


def opened(content: bytes | Path) -> BinaryIO:
    """Open a file of a layout."""
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def member(name: str, content: bytes | Path) -> tarfile.TarInfo:
    """Return the head of a file in the archive, in which nothing depends on the machine or the time."""
    info = tarfile.TarInfo(name)
    info.size = len(content) if isinstance(content, bytes) else content.stat().st_size
    info.mode = 0o644
    return info


def copy_layer(path: Path, platform: str, target: BinaryIO) -> None:
    """Write the layer of a platform of an archive that `write` wrote."""
    with tarfile.open(path, "r:") as archive:

        def stream(name: str) -> BinaryIO:
            found = archive.extractfile(name)
            if found is None:
                sys.exit(f"{path} has no file {name}")
            return found  # type: ignore[return-value]

        def manifests(name: str) -> Iterable[dict[str, Any]]:
            for each in json.load(stream(name))["manifests"]:
                if each["mediaType"] == INDEX:
                    yield from manifests(blob(each["digest"]))
                else:
                    yield each

        for each in manifests("index.json"):
            where = each["platform"]
            if "/".join(where[key] for key in KEYS if key in where) == platform:
                (layer,) = json.load(stream(blob(each["digest"])))["layers"]
                shutil.copyfileobj(stream(blob(layer["digest"])), target, 1 << 20)
                return
    sys.exit(f"{path} has nothing for {platform}")


if __name__ == "__main__":
    main()
