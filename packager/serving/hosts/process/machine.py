"""This machine as a host of services: processes of its own, without Docker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from packager.serving.hosts.process.backend import Backend, bind, write_keys
from packager.serving.hosts.process.folders import run_folder, state_root
from packager.serving.hosts.process.package import PackageRequest
from packager.serving.hosts.process.service_folder import ServiceFolder
from packager.serving.service import GRACE, Service, reachable_host


class ProcessHost(msgspec.Struct, frozen=True):
    """The folders of this user, as `packager.serving.host.Host`."""

    def names(self) -> tuple[str, ...]:
        """Return the names of its services."""
        with suppress(OSError):
            folders = (state_root() / "services").iterdir()
            return tuple(sorted(folder.name for folder in folders if ServiceFolder(folder.name).exists))
        return ()

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
                process = backend.start(package, listening, request.env, tied=True)
                yield (
                    Service(
                        container_id=str(process.pid),
                        name=package.title,
                        url=f"http://{reachable_host(address, None)}:{port}/",
                        unit=f"process {process.pid}",
                        key_hint=f"{backend.keys / 'primary'} holds one",
                    ),
                    backend,
                )
                backend.stop(GRACE)
            finally:
                backend.remove()
