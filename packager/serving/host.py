"""What serves: hosts, the named services that they have, and the backends of those. `deploy` and `serve` act on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self, TypeVar

from packager.serving.service import Container, KeyPair, Mounted, Server, Service
from packager.serving.status import Change, Status

#: What a host starts: an image, or a package laid down on this machine.
RequestT = TypeVar("RequestT", contravariant=True)

Say = Callable[[str], None]


class Retirable(Protocol):
    """What can be kept, once it has ended, to be started again."""

    def retire(self) -> None:
        """Keep it as the backend before the current one; that which was kept until now goes."""


class Backend(Server, Retirable, Protocol):
    """A server that gets the requests of a named service, or is to get them."""

    @property
    def title(self) -> str:
        """What it runs, for people."""

    @property
    def shown(self) -> str:
        """What it runs, for people, with the digest: a tag is that of another image after each build."""

    def healthy(self) -> bool:
        """Ask it for its health once, past the service's port."""

    def point(self) -> bool:
        """Make it the current one, whichever was; return whether the forwarder has seen it. It may be so already."""

    def keep(self) -> None:
        """Note that it was healthy: from now on its host starts it again, where the host can."""

    def renewal(self, mounts: Sequence[Mounted]) -> Callable[[], Container] | None:
        """Return what starts its workers anew in place, so that they read again what is mounted.

        That returns when the old workers are gone, and gives what tells whether the new ones came up. None where it
        has not exactly these folders mounted over its app, does not run, or its host has no such way.
        """

    def leave(self, grace: float) -> None:
        """Let it end within so many seconds, as `stop` does; whether it has is not waited for."""


class Forwarder(Protocol):
    """What owns the port of a service and passes requests on (`packager/programs/service/forwarder.py`)."""

    @property
    def running(self) -> bool:
        """It is there, and runs."""

    def ask(self, command: str, /) -> dict[str, Any]:
        """Return its answer to `status` or `switch`; empty where it gives none."""


class Deployed(Protocol):
    """A named service, as it is; or the name of one that is not there."""

    def status(self) -> Status | None:
        """Return its state and addresses; None where there is none."""

    def current(self) -> Backend | None:
        """Return the backend that gets the requests; None where it is gone."""

    def remove(self) -> None:
        """Remove everything of it, and what is left of one; requests in flight are finished first."""


class Replaceable(Protocol[RequestT]):
    """The backends of a named service."""

    def first(self, request: RequestT) -> Backend:
        """Make the service, and start its backend as the current one."""

    def replacement(self, change: Change, say: Say) -> Callable[[], Backend]:
        """Return what starts another backend beside the current one, once everything is known that forbids it."""

    def anew(self, request: RequestT) -> Callable[[], Backend] | None:
        """Return what starts another backend beside the current one, all of it as requested.

        None where that cannot be: a part is gone, the port is another one, or the host has no such way.
        """

    def clear(self) -> None:
        """Remove at once all backends but the current one."""


class Retained(Protocol):
    """The backend that a named service had before its last update (`Backend.retire`); it has ended."""

    def retired(self, env: dict[str, str]) -> Callable[[], Backend]:
        """Return what starts the one before beside the current one; `env` has values that are nowhere any more."""


class Pausable(Protocol):
    """A named service that is ended for a while; its port is free meanwhile, and its name is not."""

    def halt(self) -> None:
        """End forwarder and backend; requests in flight are finished first."""

    def resume(self, env: dict[str, str]) -> Backend:
        """Start both again, and return the backend; `env` has values that are nowhere any more."""


class Keyed(Protocol):
    """The keys of a named service; they may change while it runs."""

    def keys(self) -> KeyPair | None:
        """Return them; None where its requests need none."""

    def put_keys(self, pair: KeyPair) -> None:
        """Replace them; the new ones hold from the next request on."""


class Versioned(Protocol[RequestT]):
    """The versions of a named service. A service that has none is what all other methods are about.

    Where it has some, each of them is a `Deployment` with backends of its own; forwarder and keys are those of all.
    """

    def versions(self) -> dict[str, int]:
        """Return the share of each version in percent; empty where the service has one backend and no versions."""

    def of(self, version: str) -> Self:
        """Return the service as one of its versions, whether it is there or not."""

    def route(self, shares: Mapping[str, int]) -> bool:
        """Remember these shares, and tell the forwarder; return whether it has them."""

    def join(self, request: RequestT) -> Backend:
        """Start the backend of this version in a service that is there."""

    def drop(self) -> None:
        """Remove at once all backends of this version."""


class Deployment(Deployed, Replaceable[RequestT], Retained, Pausable, Keyed, Versioned[RequestT], Protocol[RequestT]):
    """A named service of a host.

    Attributes:
        name: of the service.
        title: what it is called in messages.
        unit: what a backend is on this host, in a word.
        spec: the spec of what it runs, in words.
    """

    name: str
    title: str
    unit: str
    spec: str

    @property
    def forwarder(self) -> Forwarder:
        """What owns its port."""


class Host(Protocol[RequestT]):
    """Where services run."""

    def names(self) -> tuple[str, ...]:
        """Return the names of its services."""

    def service(self, name: str) -> AbstractContextManager[Deployment[RequestT]]:
        """Give a named service, whether it is there or not."""

    def start(self, request: RequestT) -> AbstractContextManager[tuple[Service, Server]]:
        """Start a server; it is ended and removed at the end of the `with`."""
