"""The steps of `packager service`: named services, on the engine or without Docker."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec

from packager.errors import EngineError
from packager.interruption import terminated_as_interrupted
from packager.serving import deploy as services
from packager.serving.deploy import delete, list_services, logs, look, show_keys
from packager.serving.hosts.choose import HOSTS, PROCESSES
from packager.serving.hosts.process.package import LocalPackage
from packager.serving.service import LOG_LINES, Mounted, Package
from packager.serving.status import Change, Status, service_name
from packager.spec.load import SpecFile, load_spec
from packager.steps.package import package_on_machine
from packager.steps.reporting import SILENT, Reporter
from packager.steps.run import RunWish, check_memory, find_package, refuse_without_docker, request_for
from packager.steps.volumes import mounts_of

__all__ = [
    "LOG_LINES",
    "Change",
    "Status",
    "delete",
    "deploy",
    "list_services",
    "logs",
    "look",
    "rollback",
    "service_name",
    "service_names",
    "show_keys",
    "start",
    "stop",
    "update",
]


def deploy(
    name: str,
    wish: RunWish,
    spec_file: SpecFile | None = None,
    *,
    reporter: Reporter = SILENT,
) -> Status:
    """Start what is wished for as a named service, and return it when it is healthy.

    Args:
        name: of the service.
        wish: what, and how.
        spec_file: the spec; needed where no image is named, and without Docker.
        reporter: is told what is done.

    Raises:
        UsageError: no name, or there is a service of it that is well; something cannot be meant so.
        EngineError, ServiceError, TemporaryError: see `packager.serving.deploy.deploy`.
        LockError, ContextError: without Docker, its environment or files cannot be had.
    """
    service_name(name)
    if wish.docker:
        check_memory(wish.memory)
    else:
        refuse_without_docker(wish, ("memory", "cpus", "build"))
        services.require_free(PROCESSES, name)
    package = find_package(wish, spec_file, reporter=reporter)
    host, request = request_for(wish, package, name, cpus=wish.cpus, reporter=reporter)
    if package.note:
        reporter.step(package.note)
    with terminated_as_interrupted():
        return services.deploy(host, request, timeout=wish.timeout, say=reporter.step)


def rollback(
    name: str, env: dict[str, str] | None = None, *, timeout: float = 120.0, reporter: Reporter = SILENT
) -> Status:
    """Let a named service run again what it ran before its last update; a second rollback undoes the first.

    Args:
        name: of the service.
        env: values of variables that went with their process, for a service without Docker.
        timeout: seconds until it must be healthy.
        reporter: is told what is done.

    Raises:
        UsageError, EngineError, ServiceError, TemporaryError: see `packager.serving.deploy.rollback`.
    """
    with terminated_as_interrupted():
        return services.rollback(service_name(name), env or {}, timeout=timeout, say=reporter.step)


def stop(name: str) -> Status:
    """End a named service for a while; its name, its settings and what it runs stay.

    Raises:
        UsageError, EngineError, ServiceError, TemporaryError: see `packager.serving.deploy.stop`.
    """
    with terminated_as_interrupted():
        return services.stop(service_name(name))


def start(
    name: str, env: dict[str, str] | None = None, *, timeout: float = 120.0, reporter: Reporter = SILENT
) -> Status:
    """Start a named service again that was stopped, or ended by itself, and return it when it is healthy.

    Args:
        name: of the service.
        env: values of variables that went with their process, for a service without Docker.
        timeout: seconds until it must be healthy.
        reporter: is told what is done.

    Raises:
        UsageError, EngineError, ServiceError, TemporaryError: see `packager.serving.deploy.start`.
    """
    with terminated_as_interrupted():
        return services.start(service_name(name), env or {}, timeout=timeout, say=reporter.step)


def update(name: str, change: Change, *, timeout: float = 120.0, reporter: Reporter = SILENT) -> Status:
    """Replace what a named service runs without losing a request, and return it when the old one is gone.

    Args:
        name: of the service.
        change: what is new; what a package without Docker is made of is read again from its spec.
        timeout: seconds until the new backend must be healthy.
        reporter: is told what is done.

    Raises:
        UsageError, EngineError, ServiceError, TemporaryError, PackagerError: see `packager.serving.deploy.update`.
    """
    check_memory(change.memory)

    def remake(spec: Path, target: str) -> LocalPackage:
        return package_on_machine(load_spec(spec), target, say=reporter.step)

    def mounts(image: Package) -> tuple[Mounted, ...]:
        return mounts_of(image, None, say=reporter.step)

    change = msgspec.structs.replace(change, remake=remake, mounts=mounts)
    with terminated_as_interrupted():
        return services.update(service_name(name), change, timeout=timeout, say=reporter.step)


def service_names() -> tuple[str, ...]:
    """Return the names of all services, sorted; without those on an engine that does not answer."""
    names: set[str] = set()
    for host in HOSTS:
        with suppress(EngineError):
            names |= set(host.names())
    return tuple(sorted(names))
