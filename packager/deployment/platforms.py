"""Name of a platform → what renders its files. Each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module

from packager.deployment.service_names import require_service_name
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

#: Name → what people call it.
TITLES = {
    "kubernetes": "Kubernetes",
    "compose": "Docker Compose",
    "aci": "Azure Container Instances",
    "quadlet": "Podman under systemd",
    "iot-edge": "Azure IoT Edge",
}

#: Wish → the platforms that have something for it; a wish that is not here is every platform's.
TAKEN_BY: dict[str, tuple[str, ...]] = {
    "namespace": ("kubernetes",),
    "flavor": ("kubernetes",),
    "kubernetes": ("kubernetes",),
    "host": ("kubernetes", "aci"),
    "route": ("kubernetes",),
    "gateway": ("kubernetes",),
    "ingress_class": ("kubernetes",),
    "pull_secret": ("kubernetes",),
    "canary": ("kubernetes",),
    "canary_percent": ("kubernetes",),
    "location": ("aci",),
    "publish": ("compose", "quadlet", "iot-edge"),
}


def refuse_wishes(platform: str, given: Iterable[str]) -> None:
    """Refuse wishes that a platform has nothing for.

    Args:
        platform: its name.
        given: names of `Wishes`' fields that somebody gave.

    Raises:
        UsageError: the first of them.
    """
    for name in given:
        takers = TAKEN_BY.get(name, (platform,))
        if platform not in takers:
            option = {"kubernetes": "--kubernetes-version"}.get(name, f"--{name.replace('_', '-')}")
            raise UsageError(f"{option} is of {' and '.join(takers)}, not of {platform}", remedy="leave it out")


def render_for(platform: str, workload: Workload, wishes: Wishes) -> Rendering:
    """Return what a platform makes of a workload.

    Raises:
        UsageError: there is no such platform, or the workload cannot be run there.
    """
    if platform not in PLATFORMS:
        raise UsageError(f"there is no platform {platform!r}", remedy=f"platforms: {', '.join(PLATFORMS)}")
    require_service_name(platform, workload.name)
    render: Render = import_module(PLATFORMS[platform]).render
    return render(workload, wishes)


def removal_from(platform: str, texts: Iterable[str]) -> tuple[str, ...]:
    """Return the commands that take away what files left behind where they were applied, and are not made any more.

    Args:
        platform: its name.
        texts: of the files; a platform that forgets by itself what no file names has no command.
    """
    found = getattr(import_module(PLATFORMS[platform]), "removal", None)
    return found(texts) if found is not None else ()
