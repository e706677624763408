"""A packaged image → a running container that answers, through the engine's API."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from packager.engine.api import connect, require_local
from packager.errors import EngineError, PackagerError
from packager.programs.image.keys import DEFAULT_PATH
from packager.serving.hosts.docker.left_behind import OWNER, owner, remove_left
from packager.serving.hosts.docker.volume import mounts, put_keys
from packager.serving.ports import reachable_host
from packager.serving.service import GRACE, LOOPBACK, HealthTimes, ImageRequest, Publish, Service, State

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container as EngineContainer

#: Label of every container that we start; its value is different in each.
MARK = "packager.run"

#: How every container of ours runs, as the SDK's `containers.create` takes it.
HARDENED: dict[str, Any] = {
    "read_only": True,
    "tmpfs": {"/tmp": ""},
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    # Threads count, too: far above what workers with their pools have, far below what a machine bears.
    "pids_limit": 4096,
}

_PORT_TAKEN = re.compile(r"port is already allocated|address already in use|failed to bind (?:host )?port", re.I)


class RunningContainer:
    """A container of the engine, as `packager.serving.service.Server`."""

    def __init__(self, container: EngineContainer) -> None:
        self.container = container

    def state(self) -> State:
        """Return its state now."""
        self.container.reload()
        return state_of(self.container.attrs)

    def logs(self, lines: int) -> str:
        """Return the last lines that it wrote, to standard output and standard error."""
        return self.container.logs(tail=lines).decode(errors="replace")

    def tail(self, lines: int | None, *, follow: bool = False) -> Iterator[bytes]:
        """Give what it wrote: its last lines, or all; and what it writes until it ends."""
        yield from self.container.logs(stream=True, follow=follow, tail="all" if lines is None else lines)

    def stop(self, grace: float) -> None:
        """Let it finish the requests in flight, and end; after so many seconds the engine ends it."""
        self.container.stop(timeout=round(grace))

    def remove(self) -> None:
        """End it at once if it still runs, and remove it; one that is gone already is no error."""
        import docker.errors

        with suppress(docker.errors.NotFound):
            self.container.remove(force=True, v=True)


@contextmanager
def started(request: ImageRequest) -> Iterator[tuple[Service, RunningContainer]]:
    """Run an image as it runs in production: the root file system is read-only, /tmp is in memory, no capabilities.

    The container is stopped and removed at the end of the `with`, and at once where that ends by an error.

    Raises:
        EngineError: no engine, no such image, or the port is taken.
    """
    require_local(request.reference)
    with connect() as client:
        container = _start(client, request)
        stays = False
        try:
            yield _service(container, request, engine_host(client)), container
            stays = request.detach
            if not stays:
                container.stop(GRACE)
        finally:
            if not stays:
                container.remove()


def running(client: DockerClient) -> Iterator[tuple[str, str]]:
    """Give name and URL of every container that `started` started, and that has a published port."""
    for container in client.containers.list(filters={"label": MARK}, ignore_removed=True):
        ports = container.attrs["NetworkSettings"]["Ports"] or {}
        bindings = next((each for each in ports.values() if each), None)
        if bindings:
            host = reachable_host(bindings[0]["HostIp"], engine_host(client))
            yield container.name or "", f"http://{host}:{bindings[0]['HostPort']}/"


def create_options(request: ImageRequest, address: str) -> dict[str, Any]:
    """Return what the SDK's `containers.create` gets for a request. Pure.

    Args:
        request: what to run.
        address: on which its port is published.
    """
    publish = request.publish
    return {
        "image": request.reference,
        "name": request.name,
        "environment": request.env,
        # None lets the engine choose a free port.
        "ports": {f"{publish.container_port}/tcp": (address, publish.port or None)},
        **HARDENED,
        **limits(request.memory, request.cpus),
        **mounts(request),
        **devices(request),
        **health_check(request.health),
    }


def devices(request: ImageRequest) -> dict[str, Any]:
    """Return what the SDK's `containers.create` gets for GPUs and devices. Pure."""
    options: dict[str, Any] = {}
    if request.devices:
        options["devices"] = [f"{each}:{each}:rwm" for each in request.devices]
    if request.gpus:
        from docker.types import DeviceRequest

        count = -1 if request.gpus is True else request.gpus
        options["device_requests"] = [DeviceRequest(count=count, capabilities=[["gpu"]])]
    return options


def limits(memory: str | int | None, cpus: float | None = None) -> dict[str, Any]:
    """Return what the SDK's `containers.create` gets for limits. Pure.

    Args:
        memory: in Docker's form, or in bytes; None for no limit.
        cpus: processors; None for no limit.
    """
    # Swap of the same size as memory means none: a model that swaps does not serve.
    options: dict[str, Any] = {} if memory is None else {"mem_limit": memory, "memswap_limit": memory}
    return options if cpus is None else {**options, "nano_cpus": round(cpus * 1e9)}


def health_check(times: HealthTimes | None) -> dict[str, Any]:
    """Return what the SDK's `containers.create` gets for the times of a health check. Pure."""
    if times is None:
        return {}
    # In nanoseconds; what is left out, the command among it, the engine takes from the image.
    seconds = {"interval": times.interval, "timeout": times.timeout, "start_period": times.start_period}
    found = {name: value * 10**9 for name, value in seconds.items() if value is not None}
    return {"healthcheck": found | ({"retries": times.retries} if times.retries is not None else {})}


def state_of(attrs: Mapping[str, Any]) -> State:
    """Return the state that the engine's description of a container has, with the limit of its memory. Pure."""
    values = attrs["State"]
    return State(
        running=bool(values.get("Running")),
        exit_code=int(values.get("ExitCode") or 0),
        out_of_memory=bool(values.get("OOMKilled")),
        memory=int((attrs.get("HostConfig") or {}).get("Memory") or 0),
    )


def start_failure(message: str, request: ImageRequest) -> PackagerError:
    """Return the error for a container that the engine did not start. Pure."""
    if _PORT_TAKEN.search(message):
        return EngineError(
            f"port {request.publish.port} is taken on the engine's machine",
            remedy=f"choose another one, or let the engine choose: -p 0:{request.publish.container_port}",
        )
    if "is already in use by container" in message:
        return EngineError(
            f"there is a container {request.name!r} already",
            remedy=f"`docker rm --force {request.name}`, or another --name",
        )
    if "bind source path does not exist" in message:
        folder = message.partition("bind source path does not exist")[2].strip(": ")
        return EngineError(
            f"the engine's machine has no folder {folder}, which has a model of {request.reference}",
            remedy="models outside the image are mounted from this machine: use its own engine, or see HANDOFF.md for "
            "how the image is run elsewhere",
        )
    if "could not select device driver" in message:
        return EngineError(
            "the engine cannot give GPUs to containers",
            remedy="install NVIDIA's driver and container toolkit there, or start it without: --no-devices",
        )
    return EngineError(f"the engine did not start {request.reference}: {message}")


def _start(client: DockerClient, request: ImageRequest) -> RunningContainer:
    import docker.errors

    mark = f"{MARK}={secrets.token_hex(8)}"
    labels = dict([mark.split("=")])
    if not request.detach:
        remove_left(client)
        labels[OWNER] = owner()
    try:
        options = create_options(request, published_on(client, request.publish))
        container = client.containers.create(**options, labels=labels)
        if request.keys is not None:
            put_keys(container, request.keys)
        container.start()
    except BaseException as error:
        # Found by its mark, for an interrupted request may have made it and never told its id. By its name it could be
        # somebody else's.
        for left in client.api.containers(all=True, filters={"label": mark}):
            client.api.remove_container(left["Id"], force=True, v=True)
        if isinstance(error, docker.errors.APIError):
            raise start_failure(str(error.explanation or error), request) from None
        raise
    return RunningContainer(container)


def _service(container: RunningContainer, request: ImageRequest, host: str | None) -> Service:
    inner = container.container
    inner.reload()
    bindings = inner.attrs["NetworkSettings"]["Ports"].get(f"{request.publish.container_port}/tcp") or ()
    name = inner.name or request.name
    url = f"http://{LOOPBACK}:{request.publish.port}/"
    if bindings:  # else it ended before the engine could publish anything; waiting for it finds out why
        url = f"http://{reachable_host(bindings[0]['HostIp'], host)}:{bindings[0]['HostPort']}/"
    return Service(
        container_id=inner.id or "",
        name=name,
        url=url,
        unit=f"container {name}",
        key_hint=f"docker exec {name} cat {DEFAULT_PATH}/primary",
    )


def published_on(client: DockerClient, publish: Publish) -> str:
    """Return loopback unless the user gave an address; that of an engine elsewhere would be out of our reach."""
    return publish.address or (LOOPBACK if engine_host(client) is None else "0.0.0.0")


def engine_host(client: DockerClient) -> str | None:
    """Return the host of an engine that is reached over the network; None for one on this machine."""
    parts = urlsplit(client.api.base_url)
    # The SDK writes sockets, pipes and ssh as `http+…`; what ssh reaches is published there, not here.
    host = None if "+" in parts.scheme else parts.hostname
    return None if host in (None, "localhost", LOOPBACK, "::1") else host
