"""The steps of `packager service`: named services, on the engine or without Docker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from packager.errors import EngineError, UsageError
from packager.interruption import terminated_as_interrupted
from packager.serving import deploy as services
from packager.serving import split
from packager.serving.deploy import list_services, logs, look, show_keys
from packager.serving.hosts.choose import HOSTS, PROCESSES
from packager.serving.hosts.process.package import LocalPackage
from packager.serving.service import LOG_LINES, Mounted, Package
from packager.serving.status import Change, Status, Version, service_name
from packager.serving.traffic import VERSION_HEADER, parse_shares, version_name, with_version
from packager.spec.load import SpecFile, load_spec
from packager.steps.package import package_on_machine
from packager.steps.reporting import SILENT, Reporter
from packager.steps.run import RunWish, check_memory, find_package, refuse_without_docker, request_for
from packager.steps.volumes import mounts_of

__all__ = [
    "LOG_LINES",
    "VERSION_HEADER",
    "Change",
    "Status",
    "Version",
    "delete",
    "deploy",
    "list_services",
    "logs",
    "look",
    "rollback",
    "service_name",
    "service_names",
    "set_traffic",
    "show_keys",
    "start",
    "stop",
    "traffic_of",
    "update",
    "with_version",
]


def deploy(
    name: str,
    wish: RunWish,
    spec_file: SpecFile | None = None,
    *,
    version: str | None = None,
    traffic: int | None = None,
    reporter: Reporter = SILENT,
) -> Status:
    """Start what is wished for as a named service, or as another version of one, and return it when it is healthy.

        deploy("churn", RunWish(reference="churn:2"), version="b", traffic=10)

    Args:
        name: of the service.
        wish: what, and how.
        spec_file: the spec; needed where no image is named, and without Docker.
        version: name of the version; beside others that the service has, at its address, and with its keys.
        traffic: share of the requests that the version gets, in percent; the others keep their proportions. None for
            nothing beside others, and else for all.
        reporter: is told what is done.

    Raises:
        UsageError: no name, or there is a service of it that is well; something cannot be meant so.
        EngineError, ServiceError, TemporaryError: see `packager.serving.deploy.deploy`.
        LockError, ContextError: without Docker, its environment or files cannot be had.
    """
    service_name(name)
    if version is not None:
        version_name(version, name)
    elif traffic is not None:
        raise UsageError("--traffic is the share of a version", remedy="name it: --version NAME")
    if wish.docker:
        check_memory(wish.memory)
    else:
        refuse_without_docker(wish, ("memory", "cpus", "build"))
        if version is None:
            services.require_free(PROCESSES, name)
    if version is not None and (wish.publish or wish.keys) and name in service_names():
        raise UsageError(
            f"the versions of {name} have one address and one set of keys", remedy="leave --publish and --key-file out"
        )
    package = find_package(wish, spec_file, reporter=reporter)
    host, request = request_for(wish, package, name, cpus=wish.cpus, reporter=reporter)
    if package.note:
        reporter.step(package.note)
    with terminated_as_interrupted():
        if version is not None:
            return split.deploy_version(host, request, version, traffic, timeout=wish.timeout, say=reporter.step)
        return services.deploy(host, request, timeout=wish.timeout, say=reporter.step)


def set_traffic(name: str, shares: Mapping[str, int] | Iterable[str]) -> Status:
    """Share the requests of a service among its versions, from the next one on; none is lost. Return the service.

        set_traffic("churn", {"default": 90, "b": 10})

    Args:
        name: of the service.
        shares: in percent, by version, or in words: `default=90`, `b=10`; one that is not named gets nothing.

    Raises:
        UsageError: they do not sum to 100, or are of another form.
        EngineError, ServiceError, TemporaryError: see `packager.serving.split.set_traffic`.
    """
    found = shares if isinstance(shares, Mapping) else parse_shares(shares)
    with terminated_as_interrupted():
        return split.set_traffic(service_name(name), found)


def traffic_of(status: Status) -> dict[str, int]:
    """Return the share of each version of a service, in percent; empty where it has no versions."""
    return {each.name: each.traffic for each in status.versions}


def delete(name: str, *, version: str | None = None, reporter: Reporter = SILENT) -> None:
    """Remove a service, or a version that gets no share of the requests; requests in flight are finished first.

    Args:
        name: of the service.
        version: of it; None for all of it.
        reporter: is told what takes long.

    Raises:
        UsageError, EngineError, ServiceError, TemporaryError: see `packager.serving.deploy.delete`, and of a version
            `packager.serving.split.delete_version`.
    """
    if version is None:
        services.delete(service_name(name))
    else:
        with terminated_as_interrupted():
            split.delete_version(service_name(name), version, say=reporter.step)


def rollback(
    name: str,
    env: dict[str, str] | None = None,
    *,
    version: str | None = None,
    timeout: float = 120.0,
    reporter: Reporter = SILENT,
) -> Status:
    """Let a named service run again what it ran before its last update; a second rollback undoes the first.

    Args:
        name: of the service.
        env: values of variables that went with their process, for a service without Docker.
        version: of the service, where it has several.
        timeout: seconds until it must be healthy.
        reporter: is told what is done.

    Raises:
        UsageError, EngineError, ServiceError, TemporaryError: see `packager.serving.deploy.rollback`.
    """
    with terminated_as_interrupted():
        return services.rollback(service_name(name), env or {}, version=version, timeout=timeout, say=reporter.step)


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


def update(
    name: str,
    change: Change,
    *,
    version: str | None = None,
    timeout: float = 120.0,
    reporter: Reporter = SILENT,
) -> Status:
    """Replace what a named service runs without losing a request, and return it when the old one is gone.

    Args:
        name: of the service.
        change: what is new; what a package without Docker is made of is read again from its spec.
        version: of the service, where it has several.
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
        return services.update(service_name(name), change, version=version, timeout=timeout, say=reporter.step)


def service_names() -> tuple[str, ...]:
    """Return the names of all services, sorted; without those on an engine that does not answer."""
    names: set[str] = set()
    for host in HOSTS:
        with suppress(EngineError):
            names |= set(host.names())
    return tuple(sorted(names))
