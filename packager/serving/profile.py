"""What a profile measured: requests in blocks, and the figures that follow from them. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec

from packager.units import binary_size

#: Bytes of what is called a GB here, as in Azure ML's and Kubernetes' `Gi`.
GB = 1 << 30

#: Blocks that are needed for a spread, and the spread, over the median, at which no more are measured.
LEAST_BLOCKS, STEADY = 8, 0.05
#: Fewer blocks than these have quartiles that tell nothing.
FEW_BLOCKS = 4

#: Fewer answers than these tell nothing of the slowest hundredth and the slowest thousandth.
_FOR_P99, _FOR_P999 = 100, 1000

#: The spread, over the median, from which on somebody should measure again.
_RESTLESS = 0.25

Ending = Literal["Succeeded", "Failed"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a service may use.

    Attributes:
        cpu: processors.
        memory: bytes; None where it is not limited (without an engine).
    """

    cpu: float
    memory: int | None

    def __str__(self) -> str:
        memory = "" if self.memory is None else f", {binary_size(self.memory)}"
        return f"{self.cpu:g} cpu{memory}"


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that were sent one after the other.

    Attributes:
        latencies: seconds of each good answer, from the connection to the last byte.
        failures: what was wrong with each of the others.
        seconds: that the block took.
        cpu: seconds of processors that the service used meanwhile; None where nobody can tell.
    """

    latencies: tuple[float, ...]
    failures: tuple[str, ...] = ()
    seconds: float
    cpu: float | None = None

    @property
    def total(self) -> int:
        """Requests that were sent."""
        return len(self.latencies) + len(self.failures)


class Quartiles(msgspec.Struct, frozen=True, kw_only=True):
    """How the blocks of one measurement differ: the middle one, and between what the middle half of them is."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """The interquartile range."""
        return self.high - self.low


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured under some limits.

    Attributes:
        limits: in force.
        blocks: of requests; none where the service did not start.
        memory: bytes that it used at most; None where nobody knows.
        start: seconds from its start to its first good answer to the health check.
        starts: how often it was started.
        reason: why there is no more than this, or what was wrong; empty where all went well.
        out_of_memory: the kernel ended a process of it at the memory limit.
    """

    limits: Limits
    blocks: tuple[Block, ...] = ()
    memory: int | None = None
    start: float = 0.0
    starts: int = 1
    reason: str = ""
    out_of_memory: bool = False

    @property
    def latencies(self) -> list[float]:
        """Seconds of every good answer, the shortest first."""
        return sorted(each for block in self.blocks for each in block.latencies)

    @property
    def total(self) -> int:
        """Requests that were sent."""
        return sum(block.total for block in self.blocks)

    @property
    def good(self) -> int:
        """Requests that were answered well."""
        return sum(len(block.latencies) for block in self.blocks)

    @property
    def success_rate(self) -> float:
        """Requests that were answered well, in percent."""
        return 100.0 * self.good / self.total if self.total else 0.0

    @property
    def state(self) -> Ending:
        """As Azure ML names it: a row with a reason that stopped it, or without any good answer, failed."""
        return "Succeeded" if self.good and not self.out_of_memory and not self.reason else "Failed"

    @property
    def latency(self) -> Quartiles | None:
        """Seconds: how the blocks' average latencies differ; None without a good answer."""
        averages = [statistics.fmean(block.latencies) for block in self.blocks if block.latencies]
        return quartiles(averages) if averages else None

    @property
    def throughput(self) -> Quartiles | None:
        """Good answers in a second: how the blocks differ; None without a good answer."""
        rates = [len(block.latencies) / block.seconds for block in self.blocks if block.latencies and block.seconds]
        return quartiles(rates) if rates else None

    @property
    def cpu(self) -> float | None:
        """Processors that the busiest block used; None where nothing was measured."""
        used = [block.cpu / block.seconds for block in self.blocks if block.cpu is not None and block.seconds > 0]
        return max(used) if used else None


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A sample that was not sent.

    Attributes:
        name: file, or file and row.
        reason: why not.
    """

    name: str
    reason: str


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A service, measured under several limits.

    Attributes:
        name: of the profile.
        image: that ran, as people know it.
        target: that it was made for.
        platform: of it.
        created: when it began, RFC 3339.
        description: in the user's words.
        cpus: processors of the machine that it ran on.
        machine_memory: bytes of that machine.
        samples: names of the requests that were sent in turn.
        skipped: samples that were not.
        asked: seconds that 95 of 100 answers were to keep; None where the best latency was the measure.
        rows: in the order in which they were measured; the first is of the limits that were asked for.
        recommended: the least limits that hold the latency; None where none do.
        advice: why these, or why none.
        note: what is not as in a container; empty for one.
    """

    name: str
    image: str
    target: str
    platform: str
    created: str
    description: str = ""
    cpus: int
    machine_memory: int
    samples: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    asked: float | None = None
    rows: tuple[Row, ...]
    recommended: Limits | None = None
    advice: str = ""
    note: str = ""


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the least of some values that so many percent of them are not above (nearest rank).

    Args:
        ordered: at least one value, the smallest first.
        percent: above 0, at most 100.
    """
    rank = -(-round(percent * 10) * len(ordered) // 1000)  # in whole numbers: 99.9 has no exact binary form
    return ordered[max(rank, 1) - 1]


def quartiles(values: Sequence[float]) -> Quartiles:
    """Return median and quartiles of at least one value; of one value all three are it."""
    if len(values) == 1:
        return Quartiles(median=values[0], low=values[0], high=values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Quartiles(median=median, low=low, high=high)


def is_steady(blocks: Sequence[Block]) -> bool:
    """Tell whether more blocks would say the same: there are enough of them, and they differ little."""
    averages = [statistics.fmean(block.latencies) for block in blocks if block.latencies]
    if len(averages) < LEAST_BLOCKS:
        return False
    found = quartiles(averages)
    return found.spread <= STEADY * found.median


def block_size(latency: float, samples: int, seconds: float) -> int:
    """Return how many requests a block has: whole rounds of the samples where a block has the time for one.

    Args:
        latency: seconds that a request took while it warmed up.
        samples: how many there are.
        seconds: that a block is to take.
    """
    count = max(round(seconds / max(latency, 1e-6)), 1)
    return -(-count // samples) * samples if count >= samples else count


def joined(first: Row, again: Row) -> Row:
    """Return two measurements under the same limits as one: so the spread has what differs from start to start."""
    memory = max((each for each in (first.memory, again.memory) if each is not None), default=None)
    return msgspec.structs.replace(
        first,
        blocks=(*first.blocks, *again.blocks),
        memory=memory,
        starts=first.starts + again.starts,
        reason=first.reason or again.reason,
        out_of_memory=first.out_of_memory or again.out_of_memory,
    )


def is_restless(row: Row) -> bool:
    """Tell whether the blocks of a row differ so much that somebody should measure again."""
    latency = row.latency
    return latency is not None and len(row.blocks) >= FEW_BLOCKS and latency.spread > _RESTLESS * latency.median


def remarks(row: Row) -> list[str]:
    """Return what somebody should know of a row: why it failed, which requests did, and how far to trust it."""
    found = [row.reason] if row.reason else []
    if failed := row.total - row.good:
        first = next(failure for block in row.blocks for failure in block.failures)
        found.append(f"{failed} of {row.total} requests failed: {first}")
    latency = row.latency
    if latency is not None and len(row.blocks) < FEW_BLOCKS:
        found.append(f"{len(row.blocks)} block{'s' if len(row.blocks) > 1 else ''} of requests: too few for a spread")
    elif is_restless(row):
        found.append("its blocks differ much: the machine does other things, or the requests do")
    return found


def too_few(rows: Sequence[Row]) -> str:
    """Return which percentiles of some rows rest on too few answers; empty where none does."""
    least = min((row.good for row in rows if row.good), default=_FOR_P999)
    if least >= _FOR_P999:
        return ""
    which = "99th and 99.9th percentiles are" if least < _FOR_P99 else "99.9th percentile is"
    return f"{least} answers are few: the {which} that of the slowest (--requests, --duration)"
