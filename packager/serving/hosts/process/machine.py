"""This machine as a host of services: processes of its own, without Docker."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from packager.decoding import decode_json
from packager.serving.hosts.process.backend import Backend, bind, write_keys
from packager.serving.hosts.process.folders import live_runs, run_folder
from packager.serving.hosts.process.package import PackageRequest
from packager.serving.hosts.process.service_folder import ServiceFolder
from packager.serving.ports import reachable_host
from packager.serving.running import Running
from packager.serving.service import GRACE, Service
from packager.storage.files import write_bytes
from packager.storage.memory import state_root

#: In the folder of a run: where it is reached.
_RUN = "run.json"


class ProcessHost(msgspec.Struct, frozen=True):
    """The folders of this user, as `packager.serving.host.Host`."""

    def names(self) -> tuple[str, ...]:
        """Return the names of its services."""
        with suppress(OSError):
            folders = (state_root() / "services").iterdir()
            return tuple(sorted(folder.name for folder in folders if ServiceFolder(folder.name).exists))
        return ()

    def labels(self) -> tuple[tuple[str, dict[str, str]], ...]:
        """Return the labels that the image of each service's backends would have, with the service's name."""
        return tuple((name, labels) for name in self.names() for labels in ServiceFolder(name).labels())

    def needs(self) -> tuple[str, ...]:
        """Return what a collection must leave its services, stopped ones and what a rollback goes back to among them.

        A server that runs holds the same by descriptors that it inherits; one that is to be started again cannot.
        """
        return tuple(path for name in self.names() for path in ServiceFolder(name).needs())

    def runs(self) -> tuple[Running, ...]:
        """Return what `packager run --no-docker` started."""
        found = []
        for folder in live_runs():
            with suppress(OSError, msgspec.DecodeError):
                found.append(decode_json((folder / _RUN).read_bytes(), Running))
        return tuple(found)

    @contextmanager
    def service(self, name: str) -> Iterator[ServiceFolder]:
        """Give the folder of a service."""
        yield ServiceFolder(name)

    @contextmanager
    def start(self, request: PackageRequest) -> Iterator[tuple[Service, Backend]]:
        """Run a package in its locked environment; at the end of the `with` it is stopped, and its files go.

        Raises:
            ContextError: a file changed meanwhile, or the disk is full.
            EngineError: the port is taken.
        """
        package, listening = request.package, bind(request.publish)
        with listening, run_folder() as folder:
            backend = Backend(folder / "backend")
            backend.lay_out(package)
            if request.keys is not None:
                write_keys(backend.keys, request.keys)
            address, port = listening.getsockname()[:2]
            try:
                process = backend.start(backend.launch(package), package.held, listening, request.env, tied=True)
                url = f"http://{reachable_host(address, None)}:{port}/"
                log = f"cat {shlex.quote(str(backend.log_file))}"
                run = Running(title=f"process {process.pid}", url=url, log=log)
                write_bytes(folder / _RUN, msgspec.json.encode(run))
                yield (
                    Service(
                        container_id=str(process.pid),
                        name=package.title,
                        url=url,
                        unit=f"process {process.pid}",
                        key_hint=f"cat {shlex.quote(str(backend.keys / 'primary'))}",
                    ),
                    backend,
                )
                backend.stop(GRACE)
            finally:
                backend.remove()
