"""A profile for people, as lines; and its figures by the names that Azure ML gives them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from packager.serving.profile import FEW_BLOCKS, GB, Limits, Profile, Quartiles, Row, percentile, remarks, too_few
from packager.units import binary_size

#: What Azure ML calls the percentiles that it has.
PERCENTILES = {
    "latencyPercentile50InMs": 50.0,
    "latencyPercentile90InMs": 90.0,
    "latencyPercentile95InMs": 95.0,
    "latencyPercentile99InMs": 99.0,
    "latencyPercentile999InMs": 99.9,
}

HEAD = ("cpu", "memory", "state", "latency", "p50", "p95", "p99", "requests/s", "cpu used", "memory used", "requests")


def gigabytes(size: int | None) -> float | None:
    """Return bytes as GB (2**30), to a thousandth and a bit."""
    return None if size is None else round(size / GB, 4)


def details(profile: Profile, row: Row) -> dict[str, Any]:
    """Return a row as `ModelProfile.get_details()` of azureml-core has it; what was not measured is None.

    `requestedQueriesPerSecond` is 0: a request is sent when the one before it is answered.
    """
    latencies = row.latencies
    rate = row.throughput
    found: dict[str, Any] = {
        "name": profile.name,
        "description": profile.description,
        "createdTime": profile.created,
        "state": row.state,
        "requestedCpu": row.limits.cpu,
        "requestedMemoryInGB": gigabytes(row.limits.memory),
        "requestedQueriesPerSecond": 0.0,
        "maxUtilizedCpu": None if row.cpu is None else round(row.cpu, 3),
        "maxUtilizedMemoryInGB": gigabytes(row.memory),
        "totalQueries": row.total,
        "successQueries": row.good,
        "successRate": round(row.success_rate, 2),
        "averageLatencyInMs": _ms(sum(latencies) / len(latencies)) if latencies else None,
    }
    for name, percent in PERCENTILES.items():
        found[name] = _ms(percentile(latencies, percent)) if latencies else None
    found["measuredQueriesPerSecond"] = None if rate is None else round(rate.median, 2)
    found["error"] = row.reason or None
    return found


def spread_data(found: Quartiles | None, factor: float = 1.0) -> dict[str, float] | None:
    """Return median, quartiles and their distance as JSON can hold them; None for nothing."""
    if found is None:
        return None
    values = {"median": found.median, "low": found.low, "high": found.high, "spread": found.spread}
    return {name: round(value * factor, 3) for name, value in values.items()}


def rows_of(profile: Profile) -> list[tuple[str, ...]]:
    """Return the table: its head, and a row for each limits that were tried, the recommended one marked."""
    return [HEAD, *(_cells(row, _is_recommended(profile, row)) for row in ordered(profile.rows))]


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Return rows by their limits, the smallest first."""
    return sorted(rows, key=lambda row: (row.limits.cpu, row.limits.memory or 0))


def _is_recommended(profile: Profile, row: Row) -> bool:
    wanted = profile.recommended
    return wanted is not None and row.limits.cpu == wanted.cpu and row.limits.memory in (wanted.memory, None)


def _cells(row: Row, recommended: bool) -> tuple[str, ...]:
    latencies, latency, rate = row.latencies, row.latency, row.throughput
    shown = [_shown_ms(percentile(latencies, percent)) if latencies else "-" for percent in (50, 95, 99)]
    state = "out of memory" if row.out_of_memory else row.state
    return (
        f"{row.limits.cpu:g}",
        _shown_memory(row.limits.memory),
        f"{state}{' *' if recommended else ''}",
        "-" if latency is None else f"{_shown_ms(latency.median)}{_about(row, _shown_ms(latency.spread / 2))} ms",
        *shown,
        "-" if rate is None else f"{rate.median:.1f}{_about(row, f'{rate.spread / 2:.1f}')}",
        "-" if row.cpu is None else f"{row.cpu:.2f}",
        _shown_memory(row.memory),
        f"{row.good}/{row.total}",
    )


def remark_lines(profile: Profile) -> list[str]:
    """Return what somebody should know: of rows, of samples that were not sent, of the place."""
    of: dict[str, list[Row]] = {}
    for row in ordered(profile.rows):
        for each in remarks(row):
            of.setdefault(each, []).append(row)
    lines = [f"{_whose(rows, profile)}: {each}" for each, rows in of.items()]
    lines += [f"not sent: {each.name}: {each.reason}" for each in profile.skipped[:_SHOWN]]
    if len(profile.skipped) > _SHOWN:
        lines.append(f"not sent: {len(profile.skipped) - _SHOWN} more")
    return [*lines, *(each for each in (too_few(profile.rows), profile.note) if each)]


_SHOWN = 10
#: Rows with the same remark that are named one by one.
_NAMED = 2


def _whose(rows: Sequence[Row], profile: Profile) -> str:
    if len(rows) > _NAMED:
        return f"{len(rows)} of {len(profile.rows)} rows"
    return "; ".join(str(row.limits) for row in rows)


def advice_line(profile: Profile) -> str:
    """Return what is recommended, and why; what there is to recommend is the last line, as a spec has it."""
    if profile.recommended is None:
        return f"nothing is recommended: {profile.advice}"
    return f"recommended: {profile.advice}\n{service_line(profile.recommended)}"


def service_line(limits: Limits) -> str:
    """Return limits as a spec has them: `service: {cpu: 0.5, memory: 256Mi}`."""
    memory = "" if limits.memory is None else f", memory: {binary_size(limits.memory)}"
    return f"service: {{cpu: {limits.cpu:g}{memory}}}"


def row_line(row: Row) -> str:
    """Return in one line how a measurement went, for whoever waits."""
    latency = row.latency
    if row.reason or latency is None:
        return f"{row.limits}: {row.reason or 'no request was answered well'}"
    return (
        f"{row.limits}: {_shown_ms(latency.median)}{_about(row, _shown_ms(latency.spread / 2))} ms, "
        f"{row.good} of {row.total} answered in {len(row.blocks)} blocks, started in {row.start:.1f} s"
    )


def _about(row: Row, half: str) -> str:
    return f" ± {half}" if len(row.blocks) >= FEW_BLOCKS else ""


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _shown_ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}" if seconds < 1 else f"{seconds * 1000:.0f}"


def _shown_memory(size: int | None) -> str:
    return "-" if size is None else binary_size(size)
