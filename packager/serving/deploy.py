"""Deploying, replacing and deleting a named service, on whichever host it runs.

`update` loses no request: the new backend starts beside the old one and is asked for its health there. Only then is it
made the current one, and the forwarder looks again: each later request goes to it, those in flight end on the old one,
and when the forwarder says that none is left, the old one gets its SIGTERM. A new backend that does not become healthy
is removed, and nothing has happened to the old one. The old one is kept, ended: `rollback` is the same switch, back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from packager.errors import PackagerError, ServiceError
from packager.serving.client import answers
from packager.serving.host import Backend, Deployment, Host, Say
from packager.serving.hosts.choose import HOSTS, host_of
from packager.serving.service import GRACE, Mounted, Request, wait_until_healthy
from packager.serving.status import Change, Status
from packager.serving.taken import (
    current_of,
    held,
    make_room,
    require_free,
    require_one_backend,
    require_started,
    stays,
)
from packager.serving.traffic import VERSION_HEADER
from packager.serving.versions import chosen, drain, status_of, whole

#: Seconds that one gets which never had a request to finish.
UNUSED_GRACE = 2.0
#: Seconds that a forwarder may take to pass on what a backend answers by itself already; and between two questions.
FORWARDER_TIME, PAUSE = 30.0, 0.05

_Hosts = Sequence[Host[Any]]
RequestT = TypeVar("RequestT", bound=Request)


def deploy(
    host: Host[RequestT],
    request: RequestT,
    *,
    timeout: float,
    say: Say,
    hosts: _Hosts = HOSTS,
    replace: bool = False,
) -> Status:
    """Start a service, and return it when it is healthy. One that failed before makes room; it stays when it fails.

    With `replace` one that is well is replaced: by another backend behind the same forwarder where that can be, which
    loses no request and is as fast as an update; else it is removed first.

    Args:
        host: where.
        request: what; its name becomes that of the service.
        timeout: seconds until it must be healthy.
        say: is told what is done.
        hosts: that may have a service of that name.
        replace: one of that name on this host, though it is well.

    Raises:
        UsageError: there is a service of that name, and it is well, or on another host.
        EngineError: no engine, the port is taken, or more is asked for than the machine has.
        ServiceError: it does not become healthy; with the last lines of its log.
        TemporaryError: somebody else changes this service now.
    """
    name = request.name
    require_free(host, name, [each for each in hosts if each != host] if replace else hosts)
    with held(name), host.service(name) as service:
        if replace and (status := whole(service)) is not None:
            require_one_backend(status)
            start = service.anew(request) if status.well else None
            if start is not None:
                _replace(service, start, "deployment", timeout=timeout, say=say, wait=False)
                return status_of(service, name)
            say(f"{name} was {status.state}: replacing it")
            service.remove()
        make_room(service, say)
        backend: Backend | None = None
        try:
            backend = service.first(request)
            say(f"Transitioning: {name} starts {backend.shown}")
            wait_until_healthy(backend, backend.healthy, timeout)
        except BaseException as error:
            if backend is not None and isinstance(error, ServiceError):
                backend.stop(UNUSED_GRACE)  # it stays, ended, for `service show` and `service logs`
                raise stays(error, service) from None
            service.remove()
            raise
        backend.point()
        backend.keep()
        return _when_it_answers(service, name)


def _when_it_answers(service: Deployment[Any], name: str) -> Status:
    """Return a service whose backend is healthy as soon as its forwarder says so, too, which may have just begun."""
    end = time.monotonic() + FORWARDER_TIME
    while (status := status_of(service, name)).state == "Transitioning" and time.monotonic() < end:
        time.sleep(PAUSE)
    return status


def update(
    name: str, change: Change, *, version: str | None = None, timeout: float, say: Say, hosts: _Hosts = HOSTS
) -> Status:
    """Replace what a service runs, and return it when requests go to the new backend and the old one is gone.

    Args:
        name: of the service.
        change: what is new; an image of the same name may be a new one, too, and a package is made anew of its spec.
        version: of the service, where it has several.
        timeout: seconds until the new backend must be healthy.
        say: is told what is done.
        hosts: that may have it.

    Raises:
        UsageError: the new image serves on another port, the host has no such limits, or it has several versions and
            none is named.
        EngineError: no engine, no such image, or the engine refuses.
        ServiceError: there is no such service, or the new backend does not become healthy: the old one serves on.
        PackagerError: what it is to run cannot be made; the old one serves on.
        TemporaryError: somebody else changes this service now.
    """
    with held(name), host_of(name, hosts).service(name) as service:
        require_started(status_of(service, name))
        meant = chosen(service, version)
        _replace(meant, meant.replacement(change, say), "update", timeout=timeout, say=say)
        return status_of(service, name)


def renew(
    name: str,
    mounts: Sequence[Mounted],
    write: Callable[[], object],
    *,
    version: str | None = None,
    timeout: float,
    say: Say,
    hosts: _Hosts = HOSTS,
) -> Status | None:
    """Let a service read again what is mounted over its app, in place: no image, and no other container.

    Args:
        name: of the service.
        mounts: that it has.
        write: changes what is mounted.
        version: of the service, where it has several.
        timeout: seconds until it must be healthy.
        say: is told what is done.
        hosts: that may have it.

    Returns:
        the service, once it is healthy; None, and nothing is written, where it cannot be done so.

    Raises:
        UsageError: it has several versions, and none is named.
        EngineError: no engine, or it refuses.
        ServiceError: there is no such service, or what it reads does not start; it is ended then.
        TemporaryError: somebody else changes it now.
        PackagerError: what `write` raises.
    """
    with held(name), host_of(name, hosts).service(name) as service:
        url, meant = status_of(service, name).url, chosen(service, version)
        start = current_of(meant).renewal(mounts)
        if start is None or not url:
            return None
        # A service without versions does not look at it.
        asks = {} if version is None else {VERSION_HEADER: version}
        write()
        # Not for long: one that did not come up leaves the forwarder waiting, and its end is to be seen.
        wait_until_healthy(start(), lambda: answers(url, timeout=1.0, headers=asks), timeout)
        say(f"{meant.title} reads its scripts again")
        return status_of(service, name)


def rollback(
    name: str, env: dict[str, str], *, version: str | None = None, timeout: float, say: Say, hosts: _Hosts = HOSTS
) -> Status:
    """Let a service run again what it ran before its last update, without losing a request.

    What it runs now is kept in its place, so that a second rollback undoes the first.

    Args:
        name: of the service.
        env: values of variables that went with their process.
        version: of the service, where it has several.
        timeout: seconds until it must be healthy.
        say: is told what is done.
        hosts: that may have it.

    Raises:
        UsageError: variables are given, and its container has them; or several versions could be meant.
        EngineError: no engine, or it refuses.
        ServiceError: there is no such service, nothing before it, or that does not become healthy: what runs, runs on.
        TemporaryError: somebody else changes this service now.
    """
    with held(name), host_of(name, hosts).service(name) as service:
        require_started(status_of(service, name))
        meant = chosen(service, version)
        _replace(meant, meant.retired(env), "rollback", timeout=timeout, say=say)
        return status_of(service, name)


def _replace(
    service: Deployment[Any],
    start: Callable[[], Backend],
    what: str,
    *,
    timeout: float,
    say: Say,
    wait: bool = True,
) -> None:
    """Start a backend beside the current one, let the requests go to it, and keep the old one, ended.

    Args:
        service: whose backend it is.
        start: starts the new one.
        what: is done, in a word.
        timeout: seconds until the new one must be healthy.
        say: is told what is done.
        wait: until the old one has ended; it has no request any more in either case.
    """
    name, old = service.title, current_of(service)
    new: Backend | None = None
    # An update that was killed may have left another backend, and the forwarder behind what was decided.
    old.point()
    service.clear()
    try:
        new = start()
        say(f"{name} starts {new.shown} beside {old.shown}")
        wait_until_healthy(new, new.healthy, timeout)
        if not new.point():
            raise ServiceError(f"the {service.unit} that owns the port does not find the new one")
        new.keep()
    except BaseException as error:
        old.point()  # first, and nothing is cleared where it fails: the current one may be the new one
        if new is not None and what == "rollback":
            # It was well once, and may be so again: when the machine has memory, or a database answers.
            new.stop(UNUSED_GRACE)
            new.retire()
        service.clear()
        if not isinstance(error, PackagerError):
            raise
        message = f"{name} still runs {old.shown}; the {what} failed: {error.message}"
        raise type(error)(message, where=error.where, remedy=error.remedy) from None
    say(f"{name} answers from {'the one before' if what == 'rollback' else 'the new one'}: {new.shown}")
    try:
        drain(service.forwarder, say)
        (old.stop if wait else old.leave)(GRACE)
        old.retire()
    finally:
        service.clear()


def stop(name: str, hosts: _Hosts = HOSTS) -> Status:
    """End a service for a while, and return it; requests in flight are finished first. Its name and settings stay.

    Raises:
        ServiceError: there is no such service.
        EngineError: it is on no other host, and there is no engine.
        TemporaryError: somebody else changes it now.
    """
    with held(name), host_of(name, hosts).service(name) as service:
        status_of(service, name)
        service.halt()
        return status_of(service, name)


def start(
    name: str,
    env: dict[str, str],
    *,
    version: str | None = None,
    timeout: float,
    say: Say,
    hosts: _Hosts = HOSTS,
) -> Status:
    """Start a service again that was stopped, or ended by itself, and return it when it is healthy.

    Args:
        name: of the service.
        env: values of variables that went with their process.
        version: that alone, which ended by itself while the service goes on; None for all.
        timeout: seconds until it must be healthy.
        say: is told what is done.
        hosts: that may have it.

    Raises:
        UsageError: variables are given, and its container has them.
        EngineError: no engine, or the port is taken meanwhile.
        ServiceError: there is no such service or version, or it does not become healthy.
        TemporaryError: somebody else changes it now.
    """
    with held(name), host_of(name, hosts).service(name) as service:
        status = status_of(service, name)
        if version is not None:
            require_started(status)
            meant = chosen(service, version)
            found = meant.status()
            if found is not None and found.well:
                say(f"{meant.title} runs already")
            else:
                _resume(meant, env, timeout, say)
            return status_of(service, name)
        if status.well:
            say(f"{name} runs already")
            return status
        for version, share in service.versions().items():
            try:
                _resume(service.of(version), env, timeout, say)
            except ServiceError as error:
                if share:
                    raise
                say(f"warning: version {version}, which gets no requests, did not start: {error.message}")
        if not status.versions:
            _resume(service, env, timeout, say)
        return status_of(service, name)


def _resume(service: Deployment[Any], env: dict[str, str], timeout: float, say: Say) -> None:
    found = service.status()
    if found is not None and found.well:
        return
    backend = service.resume(env)
    say(f"{service.title} starts {backend.shown}")
    wait_until_healthy(backend, backend.healthy, timeout)
    backend.point()
    backend.keep()


def delete(name: str, hosts: _Hosts = HOSTS) -> None:
    """Remove a service; requests in flight are finished first.

    Raises:
        ServiceError: there is no such service.
        EngineError: it is on no other host, and there is no engine.
        TemporaryError: somebody else changes it now.
    """
    with held(name), host_of(name, hosts).service(name) as service:
        status_of(service, name)
        service.remove()
