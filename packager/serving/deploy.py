"""Deploying, replacing and deleting a named service.

`update` loses no request: the new backend starts beside the old one, in the service's own network, and is asked for its
health there. Only then do two `docker rename`s make it the current one, and the forwarder looks again: each later
request goes to it, those in flight end on the old one, and when the forwarder says that none is left, the old one gets
its SIGTERM. A new backend that does not become healthy is removed, and nothing has happened to the old one.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from packager.engine.api import connect, require_local
from packager.errors import ContextError, PackagerError, ServiceError, TemporaryError, UsageError
from packager.serving.hosts.docker.container import GRACE, RunningContainer
from packager.serving.hosts.docker.service_containers import ServiceContainers, variables_of
from packager.serving.hosts.docker.volume import get_keys
from packager.serving.keys import keys_for
from packager.serving.service import State, wait_until_healthy
from packager.serving.status import IMAGE, SERVICE, Role, Status, Wanted, container_of
from packager.storage.models import default_root

if TYPE_CHECKING:
    from docker.models.containers import Container

#: Seconds that requests in flight to a replaced backend get before it is told to end.
DRAIN = 120.0

Say = Callable[[str], None]
Waiting = Callable[[float], None]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What an update replaces; None keeps what is.

    Attributes:
        reference: of the image.
        env: variables that are added or replaced.
        memory: limit in Docker's form.
        cpus: limit in processors.
    """

    reference: str | None = None
    env: dict[str, str] = {}
    memory: str | None = None
    cpus: float | None = None


def deploy(wanted: Wanted, *, timeout: float, say: Say, waiting: Waiting) -> Status:
    """Start a service, and return it when it is healthy. One that failed before makes room; it stays when it fails.

    Args:
        wanted: the service.
        timeout: seconds until it must be healthy.
        say: is told what is done.
        waiting: is told the seconds so far.

    Raises:
        UsageError: there is a service of that name, and it is well.
        EngineError: no engine, no such image, the port is taken, or more is asked for than the machine has.
        ServiceError: it does not become healthy; with the last lines of its log.
        TemporaryError: somebody else changes this service now.
    """
    require_local(wanted.reference)
    with held(wanted.name), connect() as client:
        service = ServiceContainers(client, wanted.name)
        _make_room(service, say)
        try:
            forwarder = service.start_forwarder(wanted)
            backend = service.start_backend(
                "current", wanted.reference, wanted.env, wanted.memory, wanted.cpus, wanted.keys
            )
            say(f"Transitioning: {wanted.name} starts {wanted.reference}")
            _wait(service, "current", backend, timeout, waiting)
        except ServiceError:
            # It stays, ended, for `service show` and `service logs`. It never had a request to finish.
            backend.stop(timeout=2)
            raise
        except BaseException:
            service.remove_all()
            raise
        service.control("switch")
        service.keep(forwarder, backend)
        return status_of(service)


def update(name: str, change: Change, *, timeout: float, say: Say, waiting: Waiting) -> Status:
    """Replace what a service runs, and return it when requests go to the new backend and the old one is gone.

    Args:
        name: of the service.
        change: what is new; an image of the same name may be a new one, too.
        timeout: seconds until the new backend must be healthy.
        say: is told what is done.
        waiting: is told the seconds so far.

    Raises:
        UsageError: the new image serves on another port.
        EngineError: no engine, no such image, or the engine refuses.
        ServiceError: there is no such service, or the new backend does not become healthy: the old one serves on.
        TemporaryError: somebody else changes this service now.
    """
    with held(name), connect() as client:
        service = ServiceContainers(client, name)
        current = _recovered(service)
        forwarder = service.get("forwarder")
        if current is None or forwarder is None:
            raise ServiceError(f"a container of {name} is gone", remedy="deploy it again")
        old = str(current.labels.get(IMAGE, ""))
        reference = change.reference or old
        _same_port(service, reference)
        host = current.attrs["HostConfig"]
        memory = change.memory if change.memory is not None else (host.get("Memory") or None)
        cpus = change.cpus if change.cpus is not None else ((host.get("NanoCpus") or 0) / 1e9 or None)
        env = {**variables_of(current), **change.env}
        keys = keys_for(reference, None, {}, env)
        if keys is not None:
            keys = get_keys(current) or keys
        try:
            following = service.start_backend("next", reference, env, memory, cpus, keys)
            say(f"{name} starts {reference} beside {old}")
            _wait(service, "next", following, timeout, waiting)
        except BaseException as error:
            service.remove("next")
            raise _rolled_back(name, old, error) from None
        _switch(service, current, following, old, say)
        service.keep(forwarder, following)
        _end(service, current, say)
        return status_of(service)


def delete(name: str) -> None:
    """Remove a service; requests in flight are finished first.

    Raises:
        ServiceError: there is no such service.
        EngineError: no engine.
    """
    with held(name), connect() as client:
        service = ServiceContainers(client, name)
        status_of(service)
        service.remove_all()


def look(name: str) -> Status:
    """Return a service as it is.

    Raises:
        ServiceError: there is no such service.
        EngineError: no engine.
    """
    with connect() as client:
        return status_of(ServiceContainers(client, name))


def list_services() -> tuple[Status, ...]:
    """Return all services, by name.

    Raises:
        EngineError: no engine.
    """
    with connect() as client:
        containers = client.containers.list(all=True, filters={"label": SERVICE}, ignore_removed=True)
        names = sorted({each.labels[SERVICE] for each in containers})
        found = (ServiceContainers(client, name).status() for name in names)
        return tuple(each for each in found if each is not None)


def logs(name: str, lines: int | None, *, follow: bool = False) -> Iterator[bytes]:
    """Give what a service wrote: its last lines, or all; and what it writes from now on.

    Raises:
        ServiceError: there is no such service, or its container is gone.
        EngineError: no engine.
    """
    with connect() as client:
        service = ServiceContainers(client, name)
        status_of(service)
        current = service.get("current")
        if current is None:
            raise ServiceError(f"the container of {name} is gone, and its log with it", remedy="deploy it again")
        yield from current.logs(stream=True, follow=follow, tail="all" if lines is None else lines)


class _Watched(RunningContainer):
    """A backend that counts as ended when memory ran out: its first process would start workers for ever."""

    def state(self) -> State:
        found = super().state()
        return msgspec.structs.replace(found, running=found.running and not found.out_of_memory)


def _wait(service: ServiceContainers, role: Role, container: Container, timeout: float, waiting: Waiting) -> None:
    port = service.port() or 0
    wait_until_healthy(_Watched(container), lambda: service.probe(role, port), timeout, waiting=waiting)


def _make_room(service: ServiceContainers, say: Say) -> None:
    found = service.status()
    if found is None:
        return
    if found.state in ("Healthy", "Transitioning"):
        raise UsageError(
            f"there is a service {service.name!r} already ({found.state}, {found.image})",
            remedy=f"`packager service update {service.name}` replaces what it runs; `packager service delete "
            f"{service.name}` removes it",
        )
    say(f"{service.name} was {found.state} ({found.reason}): replacing it")
    service.remove_all()


def _recovered(service: ServiceContainers) -> Container | None:
    """Return the current backend, after what an interrupted update left was put in order."""
    status_of(service)
    current, previous = service.get("current"), service.get("previous")
    if current is None and previous is not None:
        previous.rename(container_of(service.name, "current"))
    service.remove("next", "previous")
    return service.get("current")


def _same_port(service: ServiceContainers, reference: str) -> None:
    ports, port = require_local(reference).ports, service.port()
    if ports and port not in ports:
        raise UsageError(
            f"{reference} serves on port {ports[0]}, and the service {service.name} on {port}",
            remedy=f"`packager service delete {service.name}`, and deploy it again",
        )


def _rolled_back(name: str, old: str, error: BaseException) -> BaseException:
    if not isinstance(error, PackagerError):
        return error
    return type(error)(f"{name} still runs {old}; the update failed: {error.message}", remedy=error.remedy)


def _switch(service: ServiceContainers, current: Container, following: Container, old: str, say: Say) -> None:
    """Make `following` the current backend; where the forwarder does not find it, put the old one back."""
    try:
        current.rename(container_of(service.name, "previous"))
        following.rename(container_of(service.name, "current"))
        following.reload()
        addresses = {each["IPAddress"] for each in following.attrs["NetworkSettings"]["Networks"].values()}
        if service.control("switch").get("address") not in addresses:
            raise ServiceError("the container that owns the port does not find the new one")
    except BaseException as error:
        service.put_back(current, following)
        raise _rolled_back(service.name, old, error) from None
    say(f"{service.name} answers from the new one")


def _end(service: ServiceContainers, previous: Container, say: Say) -> None:
    """End a replaced backend when no request is in flight to it."""
    try:
        end = time.monotonic() + DRAIN
        while left := _in_flight(service):
            if time.monotonic() > end:
                say(f"warning: {left} requests on the old one took longer than {DRAIN:g} s")
                break
            time.sleep(0.2)
        previous.reload()
        if previous.status == "running":
            previous.stop(timeout=GRACE)
    finally:
        service.remove("previous")


def _in_flight(service: ServiceContainers) -> int:
    """Return the number of requests that are in flight to others than the current backend."""
    answer = service.control("status")
    if not answer:
        forwarder = service.get("forwarder")
        return int(forwarder is not None and forwarder.status == "running")
    return sum(count for address, count in answer.get("in_flight", {}).items() if address != answer.get("address"))


def status_of(service: ServiceContainers) -> Status:
    """Return a service as it is.

    Raises:
        ServiceError: there is no such service.
    """
    found = service.status()
    if found is None:
        raise ServiceError(
            f"there is no service {service.name!r}",
            remedy="`packager service list` shows those that there are; `packager service deploy` starts one",
        )
    return found


@contextmanager
def held(name: str) -> Iterator[None]:
    """Keep other processes of this machine from changing a service at the same time.

    Raises:
        TemporaryError: one does.
    """
    folder = default_root().parent / "services"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / f"{name}.lock").open("w")
    except OSError as error:
        raise ContextError(f"{folder} cannot be written: {error.strerror}", remedy="set XDG_CACHE_HOME") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TemporaryError(
                f"the service {name!r} is being changed by another process", remedy="try again when it is done"
            ) from None
        yield
