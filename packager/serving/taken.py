"""Who has a service's name, and who changes it now: what is asked before a service is deployed, replaced or removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from packager.errors import ContextError, EngineError, ServiceError, TemporaryError, UsageError
from packager.serving.host import Backend, Deployment, Host, Say
from packager.serving.hosts.choose import HOSTS
from packager.serving.status import Status, title_of
from packager.serving.versions import whole
from packager.storage.locks import alone
from packager.storage.models import default_root

_Hosts = Sequence[Host[Any]]


def require_free(host: Host[Any], name: str, hosts: _Hosts = HOSTS) -> None:
    """Refuse a name under which a service would hide another host's, or replace one that is well.

    Raises:
        UsageError: there is a service of that name.
    """
    for other in hosts:
        try:
            with other.service(name) as service:
                status = whole(service)
        except (EngineError, ServiceError):
            continue
        if status is not None and (other != host or status.taken):
            raise taken(status)


@contextmanager
def held(name: str) -> Iterator[None]:
    """Keep other processes of this machine from changing a service at the same time.

    Raises:
        TemporaryError: one does.
    """
    folder = default_root().parent / "services"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.lock").touch()
    except OSError as error:
        raise ContextError(f"{folder} cannot be written: {error.strerror}", remedy="set XDG_CACHE_HOME") from None
    with alone(folder / f"{name}.lock", unsure=True) as free:
        if not free:
            raise TemporaryError(
                f"the service {name!r} is being changed by another process", remedy="try again when it is done"
            )
        yield


def current_of(service: Deployment[Any], lost: str = "") -> Backend:
    """Return the backend that a service has.

    Args:
        service: on its host.
        lost: what is gone with a backend that is gone.

    Raises:
        ServiceError: it has none.
    """
    backend = service.current()
    if backend is None:
        gone = f"the {service.unit} of {service.name} is gone"
        raise ServiceError(f"{gone}, and its {lost} with it" if lost else gone, remedy="deploy it again")
    return backend


def make_room(service: Deployment[Any], say: Say) -> None:
    """Remove a service that failed, and what is left of one.

    Raises:
        UsageError: it is well.
    """
    status = whole(service)
    if status is not None:
        if status.taken:
            raise taken(status)
        say(f"{service.name} was {status.state} ({status.reason}): replacing it")
    service.remove()


def require_one_backend(status: Status) -> None:
    """Refuse to put one backend in the place of several versions, of which it could be meant for any.

    Raises:
        UsageError: the service has versions, and is well or stopped.
    """
    if status.versions and status.taken:
        names = [each.name for each in status.versions]
        raise UsageError(
            f"the service {status.name!r} has the versions {', '.join(names)}, and a deployment in its place ends all",
            remedy=f"`packager service update {status.name} --version {names[0]}` replaces what one runs; "
            f"`packager service delete {status.name}` removes all",
        )


def stays(error: ServiceError, service: Deployment[Any], version: str | None = None) -> ServiceError:
    """Return the error of a service that did not become healthy, with what is left of it.

    Args:
        error: why it did not.
        service: of which it is left, ended.
        version: that alone.
    """
    which = f"{service.name} --version {version}" if version is not None else service.name
    left = (
        f"{title_of(service.name, version)} stays as Failed: `packager service logs {which}` has all that it wrote, a "
        f"new deployment takes its place, `packager service delete {which}` removes it"
    )
    return ServiceError(error.message, where=error.where, remedy=f"{error.remedy}; {left}" if error.remedy else left)


def taken(status: Status) -> UsageError:
    """Return the error for a name that a service has."""
    name = status.name
    replaces = "start" if status.state == "Stopped" else "update"
    does = "starts it" if replaces == "start" else "replaces what it runs"
    return UsageError(
        f"there is a service {name!r} already ({status.state}, {status.image})",
        remedy=f"`packager service {replaces} {name}` {does}; `packager service delete {name}` removes it",
    )


def require_started(status: Status) -> None:
    """Refuse a service that was stopped.

    Raises:
        ServiceError: it was.
    """
    if status.state == "Stopped":
        raise ServiceError(
            f"{status.name} is stopped", remedy=f"`packager service start {status.name}`, and then again"
        )
