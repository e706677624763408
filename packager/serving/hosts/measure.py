"""What of a machine and of a server can be measured and limited, on either host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from packager.serving.hosts.docker.container import RunningContainer
from packager.serving.hosts.docker.usage import container_usage, engine_machine
from packager.serving.hosts.process.backend import Backend
from packager.serving.hosts.process.package import LocalPackage
from packager.serving.hosts.process.usage import on_processors, process_usage, this_machine
from packager.serving.service import Package, Server
from packager.serving.usage import Machine, Usage

#: What is not as in a container, where there is none.
WITHOUT_ENGINE = (
    "without an engine nothing limits memory, and processors are whole ones: "
    "the memory is what was used, and what is recommended was not tried"
)


def usage(server: Server) -> Usage | None:
    """Return what a server uses; None where nobody can tell."""
    if isinstance(server, RunningContainer):
        return container_usage(server)
    if isinstance(server, Backend) and server.process is not None:
        return process_usage(server.process.pid)
    return None


def machine_of(package: Package) -> Machine:
    """Return what the machine has that serves a package.

    Raises:
        EngineError: no engine.
    """
    return this_machine() if isinstance(package, LocalPackage) else engine_machine()


@contextmanager
def limited(package: Package, cpu: float) -> Iterator[None]:
    """Give what is started meanwhile no more processors; of an image the engine does that, by its request."""
    if not isinstance(package, LocalPackage):
        yield
        return
    with on_processors(round(cpu)):
        yield
