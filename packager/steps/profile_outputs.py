"""What `model profile --format json` prints: its types, and the value of a profile."""

from __future__ import annotations

from typing import Any

import msgspec

from packager.serving.profile import Limits, Profile, Row, remarks, too_few
from packager.serving.profile_report import details, gigabytes, ordered, spread_data
from packager.steps.output import Output


class Amounts(Output, frozen=True, rename={"memory_in_gb": "memoryInGB"}):
    """Limits of a service.

    Attributes:
        cpu: processors.
        memoryInGB: memory in GB (2**30 bytes); null where it is not limited.
    """

    cpu: float
    memory_in_gb: float | None


class Spread(Output, frozen=True):
    """How the blocks of a measurement differ.

    Attributes:
        median: of the blocks.
        low: first quartile.
        high: third quartile.
        spread: between the two.
    """

    median: float
    low: float
    high: float
    spread: float


class ProfiledRow(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename={
        "created": "createdTime",
        "requested_cpu": "requestedCpu",
        "requested_memory": "requestedMemoryInGB",
        "requested_rate": "requestedQueriesPerSecond",
        "used_cpu": "maxUtilizedCpu",
        "used_memory": "maxUtilizedMemoryInGB",
        "total": "totalQueries",
        "good": "successQueries",
        "success_rate": "successRate",
        "average": "averageLatencyInMs",
        "p50": "latencyPercentile50InMs",
        "p90": "latencyPercentile90InMs",
        "p95": "latencyPercentile95InMs",
        "p99": "latencyPercentile99InMs",
        "p999": "latencyPercentile999InMs",
        "rate": "measuredQueriesPerSecond",
    },
):
    """What was measured under some limits; the first names are those of azureml-core's `ModelProfile.get_details()`.

    Attributes:
        name: of the profile.
        description: in the user's words.
        createdTime: when the profile began.
        state: `Succeeded` or `Failed`.
        requestedCpu: processors that the service may use.
        requestedMemoryInGB: memory that it may use, in GB (2**30 bytes); null where it was not limited.
        requestedQueriesPerSecond: 0: a request is sent when the one before it is answered.
        maxUtilizedCpu: processors that the busiest block of requests used; null where nothing counts them.
        maxUtilizedMemoryInGB: memory that was used at most, in GB (2**30 bytes); null where nothing counts it.
        totalQueries: requests that were sent and measured.
        successQueries: those that were answered well.
        successRate: those, in percent.
        averageLatencyInMs: of good answers, as those that follow.
        latencyPercentile50InMs: half of the answers took no longer.
        latencyPercentile90InMs: nine of ten.
        latencyPercentile95InMs: 95 of 100.
        latencyPercentile99InMs: 99 of 100.
        latencyPercentile999InMs: 999 of 1000.
        measuredQueriesPerSecond: good answers in a second, the median of the blocks.
        error: why it failed; null where it did not.
        latency: milliseconds: how the blocks' averages differ.
        throughput: good answers in a second: how the blocks differ.
        blocks: of requests.
        starts: how often the service was started.
        start_seconds: until it was healthy.
        out_of_memory: the kernel ended a process at the memory limit.
        remarks: what to know of the row.
    """

    name: str
    description: str
    created: str
    state: str
    requested_cpu: float
    requested_memory: float | None
    requested_rate: float
    used_cpu: float | None
    used_memory: float | None
    total: int
    good: int
    success_rate: float
    average: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    p999: float | None
    rate: float | None
    error: str | None
    latency: Spread | None
    throughput: Spread | None
    blocks: int
    starts: int
    start_seconds: float
    out_of_memory: bool
    remarks: tuple[str, ...]


class NotSent(Output, frozen=True):
    """A sample that was not sent.

    Attributes:
        name: file, or file and row.
        reason: why not.
    """

    name: str
    reason: str


class Profiled(Output, frozen=True):
    """A service, measured under several limits.

    Attributes:
        name: of the profile.
        description: in the user's words.
        image: that ran.
        target: deployment flavour.
        platform: OCI os/arch.
        created: when the profile began, RFC 3339.
        machine: what the machine has that it ran on.
        samples: requests that were sent in turn.
        not_sent: samples that were not.
        latency_ms: what 95 of 100 answers were to keep; null where the best latency was the measure.
        details: what was measured under the limits that were asked for.
        rows: all limits that were tried, the smallest first.
        recommended: the least limits that hold the latency; null where none do.
        advice: why these, or why none.
        note: what is not as in a container; empty for one.
    """

    name: str
    description: str
    image: str
    target: str
    platform: str
    created: str
    machine: Amounts
    samples: tuple[str, ...]
    not_sent: tuple[NotSent, ...]
    latency_ms: float | None
    details: ProfiledRow
    rows: tuple[ProfiledRow, ...]
    recommended: Amounts | None
    advice: str
    note: str


def as_data(profile: Profile) -> dict[str, Any]:
    """Return a profile as JSON can hold it."""
    machine = Limits(cpu=profile.cpus, memory=profile.machine_memory)
    return {
        "name": profile.name,
        "description": profile.description,
        "image": profile.image,
        "target": profile.target,
        "platform": profile.platform,
        "created": profile.created,
        "machine": _amounts(machine),
        "samples": list(profile.samples),
        "not_sent": [{"name": each.name, "reason": each.reason} for each in profile.skipped],
        "latency_ms": None if profile.asked is None else profile.asked * 1000,
        "details": row_data(profile, profile.rows[0]),
        "rows": [row_data(profile, row) for row in ordered(profile.rows)],
        "recommended": None if profile.recommended is None else _amounts(profile.recommended),
        "advice": profile.advice,
        "note": profile.note,
    }


def row_data(profile: Profile, row: Row) -> dict[str, Any]:
    """Return a row by the names of Azure ML, with what it does not have."""
    return {
        **details(profile, row),
        "latency": spread_data(row.latency, 1000),
        "throughput": spread_data(row.throughput),
        "blocks": len(row.blocks),
        "starts": row.starts,
        "start_seconds": round(row.start, 3),
        "out_of_memory": row.out_of_memory,
        "remarks": [*remarks(row), *([few] if (few := too_few([row])) else [])],
    }


def _amounts(limits: Limits) -> dict[str, Any]:
    return {"cpu": limits.cpu, "memoryInGB": gigabytes(limits.memory)}
