"""Which limits are tried next, and which are recommended. Pure: rows so far in, a decision out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from packager.serving.profile import FEW_BLOCKS, Limits, Quartiles, Row, is_restless, percentile, quartiles
from packager.units import binary_size

#: The least of the processors that are tried, and what of the best latency still counts as held.
_LEAST_CPU, WITHIN = 0.25, 1.10

#: What of the best latency counts as held where its spread, or the row's own, leaves it open: never more, for else the
#: row with the largest spread would be the one that holds.
_AT_MOST = 1.25

#: Memory that is recommended, over what was used: the next request may be larger than every sample.
MARGIN = 1.25
#: What else of what was used is tried: less, to see where it ends; and more, where the margin is not enough.
_LESS, _MORE = 0.75, 2.0

#: Memory is given in steps of so many bytes, and never less than so many: no server starts in less.
_STEP, _LEAST_MEMORY = 16 << 20, 32 << 20


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a search is for.

    Attributes:
        requested: the limits that are measured first.
        cpus: processors of the machine.
        memory: bytes of the machine.
        whole: processors can be given whole alone (without an engine).
        latency: seconds that 95 of 100 answers must keep; None for an average within 10 % of the best, as far as the
            spread tells.
    """

    requested: Limits
    cpus: int
    memory: int
    whole: bool = False
    latency: float | None = None


def grid(wish: Wish) -> list[float]:
    """Return the processors that may be tried: 0.25 and its doubles up to the machine's, and those asked for."""
    least = 1.0 if wish.whole else _LEAST_CPU
    found = {wish.requested.cpu, float(wish.cpus)}
    while least < wish.cpus:
        found.add(least)
        least *= 2
    return sorted(found)


def next_limits(wish: Wish, rows: Sequence[Row]) -> Limits | None:
    """Return the limits to be measured next; None when nothing more would be learned.

    First those asked for, with twice the memory as long as it is too little; then more processors as long as they help,
    fewer as long as the latency holds; then, with the fewest that hold it, the memory.

    Args:
        wish: what the search is for.
        rows: measured so far.
    """
    if not rows:
        return wish.requested
    settled = _settled(wish, rows)
    if settled is None:
        last = rows[-1].limits
        assert last.memory is not None, "what is not limited does not run out at a limit"
        twice = min(2 * last.memory, wish.memory)
        return Limits(cpu=last.cpu, memory=twice) if twice > last.memory else None
    wish, rows = settled
    by_cpu = [row for row in rows if row.limits.memory == wish.requested.memory]
    return _next_cpu(wish, by_cpu) or _next_memory(wish, rows)


def _settled(wish: Wish, rows: Sequence[Row]) -> tuple[Wish, Sequence[Row]] | None:
    """Return wish and rows from the first memory on that was enough; None where none was."""
    first = next((index for index, row in enumerate(rows) if not row.out_of_memory), None)
    if first is None:
        return None
    return msgspec.structs.replace(wish, requested=rows[first].limits), rows[first:]


def _next_cpu(wish: Wish, rows: Sequence[Row]) -> Limits | None:
    tried = {row.limits.cpu: row for row in rows}
    if rows[0].state == "Failed":
        return None  # it does not serve, and other limits would not change that
    larger = [cpu for cpu in grid(wish) if cpu > wish.requested.cpu]
    before = tried[wish.requested.cpu]
    for cpu in larger:
        if cpu not in tried:
            return _with_cpu(wish, cpu)
        if not _helped(before, tried[cpu]):
            break
        before = tried[cpu]
    for cpu in reversed([cpu for cpu in grid(wish) if cpu < wish.requested.cpu]):
        if cpu not in tried:
            return _with_cpu(wish, cpu)
        if not holds(wish, tried[cpu], rows):
            break
    return None


def _next_memory(wish: Wish, rows: Sequence[Row]) -> Limits | None:
    first, tried = wish.requested.memory, {row.limits: row for row in rows}
    cpu = least_cpu(wish, rows)
    used = _used(wish, rows)
    if first is None or cpu is None or used is None:
        return None
    margin = step_up(used * MARGIN)
    row = tried.get(Limits(cpu=cpu, memory=margin))
    enough = row is not None and holds(wish, row, rows)
    for memory in (margin, step_up(used * _LESS), *(() if enough else (step_up(used * _MORE),))):
        limits = Limits(cpu=cpu, memory=memory)
        # What was asked for is larger than all that is of interest, unless it is less than the margin.
        if limits not in tried and memory <= wish.memory and (memory < first or memory == margin):
            return limits
    return None


def holds(wish: Wish, row: Row, rows: Sequence[Row]) -> bool:
    """Tell whether a row holds the latency, and answers what the limits that were asked for answer.

    Args:
        wish: what the search is for.
        row: one of the rows.
        rows: all of them.
    """
    if not _answers(row, rows):
        return False
    if wish.latency is not None:
        return percentile(row.latencies, 95) <= wish.latency
    # Of the memory that was asked for: by chance one with less of it may be the fastest, and none would hold.
    known = [_compared(each) for each in rows if each.limits.memory == wish.requested.memory and _answers(each, rows)]
    if not known:
        return False
    # On a busy machine medians differ by chance: what is worse is worse in most of its blocks than most of the best's.
    found, best = _compared(row), min(known, key=lambda each: each.median)
    return found.low <= WITHIN * best.high and found.median <= _AT_MOST * best.median


def _answers(row: Row, rows: Sequence[Row]) -> bool:
    """Tell whether a row answers what the limits that were asked for answer."""
    # A sample that fails by itself fails under every limit; one of a hundred may be the difference of two rows.
    return row.state == "Succeeded" and row.success_rate >= rows[0].success_rate - 1


def _compared(row: Row) -> Quartiles:
    """Return what a row is compared by: its blocks, or the single answers where there are too few blocks."""
    blocks = row.latency
    return blocks if blocks is not None and len(row.blocks) >= FEW_BLOCKS else quartiles(row.latencies)


def least_cpu(wish: Wish, rows: Sequence[Row]) -> float | None:
    """Return the fewest processors that hold the latency with the memory that was asked for; None where none do."""
    found = [row.limits.cpu for row in rows if row.limits.memory == wish.requested.memory and holds(wish, row, rows)]
    return min(found, default=None)


def recommend(wish: Wish, rows: Sequence[Row]) -> tuple[Limits | None, str]:
    """Return the least limits that hold the latency, and why these; or None, and why none.

    Memory is never less than what was used and a quarter: a row that held with less was lucky.

    Args:
        wish: what the search is for.
        rows: measured; the first is of the limits that were asked for.
    """
    settled = _settled(wish, rows)
    if settled is None:
        return None, f"no limits held: {rows[-1].reason}"
    wish, rows = settled
    cpu, used = least_cpu(wish, rows), _used(wish, rows)
    if cpu is None:
        return None, _why_none(wish, rows)
    why = f"the least with which {_bound(wish, rows, cpu)}"
    if used is None:
        return Limits(cpu=cpu, memory=wish.requested.memory), f"{why}; memory is as asked for: nothing counts it here"
    least, that = step_up(used * MARGIN), binary_size(used)
    if wish.requested.memory is None:
        return Limits(cpu=cpu, memory=least), f"{why}; memory is a quarter more than the {that} that were used"
    held = [
        row.limits.memory
        for row in rows
        if row.limits.cpu == cpu and row.limits.memory is not None and holds(wish, row, rows)
    ]
    enough = [memory for memory in held if memory >= least]
    if enough:
        return Limits(
            cpu=cpu, memory=min(enough)
        ), f"{why}; {that} of memory were used, and a quarter is for what comes"
    return Limits(cpu=cpu, memory=max(held)), f"{why}; {that} of memory were used, so there is little for what comes"


def _bound(wish: Wish, rows: Sequence[Row], cpu: float) -> str:
    """Return in words what the fewest processors keep to: of averages, as much as their spread allows to say."""
    if wish.latency is not None:
        return f"95 of 100 answers take at most {wish.latency * 1000:g} ms"
    known = [row for row in rows if row.limits.memory == wish.requested.memory and _answers(row, rows)]
    least = next(row for row in known if row.limits.cpu == cpu)
    best = min(known, key=lambda row: _compared(row).median)
    more = _compared(least).median / _compared(best).median
    words = f"the average latency is within {round((max(more, WITHIN) - 1) * 100)} % of the best"
    if more > WITHIN:
        words += ", which is no more than the spread"
    if is_restless(least) or is_restless(best):
        words += " (the spread is large: measure again when the machine does less, or with a longer --duration)"
    return words


def _why_none(wish: Wish, rows: Sequence[Row]) -> str:
    if all(row.state == "Failed" for row in rows):
        return f"no limits held: {rows[0].reason or 'no request was answered well'}"
    if wish.latency is not None:
        best = min(percentile(row.latencies, 95) for row in rows if row.state == "Succeeded")
        return f"no limits hold {wish.latency * 1000:g} ms: at best, 95 of 100 answers take {best * 1000:.1f} ms"
    return "no limits answered as many requests as those that were asked for"


def _used(wish: Wish, rows: Sequence[Row]) -> int | None:
    """Return the bytes that were used at most, where memory was not what was varied."""
    found = [row.memory for row in rows if row.limits.memory == wish.requested.memory and row.memory is not None]
    return max(found, default=None)


def _helped(before: Row, after: Row) -> bool:
    """Tell whether more processors made it faster by more than what counts as the same."""
    if before.latency is None or after.latency is None:
        return after.latency is not None
    return after.latency.high * WITHIN < before.latency.low


def _with_cpu(wish: Wish, cpu: float) -> Limits:
    return Limits(cpu=cpu, memory=wish.requested.memory)


def step_up(size: float) -> int:
    """Return bytes as a limit has them: a whole step, and never less than any server starts in."""
    return max(math.ceil(size / _STEP) * _STEP, _LEAST_MEMORY)
