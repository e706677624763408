"""The folder of a service without Docker, and the processes that belong to it.

All that is remembered of a service is in its folder:

    service.json     where its port is, and the process of the forwarder
    forwarder.py     the forwarder, with its modules in it; forwarder.log
    current          port and number of the backend that gets the requests; the forwarder reads it
    keys/            those that its requests need, as a mounted secret has them
    control          the forwarder's Unix socket
    backends/N/      files, log, and backend.json of each backend: one, but for the time of an update

Values of the user's variables are in no file: they can be secrets. An update takes them from the process that has them.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from packager.errors import ServiceError, UsageError
from packager.programs.image.keys import NAMES
from packager.serving.client import answers
from packager.serving.hosts.forwarder import forwarder_text
from packager.serving.hosts.process.backend import Backend, bind, write_keys
from packager.serving.hosts.process.folders import service_folder
from packager.serving.hosts.process.package import Packaged
from packager.serving.hosts.process.process import Process, start
from packager.serving.service import KeyPair, Publish, State, reachable_host
from packager.serving.status import Seen, Status, decide
from packager.storage.files import write_bytes

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
        auth: its requests need a key.
        healthy: it answered once.
    """

    process: Process
    port: int
    title: str
    variables: tuple[str, ...]
    created: str
    auth: bool = False
    healthy: bool = False


class LocalService:
    """One service's folder.

    Args:
        name: of the service.
    """

    def __init__(self, name: str) -> None:
        self.name, self.folder = name, service_folder(name)
        self.keys = self.folder / "keys"

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
        backend = Backend(self.folder / f"backends/{number}", self.keys)
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
        backend = Backend(self.folder / f"backends/{number}", self.keys)
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
                auth=packaged.keyed,
            )
            self.keep(number, kept)
        except BaseException:
            backend.remove()
            raise
        return number, backend, kept

    def match_keys(self, packaged: Packaged, env: dict[str, str]) -> None:
        """Make keys where what is started needs some and the service has none; keys that it has stay.

        Raises:
            UsageError: the variables take the keys' place.
        """
        made = packaged.keys_for(None, {}, env)
        if made is not None and not self.keys.is_dir():
            write_keys(self.keys, made)

    def read_keys(self) -> KeyPair:
        """Return the keys.

        Raises:
            UsageError: its requests need none.
        """
        found = self.current()
        if found is None or not found[1].auth:
            raise UsageError(f"the requests of {self.name} need no key", remedy="`server: {auth: key}` in its spec")
        try:
            texts = {name: (self.keys / name).read_text("ascii").strip() for name in NAMES}
        except OSError as error:
            raise ServiceError(f"the keys of {self.name} cannot be read: {error}", remedy="deploy it again") from None
        return KeyPair(primary=texts["primary"], secondary=texts["secondary"])

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
            return start(words, environ={}, folder=self.folder, log=log, descriptors=(descriptor,))

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
            auth="key" if found and found[1].auth else "none",
        )


def _seen(process: Process, state: State, *, kept: bool) -> Seen:
    return Seen(
        status="running" if state.running else "exited",
        state=state,
        kept=kept,
        age=process.age() if state.running else 0.0,
    )
