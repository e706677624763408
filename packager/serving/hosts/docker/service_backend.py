"""The two kinds of containers that a named service has: a backend, and the forwarder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

from packager.contract import APP_ROOT
from packager.serving.hosts.docker.container import RunningContainer
from packager.serving.hosts.docker.service_facts import IMAGE, KEPT, image_digest
from packager.serving.hosts.docker.service_members import Members, Role
from packager.serving.hosts.docker.workers import Renewed, has_mounted, renew_workers
from packager.serving.hosts.forwarder import control_command
from packager.serving.service import Mounted
from packager.serving.status import named
from packager.serving.traffic import address_in

if TYPE_CHECKING:
    from docker.models.containers import Container

#: Seconds for a request to reach the engine.
_ASKED = 0.2


class NamedBackend(RunningContainer):
    """A container of a service, as `packager.serving.host.Backend`."""

    def __init__(self, service: Members, container: Container) -> None:
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
        forwarder, port = ForwarderContainer(self.service), str(self.service.port() or 0)
        return forwarder.ask("probe", self.container.name or "", port).get("status") == 200

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
        return address_in(ForwarderContainer(self.service).ask("switch"), self.service.version) in addresses

    def keep(self) -> None:
        """Let the engine start it and the forwarder again whenever they end, and after its own restart."""
        for container in (self.service.get("forwarder"), self.container):
            if container is not None:
                container.update(restart_policy=KEPT)

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

    def __init__(self, service: Members) -> None:
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
