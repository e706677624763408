"""The containers of a named service by their roles: how each is called, found, started and removed."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from packager.errors import EngineError
from packager.serving.hosts.docker.container import (
    HARDENED,
    devices,
    engine_host,
    health_check,
    limits,
    published_on,
    start_failure,
)
from packager.serving.hosts.docker.service_facts import (
    IMAGE,
    ROLE,
    SERVICE,
    VARIABLES,
    VERSION,
    health_label,
    port_key,
    publications,
)
from packager.serving.hosts.docker.volume import TABLE, mounts, put_keys, table_mounts
from packager.serving.hosts.forwarder import forwarder_command
from packager.serving.service import GRACE, LOOPBACK, ImageRequest, Publish
from packager.serving.status import title_of
from packager.serving.traffic import DEFAULT

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

Role = Literal["forwarder", "current", "next", "previous", "kept"]

#: Memory and processes of a forwarder: it holds at most 256 KiB of each request that it reads.
_FORWARDER_LIMITS: dict[str, Any] = {**limits("256m"), "pids_limit": 64}

BACKENDS: tuple[Role, ...] = ("current", "next", "previous", "kept")
ROLES: tuple[Role, ...] = ("forwarder", *BACKENDS)


def container_of(name: str, role: Role, version: str | None = None) -> str:
    """Return the name of a service's container; also, for the forwarder, that of its network.

    Args:
        name: of the service.
        role: of the container.
        version: that it is of; `default` and None are the backends of a service that was deployed without a version.
    """
    if role == "forwarder":
        return f"packager_{name}"
    return f"packager_{name}_{role}" if version in (None, DEFAULT) else f"packager_{name}_{version}_{role}"


class Members:
    """The containers of a service, or of a version of it.

    Args:
        client: of the engine.
        name: of the service.
        version: of which the backends are; None for a service as a whole.
    """

    def __init__(self, client: DockerClient, name: str, version: str | None = None) -> None:
        self.client, self.name, self.version = client, name, version
        self.title = title_of(name, version)

    def container_name(self, role: Role) -> str:
        """Return the name of the container of a role."""
        return container_of(self.name, role, self.version)

    def get(self, role: Role) -> Container | None:
        """Return the container of a role; None where there is none.

        Raises:
            EngineError: a container of that name is not ours.
        """
        import docker.errors

        name = self.container_name(role)
        try:
            container = self.client.containers.get(name)
        except docker.errors.NotFound:
            return None
        if container.labels.get(SERVICE) != self.name:
            raise EngineError(
                f"the container {name} is not of the service {self.name!r}", remedy=f"rename or remove {name}"
            )
        return container

    def start_forwarders(self, request: ImageRequest) -> None:
        """Make the network, and start the forwarder on the port that is asked for, or a free one.

        Raises:
            EngineError: the port is taken, or the engine refuses.
        """
        network = container_of(self.name, "forwarder")
        if not self.client.networks.list(names=[f"^{network}$"], filters={"label": f"{SERVICE}={self.name}"}):
            self.client.networks.create(network, driver="bridge", labels={SERVICE: self.name})
        publish = request.publish
        # A port that the engine chooses would be another one after each restart of the engine: it is chosen once.
        if publish.port == 0 and (port := self._free_port(publish)) is not None:
            with suppress(EngineError):  # taken meanwhile
                self._start_forwarder(request.reference, msgspec.structs.replace(publish, port=port))
                return
        if publish.port == 0:
            chooser = self._start_forwarder(request.reference, publish)
            chosen = int(publications(chooser)[0]["HostPort"])
            chooser.remove(force=True, v=True)
            publish = msgspec.structs.replace(publish, port=chosen)
        self._start_forwarder(request.reference, publish)

    def _free_port(self, publish: Publish) -> int | None:
        """Return a free port where the engine publishes on this machine; None where it is another one.

        It spares the engine a container that is started only to learn a port.
        """
        if engine_host(self.client) is not None:
            return None
        try:
            with socket.create_server((publish.address or LOOPBACK, 0)) as free:
                return int(free.getsockname()[1])
        except OSError:
            return None

    def _start_forwarder(self, reference: str, publish: Publish) -> Container:
        port = publish.container_port
        python, *words = forwarder_command(port, container_of(self.name, "current"), port, TABLE)
        return self._start(
            "forwarder",
            ImageRequest(reference=reference, name=self.name, publish=publish),
            {
                "entrypoint": [python],
                "command": words,
                "ports": {f"{port}/tcp": (published_on(self.client, publish), publish.port or None)},
                # The image's check asks the backend, through the forwarder: that is another container's health.
                "healthcheck": {"test": ["NONE"]},
                **table_mounts(),
                **_FORWARDER_LIMITS,
            },
        )

    def start_backend(self, role: Role, request: ImageRequest) -> Container:
        """Start a backend; it is started again by the engine only after `keep`."""
        options = {
            "environment": request.env,
            "labels": {
                VARIABLES: json.dumps(sorted(request.env)),
                **health_label(request.health),
                **({} if self.version in (None, DEFAULT) else {VERSION: self.version}),
            },
            **limits(request.memory, request.cpus),
            **mounts(request),
            **devices(request),
            **health_check(request.health),
        }
        return self._start(role, request, options)

    def _start(self, role: Role, request: ImageRequest, options: dict[str, Any]) -> Container:
        import docker.errors

        labels = {SERVICE: self.name, ROLE: role, IMAGE: request.reference, **options.pop("labels", {})}
        network = container_of(self.name, "forwarder")
        request = msgspec.structs.replace(request, name=self.container_name(role))
        try:
            container = self.client.containers.create(
                request.reference, name=request.name, labels=labels, network=network, **{**HARDENED, **options}
            )
            if request.keys is not None:
                put_keys(container, request.keys)
            container.start()
        except docker.errors.APIError as error:
            self.remove_role(role)
            failure = start_failure(str(error.explanation or error), request)
            raise EngineError(f"{self.name} is Unschedulable: {failure.message}", remedy=failure.remedy) from None
        container.reload()
        return container

    def remove_role(self, *roles: Role) -> None:
        """Remove at once the containers of roles, where there are any."""
        for role in roles:
            container = self.get(role)
            if container is not None:
                remove_container(container)

    def of_versions(self) -> list[Container]:
        """Return the containers of all versions."""
        filters: dict[str, Any] = {"label": [f"{SERVICE}={self.name}", VERSION]}
        return list(self.client.containers.list(all=True, filters=filters, ignore_removed=True))

    def port(self) -> int | None:
        """Return the port of the server in its containers; None without a forwarder."""
        forwarder = self.get("forwarder")
        return None if forwarder is None else int(port_key(forwarder).partition("/")[0])


def remove_container(container: Container) -> None:
    """Remove a container at once, with its volumes; one that is gone already is no error."""
    import docker.errors

    with suppress(docker.errors.NotFound):
        try:
            container.remove(force=True, v=True)
        except docker.errors.APIError as error:
            # Whoever was interrupted while it was removed.
            if "already in progress" not in str(error.explanation):
                raise
            container.wait(condition="removed", timeout=GRACE)
