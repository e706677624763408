"""What is remembered of a service without Docker, and of each of its backends."""

from __future__ import annotations

import msgspec

from packager.contract import INPUTS_LABEL
from packager.serving.hosts.process.backend import Launch
from packager.serving.hosts.process.process import Process


class ServiceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a service: where it is reached, its forwarder, and of which spec and target it is."""

    address: str
    port: int
    forwarder: Process
    spec: str
    target: str


class BackendRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a backend.

    Attributes:
        process: of its keeper.
        port: on 127.0.0.1.
        title: what it is, for people.
        variables: names of those that the user gave.
        created: when (RFC 3339).
        auth: its requests need a key.
        healthy: it answered once.
        launch: how it is started again; None where an older packager started it.
        changed: names of the user's variables whose values the backend before it did not have, or had others of.
        labels: that an image of its package would have.
        spec: that it was made of; empty where an older packager started it: it is the service's.
        target: of the spec.
    """

    process: Process
    port: int
    title: str
    variables: tuple[str, ...]
    created: str
    auth: bool = False
    healthy: bool = False
    launch: Launch | None = None
    changed: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    spec: str = ""
    target: str = ""


def digest_in(record: BackendRecord) -> str:
    """Return the digest of what a backend's package is made of."""
    return record.labels.get(INPUTS_LABEL, "")


def values_in(record: BackendRecord) -> dict[str, str]:
    """Return the values of the user's variables that a backend's process has; none of one that has ended."""
    return {name: value for name, value in record.process.variables().items() if name in record.variables}


def changed_names(before: dict[str, str], env: dict[str, str]) -> tuple[str, ...]:
    """Return the names of variables that have not the value that they had."""
    return tuple(sorted(name for name in before.keys() | env.keys() if before.get(name) != env.get(name)))
