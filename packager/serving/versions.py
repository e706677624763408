"""Looking at a named service that may have several versions: as a whole, and one of them."""

from __future__ import annotations

import time
from typing import Any, TypeVar

from packager.errors import ServiceError, UsageError
from packager.serving.host import Deployment, Forwarder, Say
from packager.serving.status import Status
from packager.serving.traffic import DEFAULT, combined, in_flight

DeploymentT = TypeVar("DeploymentT", bound=Deployment[Any])

#: Seconds that requests in flight to a replaced backend get before it is told to end.
DRAIN = 120.0


def whole(service: Deployment[Any]) -> Status | None:
    """Return a service as it is, with its versions where it has some; None where there is none.

    Raises:
        ServiceError: what is remembered of it cannot be read.
    """
    shares = service.versions()
    if not shares:
        return service.status()
    found = {version: service.of(version).status() for version in shares}
    return combined(service.name, shares, {name: status for name, status in found.items() if status is not None})


def status_of(service: Deployment[Any], name: str) -> Status:
    """Return a service as it is.

    Raises:
        ServiceError: there is no such service.
    """
    status = whole(service)
    if status is None:
        raise ServiceError(
            f"there is no service {name!r}",
            remedy="`packager service list` shows those that there are; `packager service deploy` starts one",
        )
    return status


def chosen(service: DeploymentT, version: str | None) -> DeploymentT:
    """Return the version of a service that is meant; the service itself where it has none.

    Args:
        service: that is there.
        version: name that the user gave; None where none was given.

    Raises:
        UsageError: none was given, and there are several.
        ServiceError: there is none of that name.
    """
    shares = service.versions()
    listed = ", ".join(shares or (DEFAULT,))
    if version is None:
        if len(shares) > 1:
            raise UsageError(f"{service.name} has the versions {listed}", remedy="say which one: --version")
        return next(map(service.of, shares), service)
    if version not in (shares or (DEFAULT,)):
        raise ServiceError(
            f"{service.name} has no version {version!r}; it has {listed}",
            remedy=f"`packager service deploy {service.name} REF --version {version}` adds it",
        )
    return service.of(version) if shares else service


def drain(forwarder: Forwarder, say: Say) -> None:
    """Wait until no request is in flight to another than the current backends."""
    end = time.monotonic() + DRAIN
    while left := _left(forwarder):
        if time.monotonic() > end:
            say(f"warning: {left} requests on the old one took longer than {DRAIN:g} s")
            return
        time.sleep(0.2)


def _left(forwarder: Forwarder) -> int:
    answer = forwarder.ask("status")
    # One that does not answer has not said that there is none.
    return in_flight(answer) if answer else int(forwarder.running)
