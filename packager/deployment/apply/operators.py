"""Name of a platform → who puts its files into force. Each is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module

from packager.deployment.workload import Operator
from packager.errors import UsageError

#: Name → module and class of what speaks to its client.
_OPERATORS = {
    "kubernetes": ("kubernetes", "Kubernetes"),
    "compose": ("compose", "Compose"),
    "quadlet": ("quadlet", "Quadlet"),
    "aci": ("aci", "ContainerInstances"),
}


def operator(platform: str) -> Operator:
    """Return who puts the files of a platform into force.

    Raises:
        UsageError: nobody does: there is no such platform, or its client cannot tell when a device has taken them over.
    """
    if platform == "iot-edge":
        raise UsageError(
            "devices take modules of IoT Edge over whenever they are connected, and --apply could not wait for that",
            remedy="az iot edge set-modules --hub-name HUB --device-id DEVICE --content deployment.json",
        )
    if platform not in _OPERATORS:
        raise UsageError(f"there is no platform {platform!r}", remedy=f"platforms: {', '.join(_OPERATORS)}")
    module, name = _OPERATORS[platform]
    found: Operator = getattr(import_module(f"packager.deployment.apply.{module}"), name)()
    return found
