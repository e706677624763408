"""The steps of `packager service`: named services, on the engine or without Docker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec

from packager.builders.builder import BuildWish
from packager.contract import AUTH_LABEL
from packager.engine.api import inspect_local
from packager.errors import EngineError, UsageError
from packager.interruption import terminated_as_interrupted
from packager.serving import deploy as services
from packager.serving import split
from packager.serving.deployed import list_services, logs, look, show_keys
from packager.serving.hosts.choose import HOSTS, PROCESSES
from packager.serving.hosts.docker.image import packaged_image
from packager.serving.hosts.process.package import LocalPackage
from packager.serving.keys import Token, token_of
from packager.serving.service import LOG_LINES, ImageRequest, Mounted, Package
from packager.serving.status import Change, Status, Version, service_name
from packager.serving.taken import require_free, require_one_backend
from packager.serving.traffic import VERSION_HEADER, parse_shares, version_name, with_version
from packager.serving.versions import chosen
from packager.spec.load import SpecFile, load_spec
from packager.spec.service import ServiceWishes
from packager.steps.package import let_go, package_on_machine
from packager.steps.reporting import SILENT, Reporter
from packager.steps.run import RunWish, check_memory, find_package, ready_in, refuse_without_docker, request_for
from packager.steps.service_image import image_of_update
from packager.steps.volumes import mounts_of
from packager.steps.wishes import Granted, grant

__all__ = [
    "LOG_LINES",
    "VERSION_HEADER",
    "Change",
    "Status",
    "Token",
    "Version",
    "access_token",
    "delete",
    "deploy",
    "engine_answers",
    "is_without_docker",
    "list_services",
    "logs",
    "look",
    "renew",
    "require_one_backend",
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
    replace: bool = False,
    mounts: Sequence[Mounted] = (),
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
        replace: a service of the name that is well; see `packager.serving.deploy.deploy`. Not together with a version.
        mounts: folders of this machine that its container sees, beside models; none without Docker.
        reporter: is told what is done.

    Raises:
        UsageError: no name, or there is a service of it that is well; something cannot be meant so.
        EngineError, ServiceError, TemporaryError: see `packager.serving.deploy.deploy`.
        LockError, ContextError: without Docker, its environment or files cannot be had.
    """
    service_name(name)
    if version is not None and replace:
        raise UsageError("one version of a service is not replaced by a deployment", remedy="update it")
    if version is not None:
        version_name(version, name)
    elif traffic is not None:
        raise UsageError("--traffic is the share of a version", remedy="name it: --version NAME")
    if wish.docker:
        check_memory(wish.memory)
    else:
        refuse_without_docker(wish, ("memory", "cpus", "build"))
        if version is None:
            require_free(PROCESSES, name)
    if version is not None and (wish.publish or wish.keys) and name in service_names():
        raise UsageError(
            f"the versions of {name} have one address and one set of keys", remedy="leave --publish and --key-file out"
        )
    package = find_package(wish, spec_file, reporter=reporter)
    with ExitStack() as stack:
        stack.callback(let_go, package)
        granted = grant(spec_file, package, wish.env, reporter, cpus=wish.cpus is None)
        host, request = request_for(wish, granted, name, reporter=reporter)
        if isinstance(request, ImageRequest):
            request = msgspec.structs.replace(request, mounts=(*request.mounts, *mounts))
        if package.note:
            reporter.step(package.note)
        stack.enter_context(terminated_as_interrupted())
        wait = ready_in(wish, granted)
        if version is not None:
            return split.deploy_version(host, request, version, traffic, timeout=wait, say=reporter.step)
        return services.deploy(host, request, timeout=wait, say=reporter.step, replace=replace)


def renew(
    name: str,
    mounts: Sequence[Mounted],
    write: Callable[[], object],
    *,
    version: str | None = None,
    timeout: float = 120.0,
    reporter: Reporter = SILENT,
) -> Status | None:
    """Let a named service read again what is mounted over its app; None where it cannot be done so.

    Args:
        name: of the service.
        mounts: that it has.
        write: changes what is mounted.
        version: of the service, where it has several.
        timeout: seconds until it must be healthy.
        reporter: is told what is done.

    Raises:
        UsageError, EngineError, ServiceError, TemporaryError: see `packager.serving.deploy.renew`.
    """
    return services.renew(service_name(name), mounts, write, version=version, timeout=timeout, say=reporter.step)


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


def access_token(name: str) -> Token:
    """Return a token for requests to a service that need a key: it ends after 12 hours, or when the primary key is new.

    Raises:
        UsageError: its requests need none.
        EngineError, ServiceError: see `packager.serving.deployed.show_keys`.
    """
    return token_of(show_keys(service_name(name)), time.time())


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
    name: str,
    env: dict[str, str] | None = None,
    *,
    version: str | None = None,
    timeout: float = 120.0,
    reporter: Reporter = SILENT,
) -> Status:
    """Start a named service again that was stopped, or ended by itself, and return it when it is healthy.

    Args:
        name: of the service.
        env: values of variables that went with their process, for a service without Docker.
        version: that alone, which ended by itself while the service goes on; None for all.
        timeout: seconds until it must be healthy.
        reporter: is told what is done.

    Raises:
        UsageError, EngineError, ServiceError, TemporaryError: see `packager.serving.deploy.start`.
    """
    with terminated_as_interrupted():
        return services.start(service_name(name), env or {}, version=version, timeout=timeout, say=reporter.step)


def update(
    name: str,
    change: Change,
    spec_file: SpecFile | None = None,
    *,
    version: str | None = None,
    timeout: float | None = None,
    build: BuildWish | None = None,
    reporter: Reporter = SILENT,
) -> Status:
    """Replace what a named service runs without losing a request, and return it when the old one is gone.

    What the `service:` section of the spec asks for is put into force where the change does not say otherwise.

    Args:
        name: of the service.
        change: what is new; what a package without Docker is made of is read again from its spec.
        spec_file: the spec of the image, where there is one; one of another image counts for nothing.
        version: of the service, where it has several.
        timeout: seconds until the new backend must be healthy; 120, or what the spec's probes let it take, where None.
        build: build the image first, so; the spec's, of the target that the service runs, where the change names none.
        reporter: is told what is done; also that the image is not of the files as they are now, or is the same.

    Raises:
        UsageError, EngineError, ServiceError, TemporaryError, PackagerError: see `packager.serving.deploy.update`.
    """
    check_memory(change.memory)

    if service_name(name) in PROCESSES.names():
        if build is not None:
            raise UsageError(
                f"{name} runs without Docker, and an update makes its package anew in any case",
                remedy="without --build",
            )
        with PROCESSES.service(name) as service:
            spec_file = load_spec(chosen(service, version).source())
            granted = grant(spec_file, _as_planned(spec_file), change.env, reporter)
    else:
        change = image_of_update(name, version, change, spec_file, build, reporter)
        granted = _granted_image(change, spec_file, reporter)

    made = ExitStack()

    def mounts(image: Package) -> tuple[Mounted, ...]:
        return mounts_of(image, None, say=reporter.step)

    def remake(spec: Path, target: str) -> LocalPackage:
        package = package_on_machine(load_spec(spec), target, say=reporter.step)
        made.callback(let_go, package)
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
    with made, terminated_as_interrupted():
        wait = granted.ready_in if timeout is None else timeout
        return services.update(name, change, version=version, timeout=wait, say=reporter.step)


def _as_planned(spec_file: SpecFile) -> Package:
    """Return what is known of a package before it is made."""
    spec = spec_file.spec
    labels = {AUTH_LABEL: "key"} if spec.server.auth == "key" else {}
    return Package(title=spec.name, target="", platform="", port=spec.server.port, labels=labels)


def _granted_image(change: Change, spec_file: SpecFile | None, reporter: Reporter) -> Granted:
    nothing = Granted(package=Package(title="", target="", platform="", port=0, labels={}))
    if spec_file is None or spec_file.spec.service == ServiceWishes() or change.reference is None:
        return nothing
    try:
        package = packaged_image(change.reference)
    except EngineError:
        return nothing  # the update says what is wrong
    return grant(spec_file, package, change.env, reporter, cpus=change.cpus is None)


def engine_answers() -> bool:
    """Tell whether there is an engine that services can run on.

    Raises:
        UsageError, RegistryError: what names the engine cannot be read.
    """
    try:
        inspect_local("packager-service", required=True)
    except EngineError:
        return False
    return True


def is_without_docker(name: str) -> bool:
    """Tell whether there is a service of this name that runs as processes of this machine."""
    return service_name(name) in PROCESSES.names()


def service_names() -> tuple[str, ...]:
    """Return the names of all services, sorted; without those on an engine that does not answer."""
    names: set[str] = set()
    for host in HOSTS:
        with suppress(EngineError):
            names |= set(host.names())
    return tuple(sorted(names))
