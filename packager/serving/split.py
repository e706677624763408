"""Several versions of a service behind one address: adding one, sharing the requests, removing one.

No request is lost: the forwarder sends each one to a version of the moment's table. A version gets requests once it is
healthy, and a version that is removed gets none any more before its backend is told to end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from packager.errors import PackagerError, ServiceError, UsageError
from packager.serving.deploy import UNUSED_GRACE
from packager.serving.host import Backend, Deployment, Host, Say
from packager.serving.hosts.choose import HOSTS, host_of
from packager.serving.service import GRACE, Request, wait_until_healthy
from packager.serving.status import Status
from packager.serving.taken import held, make_room, require_free, require_started, stays, taken
from packager.serving.traffic import ALL, DEFAULT, checked, with_share
from packager.serving.versions import chosen, drain, status_of, whole

_Hosts = Sequence[Host[Any]]
RequestT = TypeVar("RequestT", bound=Request)


def deploy_version(
    host: Host[RequestT],
    request: RequestT,
    version: str,
    share: int | None,
    *,
    timeout: float,
    say: Say,
    hosts: _Hosts = HOSTS,
) -> Status:
    """Start a version of a service, which is made where there is none, and return the service when it is healthy.

    Args:
        host: where.
        request: what; its name is that of the service. In a service that is there, its address and keys are not used.
        version: name of it.
        share: of the requests, in percent, where the other versions keep their proportions; None for nothing, all in
            a new service, and what it had where it takes the place of one that failed.
        timeout: seconds until it must be healthy.
        say: is told what is done.
        hosts: that may have a service of that name.

    Raises:
        UsageError: the version is there and well, the service is on another host, or a share is none.
        EngineError: no engine, the port is taken, or more is asked for than the machine has.
        ServiceError: it does not become healthy: it stays, ended, without requests; with the last lines of its log.
        TemporaryError: somebody else changes this service now.
    """
    name = request.name
    for other in hosts:
        if other != host:
            require_free(host, name, (other,))
    with held(name), host.service(name) as service:
        status = whole(service)
        if status is None or (version == DEFAULT and not (status.versions or status.taken)):
            _first(service, request, version, with_share({}, version, ALL if share is None else share), timeout, say)
        else:
            _add(service, status, request, version, share, timeout, say)
        return status_of(service, name)


def _first(
    service: Deployment[RequestT], request: RequestT, version: str, shares: dict[str, int], timeout: float, say: Say
) -> None:
    """Make a service with one version. As of `deploy`, one that does not become healthy stays, ended."""
    make_room(service, say)
    meant = service.of(version)
    backend: Backend | None = None
    try:
        backend = meant.first(request)
        service.route(shares)  # where the forwarder does not hear it yet, it reads the table when it has started
        say(f"Transitioning: {meant.title} starts {backend.shown}")
        wait_until_healthy(backend, backend.healthy, timeout)
        _route(service, shares)
    except BaseException as error:
        if backend is not None and isinstance(error, ServiceError):
            backend.stop(UNUSED_GRACE)
            raise stays(error, service) from None
        service.remove()
        raise
    backend.point()
    backend.keep()


def _add(
    service: Deployment[RequestT],
    status: Status,
    request: RequestT,
    version: str,
    share: int | None,
    timeout: float,
    say: Say,
) -> None:
    """Add a version to a service, or put one in the place of a version that failed."""
    require_started(status)
    shares, meant = service.versions() or {DEFAULT: ALL}, service.of(version)
    if version in shares:
        found = meant.status()
        if found is not None and found.taken:
            raise _there(service.name, version, found) if status.versions else taken(status)
    _require_keys_alike(status, request)
    during = {**shares, version: shares.get(version, 0)}
    after = with_share(during, version, during[version] if share is None else share)
    _require_forwarder(service)
    meant.drop()
    backend: Backend | None = None
    try:
        backend = meant.join(request)
        _route(service, during)
        say(f"Transitioning: {meant.title} starts {backend.shown}")
        wait_until_healthy(backend, backend.healthy, timeout)
        backend.point()
        _route(service, after)
    except BaseException as error:
        left = backend is not None and isinstance(error, ServiceError)
        with suppress(PackagerError):  # what went wrong first is what is told
            service.route(during if left else shares)
        if backend is not None and isinstance(error, ServiceError):
            backend.stop(UNUSED_GRACE)  # for `service show` and `service logs`
            raise stays(error, service, version) from None
        meant.drop()
        raise
    backend.keep()
    say(f"{meant.title} gets {after[version]} % of the requests")


def set_traffic(name: str, shares: Mapping[str, int], *, hosts: _Hosts = HOSTS) -> Status:
    """Share the requests of a service among its versions, from the next request on; return the service.

    Args:
        name: of the service.
        shares: in percent, by version; one that is not named gets nothing.
        hosts: that may have it.

    Raises:
        UsageError: they do not sum to 100.
        EngineError: it is on no other host, and there is no engine.
        ServiceError: no such service or version, or one that does not run would get more than now.
        TemporaryError: somebody else changes this service now.
    """
    shares = checked(shares)
    with held(name), host_of(name, hosts).service(name) as service:
        status = status_of(service, name)
        for version in shares:
            chosen(service, version)
        for each in status.versions:
            more = shares.get(each.name, 0) > each.traffic
            if more and each.state not in ("Healthy", "Transitioning", "Stopped"):
                raise ServiceError(
                    f"version {each.name} of {name} is {each.state}: {each.reason}",
                    remedy=f"`packager service logs {name} --version {each.name}`; its requests would fail",
                )
        if status.versions:
            after = {each.name: shares.get(each.name, 0) for each in status.versions}
            if not service.route(after) and service.forwarder.running:
                raise _not_heard(service)
        return status_of(service, name)


def delete_version(name: str, version: str, *, say: Say, hosts: _Hosts = HOSTS) -> Status:
    """Remove a version that gets no share of the requests; those in flight to it are finished first.

    Args:
        name: of the service.
        version: of it.
        say: is told what takes long.
        hosts: that may have it.

    Raises:
        UsageError: it gets requests, or is the only one.
        EngineError: it is on no other host, and there is no engine.
        ServiceError: no such service or version.
        TemporaryError: somebody else changes this service now.
    """
    with held(name), host_of(name, hosts).service(name) as service:
        status_of(service, name)
        meant, shares = chosen(service, version), service.versions()
        rest = {each: share for each, share in shares.items() if each != version}
        if not rest:
            raise UsageError(
                f"{version} is the only version of {name}", remedy=f"`packager service delete {name}` removes all"
            )
        if shares[version]:
            other = max(rest, key=lambda each: rest[each])
            raise UsageError(
                f"version {version} of {name} gets {shares[version]} % of the requests",
                remedy=f"give them to another one first, such as `packager service traffic {name} {other}=100`",
            )
        if not service.route(rest) and service.forwarder.running:
            raise _not_heard(service)
        drain(service.forwarder, say)
        backend = meant.current()
        if backend is not None:
            backend.stop(GRACE)
        meant.drop()
        return status_of(service, name)


def _route(service: Deployment[Any], shares: Mapping[str, int]) -> None:
    if not service.route(shares):
        raise _not_heard(service)


def _not_heard(service: Deployment[Any]) -> ServiceError:
    return ServiceError(
        f"the {service.unit} that owns the port of {service.name} does not take the shares",
        remedy=f"`packager service show {service.name}`",
    )


def _require_forwarder(service: Deployment[Any]) -> None:
    """Refuse a service whose forwarder does not run, or knows of no versions."""
    answer = service.forwarder.ask("status")
    if not answer:
        raise ServiceError(
            f"the {service.unit} that owns the port of {service.name} does not answer",
            remedy=f"`packager service start {service.name}`",
        )
    if "traffic" not in answer:
        raise ServiceError(
            f"{service.name} was deployed by an older packager, and cannot have versions",
            remedy=f"`packager service delete {service.name}`, and deploy it again",
        )


def _require_keys_alike(status: Status, request: Request) -> None:
    """Refuse a version that would leave a way around the keys of the others, or ask for keys that nobody has."""
    if (status.auth == "key") != (request.keys is not None):
        needs = "need a key, and it asks for none" if status.auth == "key" else "need no key, and it asks for one"
        raise UsageError(
            f"the requests of {status.name} {needs}", remedy="`server: {auth: …}` in its spec, as in that of the others"
        )


def _there(name: str, version: str, status: Status) -> UsageError:
    return UsageError(
        f"{name} has a version {version!r} already ({status.state}, {status.image})",
        remedy=f"`packager service update {name} --version {version}` replaces what it runs; "
        f"`packager service delete {name} --version {version}` removes it",
    )
