"""The steps of `packager service`: named services, on the engine or without Docker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from packager.contract import AUTH_LABEL
from packager.errors import EngineError
from packager.interruption import terminated_as_interrupted
from packager.serving import deploy as services
from packager.serving.deploy import delete, list_services, logs, look, show_keys
from packager.serving.hosts.choose import HOSTS, PROCESSES
from packager.serving.hosts.docker.image import packaged_image
from packager.serving.hosts.process.package import LocalPackage
from packager.serving.service import LOG_LINES, ImageRequest, Mounted, Package
from packager.serving.status import Change, Status, service_name
from packager.spec.load import SpecFile, load_spec
from packager.spec.service import ServiceWishes
from packager.steps.package import package_on_machine
from packager.steps.reporting import SILENT, Reporter
from packager.steps.run import RunWish, check_memory, find_package, ready_in, refuse_without_docker, request_for
from packager.steps.volumes import mounts_of
from packager.steps.wishes import Granted, grant

__all__ = [
    "LOG_LINES",
    "Change",
    "Status",
    "delete",
    "deploy",
    "list_services",
    "logs",
    "look",
    "renew",
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
    replace: bool = False,
    mounts: Sequence[Mounted] = (),
    reporter: Reporter = SILENT,
) -> Status:
    """Start what is wished for as a named service, and return it when it is healthy.

    Args:
        name: of the service.
        wish: what, and how.
        spec_file: the spec; needed where no image is named, and without Docker.
        replace: a service of the name that is well; see `packager.serving.deploy.deploy`.
        mounts: folders of this machine that its container sees, beside models; none without Docker.
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
    granted = grant(spec_file, package, wish.env, reporter, cpus=wish.cpus is None)
    host, request = request_for(wish, granted, name, reporter=reporter)
    if isinstance(request, ImageRequest):
        request = msgspec.structs.replace(request, mounts=(*request.mounts, *mounts))
    if package.note:
        reporter.step(package.note)
    with terminated_as_interrupted():
        wait = ready_in(wish, granted)
        return services.deploy(host, request, timeout=wait, say=reporter.step, replace=replace)


def renew(
    name: str,
    mounts: Sequence[Mounted],
    write: Callable[[], object],
    *,
    timeout: float = 120.0,
    reporter: Reporter = SILENT,
) -> Status | None:
    """Let a named service read again what is mounted over its app; None where it cannot be done so.

    Args:
        name: of the service.
        mounts: that it has.
        write: changes what is mounted.
        timeout: seconds until it must be healthy.
        reporter: is told what is done.

    Raises:
        UsageError, EngineError, ServiceError, TemporaryError: see `packager.serving.deploy.renew`.
    """
    return services.renew(service_name(name), mounts, write, timeout=timeout, say=reporter.step)


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


def update(
    name: str,
    change: Change,
    spec_file: SpecFile | None = None,
    *,
    timeout: float | None = None,
    reporter: Reporter = SILENT,
) -> Status:
    """Replace what a named service runs without losing a request, and return it when the old one is gone.

    What the `service:` section of the spec asks for is put into force where the change does not say otherwise.

    Args:
        name: of the service.
        change: what is new; what a package without Docker is made of is read again from its spec.
        spec_file: the spec of the image, where there is one; one of another image counts for nothing.
        timeout: seconds until the new backend must be healthy; 120, or what the spec's probes let it take, where None.
        reporter: is told what is done.

    Raises:
        UsageError, EngineError, ServiceError, TemporaryError, PackagerError: see `packager.serving.deploy.update`.
    """
    check_memory(change.memory)

    if service_name(name) in PROCESSES.names():
        with PROCESSES.service(name) as service:
            spec_file = load_spec(Path(service.record().spec))
            granted = grant(spec_file, _as_planned(spec_file), change.env, reporter)
    else:
        granted = _granted_image(name, change, spec_file, reporter)

    def mounts(image: Package) -> tuple[Mounted, ...]:
        return mounts_of(image, None, say=reporter.step)

    def remake(spec: Path, target: str) -> LocalPackage:
        package = package_on_machine(load_spec(spec), target, say=reporter.step)
        keys = {AUTH_LABEL: "key"} if granted.package.labels.get(AUTH_LABEL) == "key" else {}
        return msgspec.structs.replace(package, labels={**package.labels, **keys})

    change = msgspec.structs.replace(
        change,
        env={**granted.env, **change.env},
        memory=granted.memory if change.memory is None else change.memory,
        cpus=granted.cpus if change.cpus is None else change.cpus,
        gpus=granted.gpus or change.gpus,
        health=granted.health if change.health is None else change.health,
        remake=remake,
        mounts=mounts,
    )
    with terminated_as_interrupted():
        wait = granted.ready_in if timeout is None else timeout
        return services.update(name, change, timeout=wait, say=reporter.step)


def _as_planned(spec_file: SpecFile) -> Package:
    """Return what is known of a package before it is made."""
    spec = spec_file.spec
    labels = {AUTH_LABEL: "key"} if spec.server.auth == "key" else {}
    return Package(title=spec.name, target="", platform="", port=spec.server.port, labels=labels)


def _granted_image(name: str, change: Change, spec_file: SpecFile | None, reporter: Reporter) -> Granted:
    nothing = Granted(package=Package(title="", target="", platform="", port=0, labels={}))
    if spec_file is None or spec_file.spec.service == ServiceWishes():
        return nothing
    reference = change.reference or look(name).image
    try:
        package = packaged_image(reference)
    except EngineError:
        return nothing  # the update says what is wrong
    return grant(spec_file, package, change.env, reporter, cpus=change.cpus is None)


def service_names() -> tuple[str, ...]:
    """Return the names of all services, sorted; without those on an engine that does not answer."""
    names: set[str] = set()
    for host in HOSTS:
        with suppress(EngineError):
            names |= set(host.names())
    return tuple(sorted(names))
