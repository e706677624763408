"""Named services without Docker: a forwarder that owns the port, and a backend, each a process of its own.

An update renames a new file `current` into place, as `docker rename` moves the name of a container (see
`service_folder`), and the forwarder looks again; all else is as with containers
(`packager.serving.deploy`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import msgspec

from packager.errors import PackagerError, ServiceError, UsageError
from packager.serving.client import answers
from packager.serving.deploy import DRAIN, held
from packager.serving.hosts.process.backend import Backend, bind, write_keys
from packager.serving.hosts.process.folders import state_root
from packager.serving.hosts.process.package import Packaged
from packager.serving.hosts.process.service_folder import Kept, LocalService, Served
from packager.serving.service import KeyPair, Publish, Which, wait_until_healthy
from packager.serving.status import Status
from packager.storage.files import write_bytes
from packager.storage.reading import failure

Say = Callable[[str], None]
Waiting = Callable[[float], None]


def deploy(
    name: str,
    packaged: Packaged,
    publish: Publish,
    *,
    spec: Path,
    env: dict[str, str],
    keys: KeyPair | None,
    timeout: float,
    say: Say,
    waiting: Waiting,
) -> Status:
    """Start a service, and return it when it is healthy. One that failed before makes room; it stays when it fails.

    Args:
        name: of the service.
        packaged: what it runs.
        publish: where it is reached; port 0 takes a free one and keeps it.
        spec: of which it is made again by `update`.
        env: variables beside the image's own.
        keys: that its requests need; None where they need none.
        timeout: seconds until it must be healthy.
        say: is told what is done.
        waiting: is told the seconds so far.

    Raises:
        UsageError: there is a service of that name, and it is well.
        EngineError: the port is taken.
        ServiceError: it does not become healthy; with the last lines of its log.
        TemporaryError: somebody else changes this service now.
    """
    service = LocalService(name)
    with held(name):
        _make_room(service, say)
        listening = bind(publish)
        with listening:
            address, port = listening.getsockname()[:2]
            try:
                service.folder.mkdir(mode=0o700, parents=True)
            except OSError as error:
                raise failure("written", service.folder, error) from None
            try:
                if keys is not None:
                    write_keys(service.keys, keys)
                number, backend, kept = service.start_backend(packaged, env)
                write_bytes(service.folder / "current", f"{kept.port} {number}\n".encode())
                forwarder = service.start_forwarder(listening)
                target = packaged.plan.target
                served = Served(address=address, port=port, forwarder=forwarder, spec=str(spec), target=target)
                write_bytes(service.folder / "service.json", msgspec.json.encode(served))
                say(f"Transitioning: {name} starts {packaged.title}")
                _wait(backend, kept, timeout, waiting)
            except ServiceError:
                # It stays, ended, for `service show` and `service logs`. It never had a request to finish.
                kept.process.stop(2.0)
                raise
            except BaseException:
                service.remove_all()
                raise
        service.keep(number, msgspec.structs.replace(kept, healthy=True))
        return service.status()


def update(
    name: str,
    prepare: Callable[[Served], Packaged],
    env: dict[str, str],
    *,
    timeout: float,
    say: Say,
    waiting: Waiting,
) -> Status:
    """Replace what a service runs, and return it when requests go to the new backend and the old one is gone.

    Args:
        name: of the service.
        prepare: makes what it is to run.
        env: variables that are added or replaced.
        timeout: seconds until the new backend must be healthy.
        say: is told what is done.
        waiting: is told the seconds so far.

    Raises:
        ServiceError: there is no such service, or the new backend does not become healthy: the old one serves on.
        PackagerError: what it is to run cannot be made; the old one serves on.
        TemporaryError: somebody else changes this service now.
    """
    service = LocalService(name)
    with held(name):
        served, found = service.served(), service.current()
        if found is None or not served.forwarder.running:
            raise ServiceError(f"a process of {name} is gone", remedy="deploy it again")
        previous, old = found
        number_before = int(previous.folder.name)
        service.control("switch")  # an update that was killed may have left it behind what the file says
        service.remove_others(number_before)
        if not old.process.running and old.variables:
            raise ServiceError(
                f"{name} does not run, and the values of its variables ({', '.join(old.variables)}) went with it",
                remedy="deploy it again",
            )
        kept_env = {key: value for key, value in old.process.variables().items() if key in old.variables}
        number = 0
        try:
            packaged = prepare(served)
            service.match_keys(packaged, {**kept_env, **env})
            number, backend, kept = service.start_backend(packaged, {**kept_env, **env})
            say(f"{name} starts {kept.title} beside {old.title}")
            _wait(backend, kept, timeout, waiting)
            service.keep(number, msgspec.structs.replace(kept, healthy=True))
            if not service.point(number, kept.port):
                raise ServiceError("the process that owns the port does not find the new one")
        except BaseException as error:
            service.point(number_before, old.port)
            service.remove_others(number_before)
            if isinstance(error, PackagerError):
                raise type(error)(
                    f"{name} still runs {old.title}; the update failed: {error.message}",
                    where=error.where,
                    remedy=error.remedy,
                ) from None
            raise
        say(f"{name} answers from the new one")
        _drain(service, say)
        previous.stop()
        service.remove_others(number)
        return service.status()


def delete(name: str) -> None:
    """Remove a service; requests in flight are finished first.

    Raises:
        TemporaryError: somebody else changes it now.
    """
    with held(name):
        LocalService(name).remove_all()


def show_keys(name: str, regenerate: Which | None = None) -> KeyPair:
    """Return the keys of a service; with `regenerate`, after one was made new, which holds from the next request on.

    Raises:
        UsageError: its requests need no key.
        TemporaryError: somebody else changes this service now.
    """
    service = LocalService(name)
    with held(name) if regenerate else nullcontext():
        found = service.read_keys()
        if regenerate is not None:
            found = found.regenerated(regenerate)
            write_keys(service.keys, found)
        return found


def local_names() -> list[str]:
    """Return the names of all services without Docker."""
    with suppress(OSError):
        return sorted(each.name for each in (state_root() / "services").iterdir() if (each / "service.json").is_file())
    return []


def logs(name: str, lines: int | None, *, follow: bool = False) -> Iterator[bytes]:
    """Give what a service wrote: its last lines, or all; and what it writes from now on.

    Raises:
        ServiceError: there is no such service, or its backend is gone.
    """
    found = LocalService(name).current()
    if found is None:
        raise ServiceError(f"the process of {name} is gone, and its log with it", remedy="deploy it again")
    return found[0].tail(lines, follow=follow)


def _wait(backend: Backend, kept: Kept, timeout: float, waiting: Waiting) -> None:
    wait_until_healthy(backend, lambda: answers(f"http://127.0.0.1:{kept.port}/"), timeout, waiting=waiting)


def _make_room(service: LocalService, say: Say) -> None:
    if service.exists:
        found = service.status()
        if found.state in ("Healthy", "Transitioning"):
            raise taken(found)
        say(f"{service.name} was {found.state} ({found.reason}): replacing it")
    service.remove_all()


def taken(found: Status) -> UsageError:
    """Return the error for a name that a service has already."""
    return UsageError(
        f"there is a service {found.name!r} already ({found.state}, {found.image})",
        remedy=f"`packager service update {found.name}` replaces what it runs; `packager service delete {found.name}` "
        "removes it",
    )


def _drain(service: LocalService, say: Say) -> None:
    """Wait until no request is in flight to another than the current backend."""
    end = time.monotonic() + DRAIN
    while True:
        answer = service.control("status")
        left = sum(count for address, count in answer.get("in_flight", {}).items() if address != answer.get("address"))
        if not left:
            return
        if time.monotonic() > end:
            say(f"warning: {left} requests on the old one took longer than {DRAIN:g} s")
            return
        time.sleep(0.2)
