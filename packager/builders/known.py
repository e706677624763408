"""Images that were written here, found again by the id under which an engine knows them.

An engine with Docker's ordinary store packs layers again when it pushes, into another digest. What was written here is
in the content store as it was written, so that it can be pushed under the digest that its build printed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from packager.contract import BASE_NAME_LABEL
from packager.errors import PackagerError
from packager.oci.parse import ImageManifest, base_image, parse, parse_config
from packager.oci.values import Content, Image
from packager.reference import Reference
from packager.registry.mirrors import registry_mirrors
from packager.storage.memory import Memory
from packager.storage.written import IMAGES, written_as

if TYPE_CHECKING:
    from packager.engine.push import Pushed


def remember_image(image: Image, ids: Iterable[str] = ()) -> None:
    """Note by which ids an engine may know an image: those of its configuration and manifest, and others.

    Args:
        image: it is in the content store.
        ids: `sha256:…` by which an engine said that it knows it.
    """
    memory, value = Memory(IMAGES), f"{image.digest} {image.platform}".encode()
    for each in {image.id, image.digest, *ids}:
        if memory.recall(each) != value:
            memory.remember(value, each)


def recall_image(image_id: str, content: Content) -> Image | None:
    """Return the image that was written here, with all that it is made of in the store; None where it is not.

    Args:
        image_id: `sha256:…` by which an engine knows it.
        content: the store.
    """
    digest, platform = written_as(image_id)
    if not platform or not content.has(digest):
        return None
    try:
        document = content.path(digest).read_bytes()
        manifest = parse(document, digest)
        if not isinstance(manifest, ImageManifest) or not content.has(manifest.config.digest, manifest.config.size):
            return None
        config = content.path(manifest.config.digest).read_bytes()
        layers = base_image(manifest.layers, parse_config(config, digest), platform, digest).layers
    except (OSError, PackagerError):
        return None  # damaged: who needs it says so, or makes it again
    if not all(content.has(layer.blob.digest, layer.blob.size) for layer in layers):
        return None
    return Image(platform=platform, manifest=document, config=config, layers=layers)


def push_known(reference: str, image: Image, content: Content) -> Pushed:
    """Push an image as it was written here: its digest is the one that its build printed.

    Args:
        reference: with a tag.
        image: it was recalled.
        content: the store.

    Raises:
        RegistryError, TemporaryError: see `packager.registry.push.push_images`.
    """
    from packager.engine.push import Pushed
    from packager.registry.push import push_images

    layers = {layer.blob.digest for layer in image.layers}
    (result,) = push_images([image], content, [reference], mount_from=_mounts(reference, image))
    return Pushed(
        reference=reference,
        digest=result.digest,
        uploaded=sum(blob.digest in layers for blob in result.uploaded),
        present=sum(blob.digest in layers for blob in (*result.mounted, *result.present)),
    )


def base_mounts(source: str, images: Iterable[Image], references: Iterable[str]) -> dict[str, str]:
    """Return which repository of the same registry has the base's blobs, so that they need not be sent.

    Args:
        source: reference of the base.
        images: to be pushed.
        references: that they are pushed to.

    Returns:
        digest of a blob → repository; nothing where a reference is at another registry.
    """
    base = Reference.parse(source)
    if any(Reference.parse(reference).registry != base.registry for reference in references):
        return {}
    return {layer.blob.digest: base.repository for image in images for layer in image.layers}


def _mounts(reference: str, image: Image) -> dict[str, str]:
    name = parse_config(image.config, reference).get("config", {}).get("Labels", {}).get(BASE_NAME_LABEL, "")
    try:
        source = Reference.parse(name).mirrored(registry_mirrors())
    except PackagerError:
        return {}  # no name of an image
    return base_mounts(str(source), [image], [reference])
