"""What a service takes: requests sent to it under limits, timed, while its processors and memory are watched."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice

import msgspec

from packager.errors import PackagerError, TemporaryError
from packager.serving.client import score

#: Seconds between two looks at a container; processors are averaged over as long at least.
_LOOK, _WINDOW = 0.1, 0.5


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A look at a container.

    Attributes:
        at: when, in seconds of one clock.
        cpu: seconds of processors that it has used.
        memory: bytes that it uses, without what the kernel may drop.
    """

    at: float
    cpu: float
    memory: int


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured under one pair of limits.

    Attributes:
        cpus: limit in processors; None for none.
        memory: limit in bytes; None for none.
        requests: that were sent.
        succeeded: that were answered well.
        seconds: from the first request to the last answer.
        latencies: of the good answers in milliseconds, sorted.
        max_cpus: the most processors in use, over half a second at least.
        max_memory: the most bytes in use.
        error: of the first bad answer; empty where there was none.
    """

    cpus: float | None
    memory: int | None
    requests: int
    succeeded: int
    seconds: float
    latencies: tuple[float, ...]
    max_cpus: float
    max_memory: int
    error: str = ""

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.succeeded / self.seconds if self.seconds else 0.0

    @property
    def average(self) -> float:
        """Of the latencies, in milliseconds; 0 where there are none."""
        return math.fsum(self.latencies) / len(self.latencies) if self.latencies else 0.0

    def percentile(self, percent: float) -> float:
        """Return the latency in milliseconds that so many percent do not exceed; 0 where there are none."""
        if not self.latencies:
            return 0.0
        return self.latencies[max(0, math.ceil(len(self.latencies) * percent / 100) - 1)]


def measure(
    url: str,
    bodies: Sequence[bytes],
    look: Callable[[], Sample],
    *,
    key: str | None = None,
    most: int,
    seconds: float,
    cpus: float | None,
    memory: int | None,
    clock: Callable[[], float] = time.monotonic,
) -> Measured:
    """Send requests one after the other, and return what they took.

    Args:
        url: where they are posted.
        bodies: of them, in turns; at least one.
        look: at the container.
        key: that they need.
        most: requests.
        seconds: after which no other is sent.
        cpus: limit, for the record.
        memory: limit in bytes, for the record.
        clock: the time, in seconds.
    """
    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    latencies: list[float] = []
    sent, error = 0, ""
    with _watched(look) as samples:
        start = clock()
        for body in islice(cycle(bodies), most):
            if sent and clock() - start > seconds:
                break
            sent += 1
            before = clock()
            try:
                score(url, body, headers=headers, timeout=max(60.0, seconds))
            except TemporaryError as slow:
                error = error or slow.message
            except PackagerError as bad:
                error = error or bad.message
            else:
                latencies.append((clock() - before) * 1000)
        passed = clock() - start
    return Measured(
        cpus=cpus,
        memory=memory,
        requests=sent,
        succeeded=len(latencies),
        seconds=passed,
        latencies=tuple(sorted(latencies)),
        max_cpus=most_cpus(samples),
        max_memory=max((each.memory for each in samples), default=0),
        error=error,
    )


def most_cpus(samples: Sequence[Sample]) -> float:
    """Return the most processors in use between two looks that are half a second apart, or the first and the last."""
    found = 0.0
    for index, first in enumerate(samples):
        later = (each for each in samples[index + 1 :] if each.at - first.at >= _WINDOW)
        second = next(later, samples[-1] if index == 0 else None)
        if second is not None and second.at > first.at:
            found = max(found, (second.cpu - first.cpu) / (second.at - first.at))
    return found


@contextmanager
def _watched(look: Callable[[], Sample]) -> Iterator[list[Sample]]:
    """Look at a container again and again in a thread of its own, and once more at the end."""
    samples: list[Sample] = [look()]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK):
            samples.append(look())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()
        samples.append(look())
