"""All named services of this machine, those on the engine and those without Docker, by one set of functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from packager.errors import EngineError, ServiceError, UsageError
from packager.serving import deploy as deployment
from packager.serving.deploy import Change
from packager.serving.hosts.docker import service_keys
from packager.serving.hosts.process import named as local
from packager.serving.hosts.process.package import Packaged, package_here
from packager.serving.hosts.process.service_folder import LocalService, Served
from packager.serving.service import KeyPair, Publish, Which
from packager.serving.status import Status, Wanted
from packager.spec.load import load_spec

Say = Callable[[str], None]
Waiting = Callable[[float], None]


def deploy(wanted: Wanted, *, timeout: float, say: Say, waiting: Waiting) -> Status:
    """Start a service on the engine; see `packager.serving.deploy.deploy`.

    Raises:
        UsageError: there is a service of that name without Docker, too.
    """
    service = LocalService(wanted.name)
    if service.exists:
        raise local.taken(service.status())
    return deployment.deploy(wanted, timeout=timeout, say=say, waiting=waiting)


def deploy_here(
    name: str,
    packaged: Packaged,
    publish: Publish,
    *,
    spec: Path,
    env: dict[str, str],
    keys: KeyPair | None,
    timeout: float,
    say: Say,
    waiting: Waiting,
) -> Status:
    """Start a service without Docker; see `packager.serving.hosts.process.named.deploy`."""
    return local.deploy(
        name, packaged, publish, spec=spec, env=env, keys=keys, timeout=timeout, say=say, waiting=waiting
    )


def require_free(name: str) -> None:
    """Refuse a name under which a service without Docker would hide another, or replace one that is well.

    Raises:
        UsageError: there is a service of that name.
    """
    try:
        found = look(name)
    except (EngineError, ServiceError):
        return
    if not LocalService(name).exists or found.state in ("Healthy", "Transitioning"):
        raise local.taken(found)


def update(name: str, change: Change, *, timeout: float, say: Say, waiting: Waiting) -> Status:
    """Replace what a service runs; one without Docker is made anew of its spec.

    Raises:
        UsageError: an image or limits are given for one without Docker.
        PackagerError: see `update` of the two hosts.
    """
    if not LocalService(name).exists:
        return deployment.update(name, change, timeout=timeout, say=say, waiting=waiting)
    if change.reference or change.memory or change.cpus:
        raise UsageError(
            f"{name} runs without Docker: it takes no image and no limits",
            remedy="leave them out: what it runs is made anew of its spec; or delete it, and deploy the image",
        )

    def prepare(served: Served) -> Packaged:
        return package_here(load_spec(Path(served.spec)), served.target, say=say)

    return local.update(name, prepare, change.env, timeout=timeout, say=say, waiting=waiting)


def delete(name: str) -> None:
    """Remove a service; requests in flight are finished first.

    Raises:
        ServiceError: there is no such service.
        EngineError: it is not without Docker, and there is no engine.
    """
    if LocalService(name).exists:
        local.delete(name)
    else:
        deployment.delete(name)


def look(name: str) -> Status:
    """Return a service as it is.

    Raises:
        ServiceError: there is no such service.
        EngineError: it is not without Docker, and there is no engine.
    """
    service = LocalService(name)
    return service.status() if service.exists else deployment.look(name)


def list_services(warn: Say) -> tuple[Status, ...]:
    """Return all services, by name.

    Args:
        warn: is told that there is no engine, where there are only services without Docker.

    Raises:
        EngineError: no engine, and no service without Docker.
    """
    here = [LocalService(name).status() for name in local.local_names()]
    try:
        there = deployment.list_services()
    except EngineError as error:
        if not here:
            raise
        warn(f"those on the engine are not listed: {error.message}")
        there = ()
    return tuple(sorted((*here, *there), key=lambda status: status.name))


def logs(name: str, lines: int | None, *, follow: bool = False) -> Iterator[bytes]:
    """Give what a service wrote; see `packager.serving.deploy.logs`."""
    if LocalService(name).exists:
        return local.logs(name, lines, follow=follow)
    return deployment.logs(name, lines, follow=follow)


def show_keys(name: str, regenerate: Which | None = None) -> KeyPair:
    """Return the keys of a service; see `packager.serving.hosts.docker.service_keys.show_keys`."""
    if LocalService(name).exists:
        return local.show_keys(name, regenerate)
    return service_keys.show_keys(name, regenerate)
