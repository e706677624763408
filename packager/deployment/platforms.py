"""Name of a platform → what renders its files. Each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from packager.deployment.workload import Rendering, Wishes, Workload
from packager.errors import UsageError

Render = Callable[[Workload, Wishes], Rendering]

#: Name → module with a function `render`.
PLATFORMS = {
    "kubernetes": "packager.deployment.kubernetes",
    "compose": "packager.deployment.compose",
    "aci": "packager.deployment.aci",
    "quadlet": "packager.deployment.quadlet",
    "iot-edge": "packager.deployment.iot_edge",
}


def render_for(platform: str, workload: Workload, wishes: Wishes) -> Rendering:
    """Return what a platform makes of a workload.

    Raises:
        UsageError: there is no such platform, or the workload cannot be run there.
    """
    if platform not in PLATFORMS:
        raise UsageError(f"there is no platform {platform!r}", remedy=f"platforms: {', '.join(PLATFORMS)}")
    render: Render = import_module(PLATFORMS[platform]).render
    return render(workload, wishes)
