"""The step `profile`: an image under limits, asked for a while; and the smallest limits that are as fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from packager.engine.api import connect
from packager.errors import EngineError, ServiceError, UsageError
from packager.serving.profiling import Measured, Sample, measure
from packager.steps.reporting import SILENT, Reporter
from packager.steps.run import RunWish, start

__all__ = ["Measured", "Profile", "profile"]

#: Limits that are tried, the smallest first.
CPUS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 3.5, 4.0, 8.0, 16.0)
GIGABYTES = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 15.0, 32.0, 64.0)
#: How much slower the median may be than with the limits that were asked for, and how much memory is kept free.
_SLOWER, _SPARE = 1.1, 1.25
_GB = 1 << 30
#: Microseconds in which a container may use its share of the processors.
_PERIOD = 100_000


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured.

    Attributes:
        asked: under the limits that were asked for.
        tried: under others, in the order in which they were tried.
        cpus: the smallest limit of processors under which the median latency is at most a tenth longer.
        memory_gb: the smallest limit of memory in gibibytes that leaves a fifth free.
    """

    asked: Measured
    tried: tuple[Measured, ...]
    cpus: float
    memory_gb: float


def profile(
    reference: str,
    bodies: Sequence[bytes],
    *,
    cpus: float,
    memory_gb: float,
    most: int = 200,
    seconds: float = 10.0,
    timeout: float = 300.0,
    reporter: Reporter = SILENT,
) -> Profile:
    """Start an image under limits, ask it, and try which smaller ones are as fast.

    Args:
        reference: of an image that the engine has.
        bodies: of requests, in turns.
        cpus: limit in processors.
        memory_gb: limit in gibibytes.
        most: requests under each pair of limits.
        seconds: for which each is asked.
        timeout: seconds until it must be healthy.
        reporter: is told what is done.

    Raises:
        UsageError: there is no request.
        EngineError: no engine, no such image, or more is asked for than the machine has.
        ServiceError: it does not become healthy, or answers no request well.
    """
    if not bodies:
        raise UsageError("there is no request to send", remedy="give at least one")

    with _started(reference, memory_gb, timeout, reporter) as service:
        asked = _under(service, cpus, memory_gb, bodies, most, seconds, reporter)
    if not asked.succeeded:
        raise ServiceError(
            f"none of {asked.requests} requests was answered well: {asked.error}",
            remedy="mend the requests, or the entry script",
        )
    memory = smallest(GIGABYTES, asked.max_memory / _GB * _SPARE, memory_gb)
    tried: list[Measured] = []
    with _started(reference, memory, timeout, reporter) as service:
        for cpu in (each for each in CPUS if asked.max_cpus * 0.5 <= each < cpus):
            found = _under(service, cpu, memory, bodies, most, seconds, reporter)
            tried.append(found)
            if found.succeeded == found.requests and found.percentile(50) <= asked.percentile(50) * _SLOWER:
                return Profile(asked=asked, tried=tuple(tried), cpus=cpu, memory_gb=memory)
    return Profile(asked=asked, tried=tuple(tried), cpus=cpus, memory_gb=memory)


def smallest(steps: Sequence[float], needed: float, most: float) -> float:
    """Return the smallest step that is enough, and at most what was asked for."""
    return min(next((each for each in steps if each >= needed), most), most)


class _Watched(msgspec.Struct, frozen=True, kw_only=True):
    """A service whose container can be looked at, and gets another limit of processors while it runs."""

    url: str
    key: str | None
    look: Callable[[], Sample]
    limit: Callable[[float], None]


def _under(
    service: _Watched,
    cpus: float,
    memory_gb: float,
    bodies: Sequence[bytes],
    most: int,
    seconds: float,
    reporter: Reporter,
) -> Measured:
    reporter.step(f"profiling with processors: {cpus:g}, memory: {memory_gb:g} GB")
    service.limit(cpus)
    return measure(
        service.url, bodies, service.look, key=service.key, most=most, seconds=seconds, cpus=cpus,
        memory=round(memory_gb * _GB),
    )  # fmt: skip


@contextmanager
def _started(reference: str, memory_gb: float, timeout: float, reporter: Reporter) -> Iterator[_Watched]:
    """Give an image that runs with so much memory; its processors are limited once it is healthy."""
    wish = RunWish(reference=reference, publish="free", memory=f"{round(memory_gb * 1024)}m", timeout=timeout)
    with start(wish, reporter=reporter) as (service, _server), connect() as client:
        container = client.containers.get(service.container_id)

        def look() -> Sample:
            found = client.api.stats(service.container_id, stream=False, one_shot=True)
            memory = found.get("memory_stats", {})
            details = memory.get("stats", {})
            # What the kernel may drop is no need of the service's; its name differs by version of cgroups.
            cache = details.get("inactive_file", details.get("total_inactive_file", 0))
            return Sample(
                at=time.monotonic(),
                cpu=found.get("cpu_stats", {}).get("cpu_usage", {}).get("total_usage", 0) / 1e9,
                memory=max(0, memory.get("usage", 0) - cache),
            )

        def limit(cpus: float) -> None:
            container.update(cpu_period=_PERIOD, cpu_quota=round(cpus * _PERIOD))

        if look().memory == 0:
            raise EngineError("the engine tells nothing of a container's memory", remedy="its cgroups must be readable")
        yield _Watched(url=service.scoring_url, key=service.key, look=look, limit=limit)
