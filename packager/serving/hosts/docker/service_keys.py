"""The keys of a named service: shown, and replaced one at a time while it runs."""

from __future__ import annotations

from contextlib import nullcontext

from packager.engine.api import connect
from packager.errors import ServiceError, UsageError
from packager.serving.deploy import held, status_of
from packager.serving.hosts.docker.service_containers import ServiceContainers
from packager.serving.hosts.docker.volume import get_keys, put_keys
from packager.serving.service import KeyPair, Which


def show_keys(name: str, regenerate: Which | None = None) -> KeyPair:
    """Return the keys of a service; with `regenerate`, after one was made new, which holds from the next request on.

    Raises:
        UsageError: its requests need no key.
        ServiceError: there is no such service, or its container is gone.
        EngineError: no engine.
        TemporaryError: somebody else changes this service now.
    """
    with held(name) if regenerate else nullcontext(), connect() as client:
        service = ServiceContainers(client, name)
        status_of(service)
        current = service.get("current")
        if current is None:
            raise ServiceError(f"the container of {name} is gone, and its keys with it", remedy="deploy it again")
        found = get_keys(current)
        if found is None:
            raise UsageError(
                f"the requests of {name} need no key", remedy="`server: {auth: key}` in the spec of its image"
            )
        if regenerate is not None:
            found = found.regenerated(regenerate)
            put_keys(current, found)
        return found
