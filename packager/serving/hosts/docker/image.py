"""An image that the engine has, as a package: what its labels and ports say of how it is served."""

from __future__ import annotations

from glob import glob

from packager.contract import DEFAULT_PORT, DEVICES_LABEL, GPUS_LABEL, TARGET_LABEL
from packager.engine.api import require_local
from packager.errors import UsageError
from packager.serving.service import Mounted, Package


class ImagePackage(Package, frozen=True, kw_only=True):
    """An image that the engine has; its title is the reference.

    Attributes:
        ports: that it exposes.
        mounts: models that it wants and does not hold.
    """

    ports: tuple[int, ...] = ()
    mounts: tuple[Mounted, ...] = ()


def packaged_image(reference: str) -> ImagePackage:
    """Return what an image says of itself: it knows its own port, whichever spec made it.

    Raises:
        EngineError: no engine, or no such image.
    """
    local = require_local(reference)
    return ImagePackage(
        title=reference,
        target=local.labels.get(TARGET_LABEL, ""),
        platform=local.platform,
        port=local.ports[0] if len(local.ports) == 1 else DEFAULT_PORT,
        labels=local.labels,
        ports=local.ports,
    )


def image_devices(image: ImagePackage) -> tuple[bool, tuple[str, ...]]:
    """Return whether an image asks for GPUs, and the device files of this machine that it asks for.

    Raises:
        UsageError: this machine lacks a device.
    """
    devices: list[str] = []
    for pattern in filter(None, image.labels.get(DEVICES_LABEL, "").split(",")):
        matching = sorted(glob(pattern))
        if not matching:
            raise UsageError(
                f"{image.title} asks for the device {pattern}, and this machine has none",
                remedy="run it where the device is, or start it without: --no-devices",
            )
        devices += matching
    return GPUS_LABEL in image.labels, tuple(devices)
