"""The containers of one named service on the engine. Their labels and names are all the state that there is."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from packager.contract import APP_ROOT
from packager.decoding import decode_json
from packager.errors import EngineError, ServiceError, UsageError
from packager.serving.client import answers
from packager.serving.hosts.docker.container import (
    HARDENED,
    RunningContainer,
    devices,
    engine_host,
    health_check,
    limits,
    published_on,
    start_failure,
    state_of,
)
from packager.serving.hosts.docker.image import packaged_image
from packager.serving.hosts.docker.volume import (
    TABLE,
    get_keys,
    get_table,
    has_keys,
    mounts,
    put_keys,
    put_table,
    table_mounts,
)
from packager.serving.hosts.docker.workers import Renewed, has_mounted, renew_workers
from packager.serving.hosts.forwarder import control_command, forwarder_command
from packager.serving.keys import keys_for
from packager.serving.ports import reachable_host
from packager.serving.service import (
    GRACE,
    LOG_READ,
    LOOPBACK,
    HealthTimes,
    ImageRequest,
    KeyPair,
    Mounted,
    Publish,
)
from packager.serving.status import Before, Change, Seen, Status, decide, named, nothing_before, title_of
from packager.serving.traffic import DEFAULT, VERSION_HEADER, address_in, shares_of, table_of, taken_over
from packager.storage.written import digest_of

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

Role = Literal["forwarder", "current", "next", "previous", "kept"]

#: Labels that make a container part of a service. With the containers' names they are all that is remembered of it.
SERVICE, ROLE, IMAGE, VARIABLES, HEALTH, VERSION = (
    f"packager.service{suffix}" for suffix in ("", ".role", ".image", ".env", ".health", ".version")
)

#: Memory and processes of a forwarder: it holds at most 256 KiB of each request that it reads.
_FORWARDER_LIMITS: dict[str, Any] = {**limits("256m"), "pids_limit": 64}

#: Seconds for a request to reach the engine.
_ASKED = 0.2

_KEPT: Any = {"Name": "unless-stopped"}

_BACKENDS: tuple[Role, ...] = ("current", "next", "previous", "kept")
_ROLES: tuple[Role, ...] = ("forwarder", *_BACKENDS)


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


class NamedBackend(RunningContainer):
    """A container of a service, as `packager.serving.host.Backend`."""

    def __init__(self, service: ServiceContainers, container: Container) -> None:
        super().__init__(container)
        self.service = service

    @property
    def title(self) -> str:
        """Reference of its image."""
        return str(self.container.labels.get(IMAGE, ""))

    @property
    def shown(self) -> str:
        """Its image, for people: with the digest."""
        return named(self.title, image_digest(self.container))

    def healthy(self) -> bool:
        """Ask it for its health once, from the forwarder."""
        service = self.service
        return service.forwarder.ask("probe", self.container.name or "", str(service.port() or 0)).get("status") == 200

    def point(self) -> bool:
        """Give it the name that the forwarder looks for, whichever container had it; return whether it was seen."""
        name_of, holder = self.service.container_name, self.service.get("current")
        self.container.reload()
        if self.container.name != name_of("current"):
            aside: Role = "next" if self.container.name == name_of("previous") else "previous"
            if holder is not None:
                holder.rename(name_of(aside))
            self.container.rename(name_of("current"))
            self.container.reload()
        addresses = {each["IPAddress"] for each in self.container.attrs["NetworkSettings"]["Networks"].values()}
        return address_in(self.service.forwarder.ask("switch"), self.service.version) in addresses

    def keep(self) -> None:
        """Let the engine start it and the forwarder again whenever they end, and after its own restart."""
        for container in (self.service.get("forwarder"), self.container):
            if container is not None:
                container.update(restart_policy=_KEPT)

    def retire(self) -> None:
        """Keep it as the one before; that which was kept until now goes."""
        self.service.remove_role("kept")
        self.container.rename(self.service.container_name("kept"))

    def stop(self, grace: float) -> None:
        """Let it finish the requests in flight, and end; one that does not run stays as it is."""
        self.container.reload()
        if self.container.status == "running":
            super().stop(grace)

    def renewal(self, mounts: Sequence[Mounted]) -> Callable[[], Renewed] | None:
        """Return what starts its workers anew; None where it has not these folders mounted, or does not run."""
        self.container.reload()
        preloads = any(each.startswith("WORKER_PRELOAD=") for each in self.container.attrs["Config"].get("Env") or ())
        if self.container.status != "running" or preloads or not has_mounted(self.container, mounts, APP_ROOT):
            return None
        return lambda: renew_workers(self.container)

    def leave(self, grace: float) -> None:
        """Let it end within so many seconds; the engine sees to it, also when nobody waits for its answer."""
        stopping = Thread(target=self._stop_quietly, args=(grace,), daemon=True)
        stopping.start()
        stopping.join(_ASKED)

    def _stop_quietly(self, grace: float) -> None:
        with suppress(Exception):  # it is gone, or the client is closed, and the engine was asked
            self.stop(grace)


class ForwarderContainer:
    """The container that owns a service's port, as `packager.serving.host.Forwarder`."""

    def __init__(self, service: ServiceContainers) -> None:
        self._service = service

    @property
    def running(self) -> bool:
        """It is there, and runs."""
        container = self._service.get("forwarder")
        return container is not None and container.status == "running"

    def ask(self, *words: str) -> dict[str, Any]:
        """Ask it (see `packager/programs/service/control.py`); empty where it does not answer."""
        import docker.errors

        container = self._service.get("forwarder")
        if container is None:
            return {}
        with suppress(docker.errors.APIError, ValueError):
            done: Any = container.exec_run(list(control_command(*words)))
            answer = json.loads(bytes(done.output))
            return answer if isinstance(answer, dict) else {}
        return {}


class ServiceContainers:
    """One service's containers and network, as `packager.serving.host.Deployment`.

    Args:
        client: of the engine.
        name: of the service.
        version: of which the backends are; None for a service as a whole.
    """

    unit, spec = "container", "the spec of its image"

    def __init__(self, client: DockerClient, name: str, version: str | None = None) -> None:
        self.client, self.name, self.version = client, name, version
        self.title = title_of(name, version)

    def container_name(self, role: Role) -> str:
        """Return the name of the container of a role."""
        return container_of(self.name, role, self.version)

    @property
    def forwarder(self) -> ForwarderContainer:
        """The container that owns its port."""
        return ForwarderContainer(self)

    def first(self, request: ImageRequest) -> NamedBackend:
        """Make network and forwarder, and start the backend as the current one.

        Raises:
            EngineError: the port is taken, or the engine refuses.
        """
        self._start_forwarders(request)
        return self._start_backend("current", request)

    def replacement(self, change: Change, say: Callable[[str], None]) -> Callable[[], NamedBackend]:
        """Return what starts another backend beside the current one, with its limits and variables unless others are.

        Raises:
            EngineError: no such image.
            ServiceError: a container of it is gone.
            UsageError: the new image serves on another port.
        """
        current = self.current()
        if current is None or self.get("forwarder") is None:
            raise ServiceError(f"a container of {self.name} is gone", remedy="deploy it again")
        image = packaged_image(change.reference or current.title)
        self._require_port(image.title, image.ports)
        host = current.container.attrs["HostConfig"]
        env = {**variables_of(current.container), **change.env}
        keys = keys_for(image, None, {}, env)
        request = ImageRequest(
            name=self.name,
            publish=Publish(container_port=1, port=0),
            reference=image.title,
            env=env,
            memory=change.memory if change.memory is not None else (host.get("Memory") or None),
            cpus=change.cpus if change.cpus is not None else ((host.get("NanoCpus") or 0) / 1e9 or None),
            gpus=change.gpus if change.gpus is not None else gpus_of(current.container),
            health=change.health if change.health is not None else health_of(current.container),
            keys=keys and (self.keys() or keys),
            mounts=change.mounts(image) if change.mounts else (),
        )
        return lambda: self._start_backend("next", request)

    def anew(self, request: ImageRequest) -> Callable[[], NamedBackend] | None:
        """Return what starts another backend beside the current one, all of it as requested; None for another port."""
        forwarder, current = self.get("forwarder"), self.current()
        if forwarder is None or current is None:
            return None
        publish, bound = request.publish, _bindings(forwarder)[0]
        port = publish.port or int(bound["HostPort"])
        same = (publish.container_port, port, published_on(self.client, publish))
        if same != (self.port(), int(bound["HostPort"]), bound["HostIp"]):
            return None
        return lambda: self._start_backend("next", request)

    def current(self) -> NamedBackend | None:
        """Return the backend that gets the requests; None where it is gone."""
        # An update that was killed between two renames leaves no `current`; the forwarder still has its address.
        container = self.get("current") or self.get("previous")
        return None if container is None else NamedBackend(self, container)

    def retired(self, env: dict[str, str]) -> Callable[[], NamedBackend]:
        """Return what starts the container that was there before the last update, with the keys of now.

        Raises:
            ServiceError: there is none.
            UsageError: variables are given: the container has its own.
        """
        self._require_own_variables(env)
        container = self.get("kept")
        if container is None:
            raise nothing_before(self.name, self.version)
        image = container.labels.get(IMAGE, "")

        def start_again() -> NamedBackend:
            container.rename(self.container_name("next"))
            keys = self.keys()
            if keys is not None and has_keys(container):
                put_keys(container, keys)
            try:
                self._start_again(container, image)
            except BaseException:
                container.rename(self.container_name("kept"))
                raise
            return NamedBackend(self, container)

        return start_again

    def halt(self) -> None:
        """End forwarder and backends; the engine does not start again what was stopped."""
        forwarder = self.get("forwarder")
        if forwarder is not None:
            forwarder.stop(timeout=round(GRACE + 2))
        for each in self._each():
            container = each.get("current")
            if container is not None:
                container.stop(timeout=round(GRACE))

    def resume(self, env: dict[str, str]) -> NamedBackend:
        """Start both again.

        Raises:
            EngineError: the port is taken meanwhile, or the engine refuses.
            ServiceError: a container of it is gone.
            UsageError: variables are given: the container has its own.
        """
        self._require_own_variables(env)
        forwarder, current = self.get("forwarder"), self.current()
        if forwarder is None or current is None:
            raise ServiceError(f"a container of {self.name} is gone", remedy="deploy it again")
        for container in (forwarder, current.container):
            self._start_again(container, current.title)
        return current

    def _start_again(self, container: Container, reference: str) -> None:
        import docker.errors

        bindings = _bindings(container)
        port = int(bindings[0]["HostPort"] or 0) if bindings else 0
        publish = Publish(container_port=1, port=port)
        try:
            container.start()
        except docker.errors.APIError as error:
            request = ImageRequest(name=self.name, publish=publish, reference=reference)
            failure = start_failure(str(error.explanation or error), request)
            remedy = f"end what has it, and `packager service start {self.name}` again" if port else failure.remedy
            raise EngineError(failure.message, remedy=remedy) from None
        container.reload()

    def _require_own_variables(self, env: dict[str, str]) -> None:
        if env:
            raise UsageError(
                f"the container of {self.name} has its variables: {', '.join(env)} cannot be given here",
                remedy=f"leave -e out; `packager service update {self.name} -e …` changes them",
            )

    def clear(self) -> None:
        """Remove at once all backends but the current one."""
        self.remove_role("next", "previous")

    def keys(self) -> KeyPair | None:
        """Return the keys of the current backends; None where their requests need none."""
        found = (get_keys(current.container) for each in self._each() if (current := each.current()) is not None)
        return next((keys for keys in found if keys is not None), None)

    def put_keys(self, pair: KeyPair) -> None:
        """Replace the keys of the current backends."""
        for each in self._each():
            current = each.current()
            if current is not None and has_keys(current.container):
                put_keys(current.container, pair)

    def versions(self) -> dict[str, int]:
        """Return the share of each version in percent; empty where the service has one backend and no versions.

        Raises:
            ServiceError: what is remembered of them cannot be read.
        """
        forwarder = self.get("forwarder")
        table = get_table(forwarder) if forwarder is not None else None
        return {} if table is None else shares_of(table)

    def of(self, version: str) -> ServiceContainers:
        """Return the service as one of its versions, whether it is there or not."""
        return ServiceContainers(self.client, self.name, version)

    def _each(self) -> list[ServiceContainers]:
        return [self.of(version) for version in self.versions()] or [self]

    def route(self, shares: Mapping[str, int]) -> bool:
        """Remember these shares in the forwarder's volume, and tell it; return whether it has them.

        Raises:
            ServiceError: it is gone, or an older packager has started it.
        """
        forwarder = self.get("forwarder")
        if forwarder is None:
            raise ServiceError(f"a container of {self.name} is gone", remedy="deploy it again")
        put_table(forwarder, table_of(shares, lambda version: container_of(self.name, "current", version)))
        return taken_over(self.forwarder.ask("switch"), shares)

    def join(self, request: ImageRequest) -> NamedBackend:
        """Start the backend of this version in a service that is there, with the service's keys.

        Raises:
            EngineError: the engine refuses.
            UsageError: it serves on another port.
        """
        self._require_port(request.reference, (request.publish.container_port,))
        keys = request.keys and (self.keys() or request.keys)
        return self._start_backend("current", msgspec.structs.replace(request, keys=keys))

    def drop(self) -> None:
        """Remove at once all backends of this version."""
        self.remove_role(*_BACKENDS)

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

    def _start_forwarders(self, request: ImageRequest) -> None:
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
            chosen = int(_bindings(chooser)[0]["HostPort"])
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

    def _start_backend(self, role: Role, request: ImageRequest) -> NamedBackend:
        """Start a backend; it is started again by the engine only after `keep`."""
        options = {
            "environment": request.env,
            "labels": {
                VARIABLES: json.dumps(sorted(request.env)),
                **_health_label(request.health),
                **({} if self.version in (None, DEFAULT) else {VERSION: self.version}),
            },
            **limits(request.memory, request.cpus),
            **mounts(request),
            **devices(request),
            **health_check(request.health),
        }
        return NamedBackend(self, self._start(role, request, options))

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
                _remove(container)

    def remove(self) -> None:
        """Remove everything of the service; requests in flight are finished first."""
        forwarder = self.get("forwarder")
        # Without a server nothing is in flight, and a forwarder that has just started hears no SIGTERM yet.
        if forwarder is not None and (self.current() is not None or self._of_versions()):
            forwarder.stop(timeout=round(GRACE) + 2)
        self.remove_role(*_ROLES)
        for container in self._of_versions():
            _remove(container)
        for network in self.client.networks.list(filters={"label": f"{SERVICE}={self.name}"}):
            network.remove()

    def _of_versions(self) -> list[Container]:
        filters: dict[str, Any] = {"label": [f"{SERVICE}={self.name}", VERSION]}
        return list(self.client.containers.list(all=True, filters=filters, ignore_removed=True))

    def port(self) -> int | None:
        """Return the port of the server in its containers; None without a forwarder."""
        forwarder = self.get("forwarder")
        return None if forwarder is None else int(_port_key(forwarder).partition("/")[0])

    def _require_port(self, title: str, ports: tuple[int, ...]) -> None:
        port = self.port()
        if ports and port not in ports:
            raise UsageError(
                f"{title} serves on port {ports[0]}, and the service {self.name} on {port}",
                remedy=f"`packager service delete {self.name}`, and deploy it again",
            )

    def status(self) -> Status | None:
        """Return the service as it is; None where there is none."""
        forwarder, current, following, previous, kept = (self.get(role) for role in _ROLES)
        if not (forwarder or current or following or previous or self._of_versions()):
            return None
        url = self._url(forwarder)
        runs = all(container is not None and container.status == "running" for container in (forwarder, current))
        asks = {} if self.version is None else {VERSION_HEADER: self.version}
        well = bool(url) and runs and answers(url, timeout=5.0, headers=asks)
        stopped = all(_stopped(container) for container in (forwarder, current))
        look = seen(current) if well else _with_log(current)
        state, reason = decide(seen(forwarder), look, seen(following), answers=well, stopped=stopped)
        current = current or following or previous
        host = current.attrs["HostConfig"] if current is not None else {}
        return Status(
            name=self.name,
            state=state,
            reason=reason,
            image=current.labels.get(IMAGE, "") if current is not None else "",
            url=url,
            memory=int(host.get("Memory") or 0),
            cpus=int(host.get("NanoCpus") or 0) / 1e9,
            restarts=int(current.attrs.get("RestartCount") or 0) if current is not None else 0,
            created=str(current.attrs["Created"]) if current is not None else "",
            auth="key" if current is not None and has_keys(current) else "none",
            digest=image_digest(current) if current is not None else "",
            before=_before(kept),
        )

    def _url(self, forwarder: Container | None) -> str:
        bindings = _bindings(forwarder) if forwarder is not None else []
        if not bindings:
            return ""
        host = reachable_host(bindings[0]["HostIp"] or "0.0.0.0", engine_host(self.client))
        return f"http://{host}:{bindings[0]['HostPort']}/"


def image_digest(container: Container) -> str:
    """Return the digest of a container's image, as its build printed it where it was built here."""
    return digest_of(str(container.attrs.get("Image") or ""))


def _before(kept: Container | None) -> Before | None:
    if kept is None:
        return None
    created = str(kept.attrs.get("Created") or "")
    return Before(image=kept.labels.get(IMAGE, ""), digest=image_digest(kept), created=created)


def _remove(container: Container) -> None:
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


def _stopped(container: Container | None) -> bool:
    """Whether it was stopped: the engine starts again what ended by itself, once it was healthy."""
    look = seen(container)
    return look is not None and look.kept and look.status == "exited" and not look.error


def seen(container: Container | None) -> Seen | None:
    """Return what the engine said of a container when it was last asked."""
    if container is None:
        return None
    values = container.attrs["State"]
    health = (values.get("Health") or {}).get("Status")
    return Seen(
        status=values.get("Status") or "",
        state=state_of(container.attrs),
        error=values.get("Error") or "",
        health=None if health == "none" else health,
        restarts=int(container.attrs.get("RestartCount") or 0),
        kept=(container.attrs["HostConfig"].get("RestartPolicy") or {}).get("Name") == _KEPT["Name"],
        age=max(time.time() - _seconds(values.get("StartedAt") or container.attrs["Created"]), 0.0),
    )


def _with_log(container: Container | None) -> Seen | None:
    """Return what the engine said of a container, with the end of its log."""
    import docker.errors

    look = seen(container)
    if container is None or look is None:
        return None
    with suppress(docker.errors.APIError):  # it is gone, or its logs go elsewhere
        return msgspec.structs.replace(look, log=RunningContainer(container).logs(LOG_READ))
    return look


def variables_of(container: Container) -> dict[str, str]:
    """Return the variables that the user gave a backend. Only their names are in a label: values can be secrets."""
    names = set(json.loads(container.labels.get(VARIABLES, "[]")))
    pairs = (each.partition("=") for each in container.attrs["Config"].get("Env") or ())
    return {name: value for name, _, value in pairs if name in names}


def gpus_of(container: Container) -> int:
    """Return how many GPUs a backend was given."""
    asked = container.attrs["HostConfig"].get("DeviceRequests") or ()
    return sum(max(int(each.get("Count") or 0), 0) for each in asked)


def health_of(container: Container) -> HealthTimes | None:
    """Return the times of a backend's health check, where they are not the image's."""
    text = container.labels.get(HEALTH)
    return None if text is None else decode_json(text, HealthTimes)


def _health_label(times: HealthTimes | None) -> dict[str, str]:
    return {} if times is None else {HEALTH: msgspec.json.encode(times).decode()}


def _port_key(forwarder: Container) -> str:
    return str(next(iter(forwarder.attrs["HostConfig"]["PortBindings"])))


def _bindings(forwarder: Container) -> list[dict[str, str]]:
    asked = forwarder.attrs["HostConfig"].get("PortBindings") or {}
    given = forwarder.attrs["NetworkSettings"]["Ports"] or {}
    return next((given.get(key) or list(values) for key, values in asked.items()), [])


def _seconds(moment: str) -> float:
    """Return a moment of the engine (RFC 3339, nanoseconds) in seconds since the epoch."""
    return datetime.fromisoformat(moment[:19] + "+00:00").timestamp()
