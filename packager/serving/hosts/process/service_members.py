"""What is in the folder of a service without Docker: its records, its backends, and how these are started."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from packager.contract import AUTH_LABEL
from packager.decoding import decode_json
from packager.errors import ServiceError
from packager.serving.hosts.forwarder import forwarder_text
from packager.serving.hosts.process.backend import Backend, bind
from packager.serving.hosts.process.folders import service_folder
from packager.serving.hosts.process.package import LocalPackage
from packager.serving.hosts.process.process import Process, start
from packager.serving.hosts.process.service_backend import ForwarderProcess, NamedBackend
from packager.serving.hosts.process.service_records import BackendRecord, ServiceRecord, changed_names
from packager.serving.service import Publish
from packager.serving.status import title_of
from packager.serving.traffic import DEFAULT
from packager.storage.files import write_bytes
from packager.storage.locks import hold


def own_folder(version: str | None) -> Path:
    """Return where a version's files are in the folder of its service."""
    return Path() if version in (None, DEFAULT) else Path("versions", str(version))


class Members:
    """The folder of a service, or of a version of it.

    Args:
        name: of the service.
        version: of which the backends are; None for a service as a whole.
    """

    def __init__(self, name: str, version: str | None = None) -> None:
        self.name, self.version, self.folder = name, version, service_folder(name)
        self.title = title_of(name, version)
        self.own = self.folder / own_folder(version)
        self.key_folder = self.folder / "keys"

    @property
    def exists(self) -> bool:
        """There is such a service."""
        return (self.folder / "service.json").is_file()

    @property
    def forwarder(self) -> ForwarderProcess:
        """The process that owns its port."""
        return ForwarderProcess(self)

    def record(self) -> ServiceRecord:
        """Return what is remembered of it.

        Raises:
            ServiceError: it is not there, or what is there cannot be read.
        """
        try:
            return decode_json((self.folder / "service.json").read_bytes(), ServiceRecord)
        except (OSError, msgspec.DecodeError) as error:
            raise ServiceError(f"there is no service {self.name!r} in {self.folder}: {error}") from None

    def current(self) -> NamedBackend | None:
        """Return the backend that gets the requests; None where it is gone."""
        with suppress(OSError, ValueError):
            _, number = (self.own / "current").read_text().split()
            return self.backend(int(number))
        return None

    def kept(self) -> NamedBackend | None:
        """Return the backend that was the current one before the last update; None where there is none."""
        with suppress(OSError, ValueError):
            kept, current = self.backend(int((self.own / "kept").read_text())), self.current()
            return kept if current is None or kept is None or kept.number != current.number else None
        return None

    def backend_folder(self, number: int) -> Path:
        """Return where a backend is."""
        return self.own / f"backends/{number}"

    def backend(self, number: int) -> NamedBackend | None:
        """Return a backend by its number; None where it is gone, or its record cannot be read."""
        try:
            data = (self.backend_folder(number) / "backend.json").read_bytes()
            return NamedBackend(self, number, decode_json(data, BackendRecord))
        except (OSError, msgspec.DecodeError):
            return None

    def numbers(self) -> list[int]:
        """Return the numbers of its backends."""
        with suppress(OSError):
            return sorted(int(path.name) for path in (self.own / "backends").iterdir())
        return []

    def start_backend(
        self, package: LocalPackage, env: dict[str, str], before: dict[str, str] | None = None
    ) -> NamedBackend:
        """Lay a package out and start it, beside the backends that there are.

        Args:
            package: to be served.
            env: the user's variables.
            before: those of the backend before it.

        Raises:
            ContextError: a file changed since the plan was made; the disk is full.
        """
        number = max(self.numbers(), default=0) + 1
        server = Backend(self.backend_folder(number), self.key_folder)
        try:
            server.lay_out(package)
            launch = server.launch(package)
            listening = bind(Publish(container_port=1, port=0))
            port = listening.getsockname()[1]
            record = BackendRecord(
                process=server.start(launch, package.held, listening, env, tied=False),
                port=port,
                title=package.title,
                variables=tuple(sorted(env)),
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                auth=package.labels.get(AUTH_LABEL) == "key",
                labels=package.labels,
                launch=launch,
                changed=changed_names(before or {}, env),
                spec=str(package.spec),
                target=package.target,
            )
            backend = NamedBackend(self, number, record)
            backend.write()
        except BaseException:
            server.remove()
            raise
        return backend

    def restart(self, backend: NamedBackend, env: dict[str, str], *, changed: tuple[str, ...]) -> NamedBackend:
        """Start a backend that has ended, on another port of its own."""
        launch = backend.record.launch
        assert launch is not None, "whoever restarts a backend has looked"
        held = hold(Path(launch.prefix))
        try:
            if not Path(launch.prefix).is_dir():
                raise ServiceError(
                    f"the environment of {backend.title} is gone: `packager store gc` freed it",
                    remedy="deploy it again, which lays it down anew",
                )
            if not all(Path(each).is_dir() for each in launch.volumes):
                raise ServiceError(
                    f"a model of {backend.title} is gone: `packager store gc` freed it",
                    remedy="deploy it again, which fetches it anew",
                )
            (backend.folder / "exit").unlink(missing_ok=True)
            listening = bind(Publish(container_port=1, port=0))
            port = listening.getsockname()[1]
            process = backend.start(launch, held, listening, env, tied=False)
        finally:
            os.close(held)
        backend.record = msgspec.structs.replace(
            backend.record, process=process, port=port, healthy=False, changed=changed
        )
        backend.write()
        return backend

    def start_forwarder(self, listening: socket.socket) -> Process:
        """Start the forwarder on a socket that has the service's port."""
        descriptor, program = listening.fileno(), self.folder / "forwarder.py"
        write_bytes(program, forwarder_text().encode())  # as an argument it would fill the list of processes
        words = (sys.executable, "-I", "-S", str(program), f"fd:{descriptor}", "current", "0", "traffic", "control")
        with (self.folder / "forwarder.log").open("ab") as log:
            return start(words, environ={}, folder=self.folder, log=log, descriptors=(descriptor,))

    def remove_backends(self, but: Collection[int] = ()) -> None:
        """Remove at once all backends but those of some numbers."""
        for number in self.numbers():
            if number not in but:
                (self.backend(number) or Backend(self.backend_folder(number))).remove()
