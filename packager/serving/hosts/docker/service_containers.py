"""The containers of one named service on the engine. Their labels and names are all the state that there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from packager.errors import EngineError, ServiceError, UsageError
from packager.serving.client import answers
from packager.serving.hosts.docker.container import (
    engine_host,
    published_on,
    start_failure,
)
from packager.serving.hosts.docker.image import packaged_image
from packager.serving.hosts.docker.service_backend import ForwarderContainer, NamedBackend
from packager.serving.hosts.docker.service_facts import (
    IMAGE,
    SERVICE,
    before,
    gpus_of,
    health_of,
    image_digest,
    publications,
    seen,
    seen_with_log,
    variables_of,
    was_stopped,
)
from packager.serving.hosts.docker.service_members import BACKENDS, ROLES, Members, Role, container_of, remove_container
from packager.serving.hosts.docker.volume import (
    get_keys,
    get_table,
    has_keys,
    put_keys,
    put_table,
)
from packager.serving.keys import keys_for
from packager.serving.ports import reachable_host
from packager.serving.service import (
    GRACE,
    ImageRequest,
    KeyPair,
    Publish,
)
from packager.serving.status import Change, Status, decide, nothing_before
from packager.serving.traffic import VERSION_HEADER, shares_of, table_of, taken_over

if TYPE_CHECKING:
    from docker.models.containers import Container


class ServiceContainers(Members):
    """One service's containers and network, as `packager.serving.host.Deployment`.

    Args:
        client: of the engine.
        name: of the service.
        version: of which the backends are; None for a service as a whole.
    """

    unit, spec = "container", "the spec of its image"

    @property
    def forwarder(self) -> ForwarderContainer:
        """The container that owns its port."""
        return ForwarderContainer(self)

    def first(self, request: ImageRequest) -> NamedBackend:
        """Make network and forwarder, and start the backend as the current one.

        Raises:
            EngineError: the port is taken, or the engine refuses.
        """
        self.start_forwarders(request)
        return self._backend("current", request)

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
        return lambda: self._backend("next", request)

    def anew(self, request: ImageRequest) -> Callable[[], NamedBackend] | None:
        """Return what starts another backend beside the current one, all of it as requested; None for another port."""
        forwarder, current = self.get("forwarder"), self.current()
        if forwarder is None or current is None:
            return None
        publish, bound = request.publish, publications(forwarder)[0]
        port = publish.port or int(bound["HostPort"])
        same = (publish.container_port, port, published_on(self.client, publish))
        if same != (self.port(), int(bound["HostPort"]), bound["HostIp"]):
            return None
        return lambda: self._backend("next", request)

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

        bindings = publications(container)
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

    def _backend(self, role: Role, request: ImageRequest) -> NamedBackend:
        """Start a backend; it is started again by the engine only after `keep`."""
        return NamedBackend(self, self.start_backend(role, request))

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
        return self._backend("current", msgspec.structs.replace(request, keys=keys))

    def drop(self) -> None:
        """Remove at once all backends of this version."""
        self.remove_role(*BACKENDS)

    def remove(self) -> None:
        """Remove everything of the service; requests in flight are finished first."""
        forwarder = self.get("forwarder")
        # Without a server nothing is in flight, and a forwarder that has just started hears no SIGTERM yet.
        if forwarder is not None and (self.current() is not None or self.of_versions()):
            forwarder.stop(timeout=round(GRACE) + 2)
        self.remove_role(*ROLES)
        for container in self.of_versions():
            remove_container(container)
        for network in self.client.networks.list(filters={"label": f"{SERVICE}={self.name}"}):
            network.remove()

    def _require_port(self, title: str, ports: tuple[int, ...]) -> None:
        port = self.port()
        if ports and port not in ports:
            raise UsageError(
                f"{title} serves on port {ports[0]}, and the service {self.name} on {port}",
                remedy=f"`packager service delete {self.name}`, and deploy it again",
            )

    def status(self) -> Status | None:
        """Return the service as it is; None where there is none."""
        forwarder, current, following, previous, kept = (self.get(role) for role in ROLES)
        if not (forwarder or current or following or previous or self.of_versions()):
            return None
        url = self._url(forwarder)
        runs = all(container is not None and container.status == "running" for container in (forwarder, current))
        asks = {} if self.version is None else {VERSION_HEADER: self.version}
        well = bool(url) and runs and answers(url, timeout=5.0, headers=asks)
        stopped = all(was_stopped(container) for container in (forwarder, current))
        look = seen(current) if well else seen_with_log(current)
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
            before=before(kept),
        )

    def _url(self, forwarder: Container | None) -> str:
        bindings = publications(forwarder) if forwarder is not None else []
        if not bindings:
            return ""
        host = reachable_host(bindings[0]["HostIp"] or "0.0.0.0", engine_host(self.client))
        return f"http://{host}:{bindings[0]['HostPort']}/"
