"""The step `inspect`: what an image is; it needs no engine."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from packager.builders.inspect import ImageView, Inspected, inspect_image
from packager.errors import ContextError
from packager.laying.image_contents import contents_of
from packager.plan.volumes import labelled_models
from packager.registry.mirrors import registry_mirrors
from packager.steps.reporting import SILENT, Reporter
from packager.storage.content import ContentStore

__all__ = ["Inspected", "inspect", "registered_in"]


def inspect(
    image: str,
    *,
    platform: str | None = None,
    files: bool = False,
    packages: bool = False,
    reporter: Reporter = SILENT,
) -> Inspected:
    """Return platforms, configuration, labels and layers of an image.

    Args:
        image: in the engine, at a registry, or in a folder or file (`oci:DIR`, `oci-archive:FILE`,
            `docker-archive:FILE`).
        platform: OCI os/arch; all that there are where None.
        files: what is in each layer, too, which pulls the layers.
        packages: the packages of the environment with their sizes, too, which pulls the layers.
        reporter: is told what is fetched.

    Raises:
        UsageError: no reference, or no such platform.
        ContextError: the folder or file is missing or damaged.
        RegistryError, TemporaryError: the image is not to be had.
    """
    content, mirrors = ContentStore(), registry_mirrors()
    found = inspect_image(image, content, mirrors, platform=platform, files=files or packages, say=reporter.detail)
    if not packages:
        return found
    return msgspec.structs.replace(found, images=tuple(_with_packages(each, content, files) for each in found.images))


def registered_in(view: ImageView) -> tuple[str, ...]:
    """Return the registered models of an image for people, a line each; none where its label is not ours."""
    with suppress(ContextError):
        return tuple(
            f"{each.id} {each.digest} {'mounted' if each.delivery == 'volume' else 'in the image'} at {each.path}"
            for each in labelled_models(view.labels, "the image")
        )
    return ()


def _with_packages(view: ImageView, content: ContentStore, files: bool) -> ImageView:
    inside = contents_of(content.path(layer.digest) for layer in view.layers)
    layers = view.layers if files else tuple(msgspec.structs.replace(each, files=None) for each in view.layers)
    return msgspec.structs.replace(view, layers=layers, packages=inside.packages)
