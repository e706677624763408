"""Which host: of a package, for an image needs the engine; and of a service, by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from packager.serving.host import Host
from packager.serving.hosts.docker.engine import DockerHost
from packager.serving.hosts.docker.image import ImagePackage
from packager.serving.hosts.process.machine import ProcessHost
from packager.serving.hosts.process.package import LocalPackage, PackageRequest
from packager.serving.service import ImageRequest, KeyPair, Package, Publish, Request

PROCESSES, ENGINE = ProcessHost(), DockerHost()

#: The last one is asked for a service that no other has: it says what is wrong, and the others cost no connection.
HOSTS: tuple[Host[Any], ...] = (PROCESSES, ENGINE)


def host_of(name: str, hosts: Sequence[Host[Any]] = HOSTS) -> Host[Any]:
    """Return the host that has a service of this name, or the one that would say why there is none."""
    return next((host for host in hosts[:-1] if name in host.names()), hosts[-1])


def request_of(
    package: Package,
    name: str,
    publish: Publish,
    *,
    env: dict[str, str],
    keys: KeyPair | None,
    **engine_options: Any,
) -> tuple[Host[Any], Request]:
    """Return where a package is started, and the request for it. Pure.

    Args:
        package: an image of the engine, or what is laid down on this machine.
        name: of the container, or of the service.
        publish: how it is reached.
        env: variables beside the image's own.
        keys: that its requests need; None where they need none.
        engine_options: the attributes of `ImageRequest` that a process does not have.
    """
    if isinstance(package, LocalPackage):
        return PROCESSES, PackageRequest(name=name, publish=publish, env=env, keys=keys, package=package)
    reference = package.title
    if isinstance(package, ImagePackage):
        engine_options["mounts"] = package.mounts
    return ENGINE, ImageRequest(name=name, publish=publish, env=env, keys=keys, reference=reference, **engine_options)
