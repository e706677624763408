"""The step `pull`: an image from its registry into an OCI layout, without an engine."""

from __future__ import annotations

from pathlib import Path

from packager.reference import Reference
from packager.registry.mirrors import registry_mirrors
from packager.registry.pull import Pulled, pull_image, write_layout
from packager.steps.reporting import SILENT, Reporter
from packager.storage.blobs import healed
from packager.storage.content import ContentStore
from packager.units import human_size

__all__ = ["Pulled", "pull"]


def pull(
    reference: str,
    output: Path,
    *,
    platform: str | None = None,
    force: bool = False,
    reporter: Reporter = SILENT,
) -> Pulled:
    """Write an image into an OCI layout, byte for byte as its registry has it, so that its digest stays.

    Args:
        reference: of the image.
        output: a new folder, or a file that ends with `.tar`.
        platform: OCI os/arch; all that there are where None.
        force: replace a file that is there.
        reporter: is told what is done.

    Raises:
        UsageError: no reference.
        ContextError: something else is at the destination, or the disk is full.
        RegistryError, TemporaryError: the image is not to be had.
    """
    content, named = ContentStore(), Reference.parse(reference)

    def write() -> Pulled:
        pulled = pull_image(named, content, registry_mirrors(), platform, reporter.step)
        write_layout(pulled, content, output, force=force)
        return pulled

    pulled = healed(write, lambda text: reporter.warn(f"{text}; it is fetched again"))
    if "docker" in pulled.top.media_type:
        # Converted, it would be an image with another digest.
        reporter.warn("the image has Docker's media types; skopeo and podman read only OCI's from a layout")
    reporter.step(f"{output}: {len(pulled.blobs)} blobs, {human_size(pulled.size)}")
    return pulled
