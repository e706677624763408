"""Looking at named services, on whichever host they run: state, list, log, keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import msgspec

from packager.errors import EngineError, UsageError
from packager.serving.host import Host, Say
from packager.serving.hosts.choose import HOSTS, host_of
from packager.serving.service import KeyPair, Which
from packager.serving.status import Status
from packager.serving.taken import current_of, held
from packager.serving.versions import chosen, status_of, whole

_Hosts = Sequence[Host[Any]]


def look(name: str, hosts: _Hosts = HOSTS, *, version: str | None = None) -> Status:
    """Return a service as it is; with `version`, as if it were nothing but that.

    Raises:
        ServiceError: there is no such service, or it has no such version.
        EngineError: it is on no other host, and there is no engine.
    """
    with host_of(name, hosts).service(name) as service:
        status = status_of(service, name)
        found = chosen(service, version).status() if version is not None else None
        if version is None or found is None:
            return status
        versions = tuple(each for each in status.versions if each.name == version)
        return msgspec.structs.replace(found, versions=versions)


def list_services(warn: Say, hosts: _Hosts = HOSTS) -> tuple[Status, ...]:
    """Return all services, by name.

    Args:
        warn: is told that there is no engine, where there are services without Docker.
        hosts: whose services they are.

    Raises:
        EngineError: no engine, and no service without Docker.
    """
    statuses: list[Status] = []
    for host in hosts:
        try:
            for name in host.names():
                with host.service(name) as service:
                    status = whole(service)
                statuses += [status] if status is not None else []
        except EngineError as error:
            if not statuses:
                raise
            warn(f"those on the engine are not listed: {error.message}")
    return tuple(sorted(statuses, key=lambda status: status.name))


def logs(
    name: str, lines: int | None, *, version: str | None = None, follow: bool = False, hosts: _Hosts = HOSTS
) -> Iterator[bytes]:
    """Give what a service wrote, or one of its versions: its last lines, or all; and what it writes from now on.

    Raises:
        UsageError: it has several versions, and none is named.
        ServiceError: there is no such service, or its backend is gone.
        EngineError: it is on no other host, and there is no engine.
    """
    with host_of(name, hosts).service(name) as service:
        status_of(service, name)
        yield from current_of(chosen(service, version), "log").tail(lines, follow=follow)


def show_keys(name: str, regenerate: Which | None = None, hosts: _Hosts = HOSTS) -> KeyPair:
    """Return the keys of a service; with `regenerate`, after one was made new, which holds from the next request on.

    Raises:
        UsageError: its requests need no key.
        ServiceError: there is no such service, or its backend is gone.
        EngineError: it is on no other host, and there is no engine.
        TemporaryError: somebody else changes this service now.
    """
    with held(name) if regenerate else nullcontext(), host_of(name, hosts).service(name) as service:
        if not status_of(service, name).versions:
            current_of(service, "keys")
        pair = service.keys()
        if pair is None:
            remedy = f"`server: {{auth: key}}` in {service.spec}"
            raise UsageError(f"the requests of {name} need no key", remedy=remedy)
        if regenerate is not None:
            pair = pair.regenerated(regenerate)
            service.put_keys(pair)
        return pair
