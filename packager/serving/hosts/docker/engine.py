"""The engine as a host of services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import msgspec

from packager.engine.api import connect
from packager.serving.hosts.docker.container import RunningContainer, running, started
from packager.serving.hosts.docker.service_containers import ServiceContainers
from packager.serving.hosts.docker.service_facts import SERVICE
from packager.serving.running import Running
from packager.serving.service import ImageRequest, Service


class DockerHost(msgspec.Struct, frozen=True):
    """The engine that DOCKER_HOST or Docker's current context names, as `packager.serving.host.Host`."""

    def names(self) -> tuple[str, ...]:
        """Return the names of its services.

        Raises:
            EngineError: no engine.
        """
        with connect() as client:
            containers = client.containers.list(all=True, filters={"label": SERVICE}, ignore_removed=True)
            return tuple(sorted({container.labels[SERVICE] for container in containers}))

    def labels(self) -> tuple[tuple[str, dict[str, str]], ...]:
        """Return the labels of every container of a service, its image's among them, with the service's name.

        Raises:
            EngineError: no engine.
        """
        with connect() as client:
            containers = client.containers.list(all=True, filters={"label": SERVICE}, ignore_removed=True)
            return tuple((container.labels[SERVICE], container.labels) for container in containers)

    def runs(self) -> tuple[Running, ...]:
        """Return the containers that `packager run` started.

        Raises:
            EngineError: no engine.
        """
        with connect() as client:
            found = sorted(running(client))
        return tuple(Running(title=f"the container {name}", url=url, log=f"docker logs {name}") for name, url in found)

    def mounted(self) -> frozenset[str]:
        """Return the folders of its machine that its containers have mounted, whoever started them.

        Raises:
            EngineError: no engine.
        """
        with connect(timeout=60) as client:
            found = client.api.containers(all=True)
        return frozenset(mount.get("Source") or "" for each in found for mount in each.get("Mounts") or ())

    @contextmanager
    def service(self, name: str) -> Iterator[ServiceContainers]:
        """Give the containers of a service.

        Raises:
            EngineError: no engine, or it refuses what is asked of it inside the `with`.
        """
        with connect() as client:
            yield ServiceContainers(client, name)

    def start(self, request: ImageRequest) -> AbstractContextManager[tuple[Service, RunningContainer]]:
        """Run an image; see `started`."""
        return started(request)
