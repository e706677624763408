"""The step `inspect`: what an image is; it needs no engine."""

from __future__ import annotations

from packager.builders.inspect import Inspected, inspect_image
from packager.registry.mirrors import registry_mirrors
from packager.steps.reporting import SILENT, Reporter
from packager.storage.content import ContentStore

__all__ = ["Inspected", "inspect"]


def inspect(image: str, *, platform: str | None = None, files: bool = False, reporter: Reporter = SILENT) -> Inspected:
    """Return platforms, configuration, labels and layers of an image.

    Args:
        image: in the engine, at a registry, or in a folder or file (`oci:DIR`, `oci-archive:FILE`,
            `docker-archive:FILE`).
        platform: OCI os/arch; all that there are where None.
        files: what is in each layer, too, which pulls the layers.
        reporter: is told what is fetched.

    Raises:
        UsageError: no reference, or no such platform.
        ContextError: the folder or file is missing or damaged.
        RegistryError, TemporaryError: the image is not to be had.
    """
    return inspect_image(image, ContentStore(), registry_mirrors(), platform=platform, files=files, say=reporter.detail)
