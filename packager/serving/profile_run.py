"""A service under limits, asked again and again: what came back, in blocks. The clock is handed in."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from packager.contract import SCORE_PATH
from packager.errors import PackagerError, ServiceError
from packager.serving.client import answers, refused
from packager.serving.host import Host
from packager.serving.killed import killed_workers
from packager.serving.profile import Block, Limits, Row, block_size, is_steady
from packager.serving.profile_samples import Sample
from packager.serving.service import LOG_READ, Request, Server, wait_until_healthy
from packager.serving.usage import Most, Usage, watching

#: Requests that are sent before anything is measured: at least, and at most.
_WARM_LEAST, _WARM_MOST = 3, 50
#: The part of the time that they may take, and a block; and the least seconds of a block.
_WARM_PART, _BLOCK_PART, _LEAST_BLOCK = 0.2, 0.05, 0.1

OUT_OF_MEMORY = "the service ran out of memory and was ended"


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """How a request went.

    Attributes:
        seconds: from the connection to the last byte of the answer.
        failure: what was wrong; empty for a good answer.
        silent: there was no answer in time.
    """

    seconds: float
    failure: str = ""
    silent: bool = False


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How long one measurement may take.

    Attributes:
        seconds: of measuring.
        requests: at most.
        silence: seconds without an answer after which a service hangs.
        ready: seconds until it must be healthy.
    """

    seconds: float
    requests: int
    silence: float
    ready: float


class Asked(Protocol):
    """A service that runs under limits."""

    @property
    def start(self) -> float:
        """Seconds until it was healthy."""

    def ask(self, sample: Sample) -> Answered:
        """Send one request."""

    def usage(self) -> Usage | None:
        """Return what it uses; None where nobody can tell."""

    def out_of_memory(self) -> bool:
        """Whether a process of it was ended at the memory limit."""


class EndedError(Exception):
    """Nothing more is to be measured of a service, for the reason that it has as its text."""


def measure(
    start: Callable[[], AbstractContextManager[Asked]],
    limits: Limits,
    samples: Sequence[Sample],
    bounds: Bounds,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Row:
    """Start a service, send it the samples in turn, and return what was measured; what goes wrong is said in the row.

    Args:
        start: the service under these limits.
        limits: that are in force.
        samples: at least one.
        bounds: of time and number.
        clock: seconds.
    """
    most, blocks, began = Most(), list[Block](), 0.0
    row = Row(limits=limits)
    try:
        with start() as service:
            began = service.start
            try:
                with watching(service.usage, most):
                    for block in _blocks(service, samples, bounds, most, clock):
                        blocks.append(block)
            finally:
                out_of_memory = service.out_of_memory()
                row = msgspec.structs.replace(row, start=began, out_of_memory=out_of_memory)
            if out_of_memory:
                raise EndedError(OUT_OF_MEMORY)
    except EndedError as ended:
        reason = OUT_OF_MEMORY if row.out_of_memory else str(ended)
        row = msgspec.structs.replace(row, reason=reason)
    except ServiceError as error:
        # Its log follows in further lines.
        first = error.message.partition("\n")[0]
        row = msgspec.structs.replace(row, reason=first, out_of_memory="out of memory" in first)
    return msgspec.structs.replace(row, blocks=tuple(blocks), memory=most.memory)


def _blocks(
    service: Asked, samples: Sequence[Sample], bounds: Bounds, most: Most, clock: Callable[[], float]
) -> Iterator[Block]:
    latency = _warm_up(service, samples, bounds, clock)
    size = block_size(latency, len(samples), max(bounds.seconds * _BLOCK_PART, _LEAST_BLOCK))
    end, sent, done = clock() + bounds.seconds, 0, list[Block]()
    used = service.usage()
    while sent < bounds.requests and (not done or clock() < end) and not is_steady(done):
        count = min(size, bounds.requests - sent)
        block = _block(service, samples, range(sent, sent + count), end, clock)
        sent += block.total
        now = service.usage()
        most.see(now)
        if used is not None and now is not None:
            block = msgspec.structs.replace(block, cpu=max(now.cpu - used.cpu, 0.0))
        used = now
        # A piece of a block that time cut off would count as much as a whole one.
        if not done or block.total == count:
            done.append(block)
            yield block
        if block.failures and service.out_of_memory():
            raise EndedError(OUT_OF_MEMORY)
        if block.failures and block.failures[-1].startswith(_SILENT):
            raise EndedError(block.failures[-1])


def _block(service: Asked, samples: Sequence[Sample], numbers: range, end: float, clock: Callable[[], float]) -> Block:
    good: list[float] = []
    failures: list[str] = []
    began = clock()
    for number in numbers:
        answered = service.ask(samples[number % len(samples)])
        if answered.failure:
            failures.append(answered.failure)
        else:
            good.append(answered.seconds)
        if answered.silent or clock() >= end:
            break
    return Block(latencies=tuple(good), failures=tuple(failures), seconds=clock() - began)


def _warm_up(service: Asked, samples: Sequence[Sample], bounds: Bounds, clock: Callable[[], float]) -> float:
    """Send what is not measured, and return the seconds that a request takes.

    Raises:
        EndedError: it hangs, or has no memory.
    """
    end, found = clock() + _WARM_PART * bounds.seconds, list[float]()
    for number in range(min(max(len(samples), _WARM_LEAST), _WARM_MOST)):
        answered = service.ask(samples[number % len(samples)])
        if answered.failure and service.out_of_memory():
            raise EndedError(OUT_OF_MEMORY)
        if answered.silent:
            raise EndedError(answered.failure)
        found.append(answered.seconds)
        if number + 1 >= _WARM_LEAST and clock() >= end:
            break
    # The first ones are slower: caches, and what is imported late.
    return sorted(found)[len(found) // 2]


# --- a service of a host ----------------------------------------------------------------------------------------------

_SILENT = "no answer within"


class _Served:
    """A server of a host, as `Asked`."""

    def __init__(
        self, url: str, server: Server, start: float, key: str | None, silence: float, look: Callable[[], Usage | None]
    ) -> None:
        self.start = start
        self._parts, self._server, self._silence, self._look = urlsplit(url), server, silence, look
        self._headers = {"Authorization": f"Bearer {key}"} if key is not None else {}

    def ask(self, sample: Sample) -> Answered:
        """Send one request, on a connection of its own as most callers do."""
        parts = self._parts
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=self._silence)
        began = time.perf_counter()
        try:
            connection.request("POST", SCORE_PATH, sample.body, {"Content-Type": sample.content_type, **self._headers})
            answer = connection.getresponse()
            body = answer.read()
            seconds = time.perf_counter() - began
        except TimeoutError:
            failure = f"{_SILENT} {self._silence:.3g} s ({sample.name})"
            return Answered(seconds=time.perf_counter() - began, failure=failure, silent=True)
        except (OSError, http.client.HTTPException) as error:
            failure = f"no answer: {error or type(error).__name__} ({sample.name})"
            return Answered(seconds=time.perf_counter() - began, failure=failure)
        finally:
            connection.close()
        if answer.status < http.HTTPStatus.BAD_REQUEST:
            return Answered(seconds=seconds)
        said = refused(SCORE_PATH, answer.status, answer.reason, dict(answer.getheaders()), body).message
        return Answered(seconds=seconds, failure=f"{said.partition(chr(10))[0]} ({sample.name})")

    def usage(self) -> Usage | None:
        """Return what it uses."""
        return self._look()

    def out_of_memory(self) -> bool:
        """Ask its host; where that does not count what the kernel ended, the log tells of it."""
        try:
            return self._server.state().out_of_memory or bool(killed_workers(self._server.logs(LOG_READ)))
        except (PackagerError, OSError):
            return False


@contextmanager
def serving(
    host: Host[Any],
    request: Request,
    bounds: Bounds,
    usage: Callable[[Server], Usage | None],
    limited: AbstractContextManager[None],
) -> Iterator[Asked]:
    """Start a service for a measurement; it is removed at the end, whatever happens.

    Args:
        host: where.
        request: what, with its limits.
        bounds: of time.
        usage: of a server.
        limited: limits what is started in it, where a request cannot.

    Raises:
        EngineError: the engine does not start it.
        ServiceError: it ended, or did not answer in time; with the last lines of its log.
    """
    with ExitStack() as stack:
        with limited:
            service, server = stack.enter_context(host.start(request))
        seconds = wait_until_healthy(server, lambda: answers(service.url), bounds.ready)
        key = request.keys.primary if request.keys is not None else None
        yield _Served(service.url, server, seconds, key, bounds.silence, lambda: usage(server))
