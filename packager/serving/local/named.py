"""Named services without Docker: a forwarder that owns the port, and a backend, each a process of its own.

All that is remembered of a service is in its folder:

    service.json     where its port is, and the process of the forwarder
    forwarder.py     the forwarder, with its modules in it; forwarder.log
    current          port and number of the backend that gets the requests; the forwarder reads it
    control          the forwarder's Unix socket
    backends/N/      files, log, and backend.json of each backend: one, but for the time of an update

An update renames a new `current` into place, as `docker rename` moves the name of a container. Values of the user's
variables are in no file: they can be secrets. An update takes them from the process that has them.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from packager.errors import PackagerError, ServiceError, UsageError
from packager.files import write_bytes
from packager.reading import failure
from packager.serving.container import answers
from packager.serving.deployment import DRAIN, held
from packager.serving.inside import forwarder_text
from packager.serving.local.backend import Backend, Packaged, bind
from packager.serving.local.folders import service_folder, state_root
from packager.serving.local.process import Process, start
from packager.serving.named import Seen, Status, decide
from packager.serving.service import Publish, State, reachable_host, wait_until_healthy

Say = Callable[[str], None]
Waiting = Callable[[float], None]

#: Seconds for requests in flight at the end of a forwarder, which itself gives them 30.
_FORWARDER_GRACE = 32.0


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a service: where it is reached, its forwarder, and of which spec and target it is."""

    address: str
    port: int
    forwarder: Process
    spec: str
    target: str


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a backend.

    Attributes:
        process: of its keeper.
        port: on 127.0.0.1.
        title: what it is, for people.
        variables: names of those that the user gave.
        created: when (RFC 3339).
        healthy: it answered once.
    """

    process: Process
    port: int
    title: str
    variables: tuple[str, ...]
    created: str
    healthy: bool = False


class LocalService:
    """One service's folder.

    Args:
        name: of the service.
    """

    def __init__(self, name: str) -> None:
        self.name, self.folder = name, service_folder(name)

    @property
    def exists(self) -> bool:
        """There is such a service."""
        return (self.folder / "service.json").is_file()

    def served(self) -> Served:
        """Return what is remembered of it.

        Raises:
            ServiceError: it is not there, or what is there cannot be read.
        """
        try:
            return msgspec.json.decode((self.folder / "service.json").read_bytes(), type=Served)
        except (OSError, msgspec.DecodeError) as error:
            raise ServiceError(f"there is no service {self.name!r} in {self.folder}: {error}") from None

    def current(self) -> tuple[Backend, Kept] | None:
        """Return the backend that gets the requests."""
        with suppress(OSError, ValueError):
            _, number = (self.folder / "current").read_text().split()
            return self.backend(int(number))
        return None

    def backend(self, number: int) -> tuple[Backend, Kept] | None:
        """Return a backend by its number; None where there is none."""
        backend = Backend(self.folder / f"backends/{number}")
        try:
            kept = msgspec.json.decode((backend.folder / "backend.json").read_bytes(), type=Kept)
        except (OSError, msgspec.DecodeError):
            return None
        backend.process = kept.process
        return backend, kept

    def numbers(self) -> list[int]:
        """Return the numbers of all backends."""
        with suppress(OSError):
            return sorted(int(each.name) for each in (self.folder / "backends").iterdir())
        return []

    def start_backend(self, packaged: Packaged, env: dict[str, str]) -> tuple[int, Backend, Kept]:
        """Lay a new backend out and start it.

        Raises:
            ContextError: a file changed meanwhile, or the disk is full.
        """
        number = max(self.numbers(), default=0) + 1
        backend = Backend(self.folder / f"backends/{number}")
        try:
            backend.lay_out(packaged)
            listening = bind(Publish(container_port=1, port=0))
            port = listening.getsockname()[1]
            kept = Kept(
                process=backend.start(packaged, listening, env, tied=False),
                port=port,
                title=packaged.title,
                variables=tuple(sorted(env)),
                created=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            self.keep(number, kept)
        except BaseException:
            backend.remove()
            raise
        return number, backend, kept

    def keep(self, number: int, kept: Kept) -> None:
        """Remember a backend."""
        write_bytes(self.folder / f"backends/{number}/backend.json", msgspec.json.encode(kept))

    def point(self, number: int, port: int) -> bool:
        """Make a backend the current one; return whether the forwarder has seen it."""
        write_bytes(self.folder / "current", f"{port} {number}\n".encode())
        return bool(self.control("switch").get("address") == f"127.0.0.1:{port}")

    def start_forwarder(self, listening: socket.socket) -> Process:
        """Start the process that owns the service's port."""
        descriptor, program = listening.fileno(), self.folder / "forwarder.py"
        write_bytes(program, forwarder_text().encode())  # as an argument it would fill the list of processes
        words = (sys.executable, "-I", "-S", str(program), f"fd:{descriptor}", "current", "0", "control")
        with listening, (self.folder / "forwarder.log").open("ab") as log:
            return start(words, environ={}, folder=self.folder, log=log, descriptor=descriptor)

    def control(self, command: str) -> dict[str, Any]:
        """Ask the forwarder (see `packager/serving/control.py`); empty where it does not answer."""
        with suppress(OSError, ValueError):
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(10)
                    # The path of a Unix socket has at most 107 bytes; this one is short wherever the folder is.
                    connection.connect(f"/proc/self/fd/{folder}/control")
                    connection.sendall(command.encode() + b"\n")
                    with connection.makefile() as answer:
                        found = json.loads(answer.readline())
                        return found if isinstance(found, dict) else {}
            finally:
                os.close(folder)
        return {}

    def remove_others(self, number: int) -> None:
        """Remove all backends but one."""
        for each in self.numbers():
            if each != number:
                found = self.backend(each)
                (found[0] if found else Backend(self.folder / f"backends/{each}")).remove()

    def remove_all(self) -> None:
        """Remove everything of the service; requests in flight are finished first."""
        if self.exists:
            self.served().forwarder.stop(_FORWARDER_GRACE)
        self.remove_others(0)
        shutil.rmtree(self.folder, ignore_errors=True)

    def status(self) -> Status:
        """Return the service as it is.

        Raises:
            ServiceError: there is none.
        """
        served, found = self.served(), self.current()
        url = f"http://{reachable_host(served.address, None)}:{served.port}/"
        forwarder = _seen(served.forwarder, State(running=served.forwarder.running), kept=True)
        current = _seen(found[1].process, found[0].state(), kept=found[1].healthy) if found else None
        runs = current is not None and current.state.running and forwarder.state.running
        following = forwarder if len(self.numbers()) > 1 else None  # which one it is does not matter
        state, reason = decide(forwarder, current, following, answers=runs and answers(url, timeout=5.0))
        if not served.forwarder.of_this_boot:
            reason = "this machine was started anew, and nothing starts it again without Docker"
        return Status(
            name=self.name,
            state=state,
            reason=reason,
            image=found[1].title if found else "",
            url=url,
            created=found[1].created if found else "",
        )


def _seen(process: Process, state: State, *, kept: bool) -> Seen:
    return Seen(
        status="running" if state.running else "exited",
        state=state,
        kept=kept,
        age=process.age() if state.running else 0.0,
    )


def deploy(
    name: str,
    packaged: Packaged,
    publish: Publish,
    *,
    spec: Path,
    env: dict[str, str],
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
