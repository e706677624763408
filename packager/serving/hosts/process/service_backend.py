"""The two kinds of processes that a named service has: a backend, and the forwarder."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from packager.serving.client import answers
from packager.serving.hosts.process.backend import Backend
from packager.serving.hosts.process.service_records import BackendRecord, digest_in
from packager.serving.service import LOOPBACK, Mounted
from packager.serving.status import named
from packager.serving.traffic import address_in
from packager.storage.files import write_bytes

if TYPE_CHECKING:
    from packager.serving.hosts.process.service_members import Members


class NamedBackend(Backend):
    """A backend of a service, as `packager.serving.host.Backend`.

    Args:
        service: that it is of.
        number: of the backend.
        record: what is remembered of it.
    """

    def __init__(self, service: Members, number: int, record: BackendRecord) -> None:
        super().__init__(service.backend_folder(number), service.key_folder)
        self.service, self.number, self.record, self.process = service, number, record, record.process

    @property
    def title(self) -> str:
        """What it runs, for people."""
        return self.record.title

    @property
    def shown(self) -> str:
        """What it runs, for people: with the digest of what that is made of."""
        return named(self.title, digest_in(self.record))

    def healthy(self) -> bool:
        """Ask it for its health once."""
        return answers(f"http://{LOOPBACK}:{self.record.port}/")

    def point(self) -> bool:
        """Let the file `current` name it; return whether the forwarder has seen it."""
        write_bytes(self.service.own / "current", f"{self.record.port} {self.number}\n".encode())
        answer = self.service.forwarder.ask("switch")
        return bool(address_in(answer, self.service.version) == f"{LOOPBACK}:{self.record.port}")

    def keep(self) -> None:
        """Note that it was healthy; nothing starts it again."""
        self.record = msgspec.structs.replace(self.record, healthy=True)
        self.write()

    def renewal(self, mounts: Sequence[Mounted]) -> None:
        """Return None: nothing is mounted without containers."""

    def leave(self, grace: float) -> None:
        """End it, as `stop` does."""
        self.stop(grace)

    def retire(self) -> None:
        """Keep it as the one before; that which was kept until now goes."""
        kept = self.service.kept()
        if kept is not None and kept.number != self.number:
            kept.remove()
        write_bytes(self.service.own / "kept", f"{self.number}\n".encode())

    def write(self) -> None:
        """Remember it."""
        write_bytes(self.folder / "backend.json", msgspec.json.encode(self.record))


class ForwarderProcess:
    """The process that owns a service's port, as `packager.serving.host.Forwarder`.

    Args:
        service: that it is of.
    """

    def __init__(self, service: Members) -> None:
        self._service = service

    @property
    def running(self) -> bool:
        """It is there, and runs."""
        return self._service.record().forwarder.running

    def ask(self, command: str, /) -> dict[str, Any]:
        """Ask it for `status` or `switch`; empty where it does not answer."""
        with suppress(OSError, ValueError):
            folder = os.open(self._service.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(10)
                    # The path of a Unix socket has at most 107 bytes; this one is short wherever the folder is.
                    connection.connect(f"/proc/self/fd/{folder}/control")
                    connection.sendall(command.encode() + b"\n")
                    with connection.makefile() as answer:
                        values = json.loads(answer.readline())
                        return values if isinstance(values, dict) else {}
            finally:
                os.close(folder)
        return {}
