"""Is a pushed image exactly what these inputs give? If not: which layer, and which file."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

from packager.errors import ContextError
from packager.oci.unpacking import DAMAGE, layer_members
from packager.oci.values import BaseImage, Content, Image, Layer
from packager.reference import Reference
from packager.registry.client import RegistryClient
from packager.registry.origins import RegistryOrigin, fetch_image
from packager.storage.reading import BLOCK

#: Differences of one layer that are named; a layer of another environment has thousands.
SHOWN = 20


def compare_with(image: Image, reference: str, content: Content, mirrors: Mapping[str, str]) -> tuple[str, ...]:
    """Return what differs between an image and the one that a reference names, a line each; empty when they are one.

    Args:
        image: as these inputs give it.
        reference: at a registry.
        content: has the image's layers; takes those of the other one that differ.
        mirrors: registry → mirror.

    Raises:
        RegistryError, TemporaryError: the other one cannot be had.
    """
    named = Reference.parse(reference)
    with RegistryClient(named, mirrors) as client:
        manifest = client.get_manifest()
    if manifest.digest == image.digest:
        return ()
    with RegistryOrigin(named.without_digest(), mirrors, lambda _: None) as origin:
        other = fetch_image(manifest.digest, image.platform, content, origin, reference)
    return tuple(differences(image, other, content))


def differences(image: Image, other: BaseImage, content: Content) -> Iterator[str]:
    """Yield what differs: configuration, number of layers, and for each layer its files."""
    ours = json.loads(image.config)
    for name in sorted({*ours, *other.config} - {"rootfs", "history"}):
        yield from _fields(name, ours.get(name), other.config.get(name))
    if len(image.layers) != len(other.layers):
        yield f"layers: {len(image.layers)} here, {len(other.layers)} there"
    for number, (here, there) in enumerate(zip(image.layers, other.layers, strict=False)):
        if here.diff_id != there.diff_id:
            yield f"layer {number} ({here.title}): {here.diff_id} here, {there.diff_id} there"
            yield from _files(here, there, content)
        elif here.blob.digest != there.blob.digest:
            yield f"layer {number} ({here.title}): the same files, compressed in another way"


def _fields(name: str, here: Any, there: Any) -> Iterator[str]:
    if isinstance(here, dict) and isinstance(there, dict):
        for key in sorted({*here, *there}):
            yield from _fields(f"{name}.{key}", here.get(key), there.get(key))
    elif here != there:
        yield f"{name}: {json.dumps(here)} here, {json.dumps(there)} there"


def _files(here: Layer, there: Layer, content: Content) -> Iterator[str]:
    ours, theirs = _listing(here, content), _listing(there, content)
    changed = sorted(path for path in {*ours, *theirs} if ours.get(path) != theirs.get(path))
    for path in changed[:SHOWN]:
        what = "only here" if path not in theirs else "only there" if path not in ours else "differs"
        yield f"  /{path}: {what}"
    if len(changed) > SHOWN:
        yield f"  and {len(changed) - SHOWN} more"


def _listing(layer: Layer, content: Content) -> dict[str, tuple[object, ...]]:
    try:
        with content.path(layer.blob.digest).open("rb") as stream, layer_members(stream) as archive:
            found: dict[str, tuple[object, ...]] = {}
            for member in archive:
                path, kept = _entry(archive, member)
                # Which of the names of one file comes first is the writer's affair.
                found[path] = found.get(_name(member.linkname), kept) if member.islnk() else kept
            return found
    except (OSError, *DAMAGE) as error:
        raise ContextError(f"the layer {layer.blob.digest} cannot be read: {error}") from None


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[str, tuple[object, ...]]:
    digest = member.linkname
    file = archive.extractfile(member) if member.isfile() else None
    if file is not None:
        state = hashlib.sha256()
        while block := file.read(BLOCK):
            state.update(block)
        digest = state.hexdigest()
    kept = (member.type, member.mode, member.uid, member.gid, int(member.mtime), digest)
    return _name(member.name), kept


def _name(path: str) -> str:
    return path.strip("/").removeprefix("./")
