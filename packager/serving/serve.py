"""A service for as long as a `with` block takes: what `run` and `test` do, on whichever host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from packager.serving.client import answers
from packager.serving.host import Host
from packager.serving.service import LOG_READ, Request, Server, Service, failed, wait_until_healthy, why_it_ended

RequestT = TypeVar("RequestT", bound=Request)


@contextmanager
def serve(
    host: Host[RequestT],
    request: RequestT,
    *,
    timeout: float,
) -> Iterator[tuple[Service, Server]]:
    """Run what is requested as it runs in production, and give the service as soon as it answers.

    It is stopped and removed at the end of the `with`, and whenever it does not get so far.

    Args:
        host: where.
        request: what.
        timeout: seconds until it must answer.

    Raises:
        EngineError: no engine, no such image, or the port is taken.
        ServiceError: it ended or did not answer in time; with the last lines of its log.
    """
    with host.start(request) as (service, server):
        seconds = wait_until_healthy(server, lambda: answers(service.url), timeout)
        yield msgspec.structs.replace(service, seconds=seconds, keys=request.keys), server


def follow(server: Server, write: Callable[[bytes], None]) -> None:
    """Pass on what a server writes, from its start until it ends.

    Raises:
        ServiceError: it ended by itself.
    """
    for chunk in server.tail(None, follow=True):
        write(chunk)
    raise failed(why_it_ended(server.state()), server.logs(LOG_READ))
