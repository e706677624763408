"""A profile as a picture: latency and throughput against processors and memory. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec

from packager.serving.picture import Disc, Line, Picture, Shape, Text
from packager.serving.profile import Profile, Quartiles, Row
from packager.units import binary_size

_WIDTH, _HEIGHT = 860, 640
#: Of a panel: its place's edges, in pixels.
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 34, 46
#: Characters for which there is room above the panels.
_TITLE = 100
_COLOURS = {"ok": "#1f6feb", "failed": "#d1242f", "chosen": "#1a7f37"}


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """A place on the axis of a panel, and what is written there."""

    x: float
    label: str


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A measurement in a panel; without a value it failed.

    Attributes:
        where: it stands.
        value: median and quartiles.
        chosen: it is what is recommended.
    """

    where: Where
    value: Quartiles | None
    chosen: bool = False


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """The edges of a panel, in pixels of the picture."""

    left: float
    right: float
    top: float
    bottom: float

    @classmethod
    def at(cls, x: float, y: float, width: float, height: float) -> Frame:
        """Return the one with room for its words in a part of the picture."""
        return cls(left=x + _LEFT, right=x + width - _RIGHT, top=y + _TOP, bottom=y + height - _BOTTOM)


def picture(profile: Profile) -> Picture:
    """Return a picture with four panels; whiskers are quartiles of the blocks, red crosses limits that did not hold."""
    first = profile.rows[0]
    cpu = profile.recommended.cpu if profile.recommended else first.limits.cpu
    memory = _usual_memory(profile.rows)
    by_cpu = [row for row in profile.rows if row.limits.memory == memory]
    by_memory = [row for row in profile.rows if row.limits.cpu == cpu and row.limits.memory is not None]
    wide, high = _WIDTH / 2, (_HEIGHT - 40) / 2
    title = f"{profile.name}: {profile.image}"
    title = title if len(title) <= _TITLE else f"{title[: _TITLE - 1]}…"
    shapes: list[Shape] = [Text(x=16, y=24, words=title, size=15, bold=True)]
    along = "processors" if memory is None else f"processors, {binary_size(memory)} of memory"
    panels: tuple[tuple[str, str, Sequence[Row], Callable[[Row], Where], Callable[[Row], Quartiles | None]], ...] = (
        ("latency (ms)", along, by_cpu, _cpu_of, _latency),
        ("latency (ms)", f"memory, {cpu:g} cpu", by_memory, _memory_of, _latency),
        ("requests/s", along, by_cpu, _cpu_of, lambda row: row.throughput),
        ("requests/s", f"memory, {cpu:g} cpu", by_memory, _memory_of, lambda row: row.throughput),
    )
    for index, (heading, axis, rows, where, y) in enumerate(panels):
        points = [Point(where=where(row), value=_held(row, y), chosen=_chosen(profile, row)) for row in rows]
        corner = (index % 2 * wide, 40 + index // 2 * high)
        shapes += _panel(points, heading, axis, Frame.at(*corner, wide, high))
    return Picture(width=_WIDTH, height=_HEIGHT, shapes=tuple(shapes))


def _usual_memory(rows: Sequence[Row]) -> int | None:
    """Return the memory with which most processors were tried."""
    counts: dict[int | None, int] = {}
    for row in rows:
        counts[row.limits.memory] = counts.get(row.limits.memory, 0) + (row.state == "Succeeded")
    return max(counts, key=lambda each: counts[each])


def _held(row: Row, value: Callable[[Row], Quartiles | None]) -> Quartiles | None:
    return value(row) if row.state == "Succeeded" else None


def _chosen(profile: Profile, row: Row) -> bool:
    found = profile.recommended
    return found is not None and row.limits.cpu == found.cpu and row.limits.memory in (None, found.memory)


def _latency(row: Row) -> Quartiles | None:
    found = row.latency
    if found is None:
        return None
    return Quartiles(median=found.median * 1000, low=found.low * 1000, high=found.high * 1000)


def _cpu_of(row: Row) -> Where:
    return Where(x=row.limits.cpu, label=f"{row.limits.cpu:.3g}")


def _memory_of(row: Row) -> Where:
    memory = row.limits.memory or 0
    return Where(x=memory, label=binary_size(memory))


def _panel(points: Sequence[Point], title: str, axis: str, frame: Frame) -> list[Shape]:
    top = nice(max((point.value.high for point in points if point.value), default=1.0))
    across = _scale([point.where.x for point in points], frame.left + 14, frame.right - 14)

    def up(value: float) -> float:
        return frame.bottom - (frame.bottom - frame.top) * value / top

    shapes: list[Shape] = [Text(x=frame.left, y=frame.top - 12, words=title, bold=True)]
    for step in range(5):
        value, y = top * step / 4, up(top * step / 4)
        shapes.append(Line(points=((frame.left, y), (frame.right, y)), colour="#dddddd"))
        shapes.append(Text(x=frame.left - 6, y=y + 4, words=f"{value:g}", anchor="end"))
    middle = (frame.left + frame.right) / 2
    shapes.append(Text(x=middle, y=frame.bottom + 36, words=axis, anchor="middle"))
    good = sorted((point.where.x, point.value.median) for point in points if point.value)
    if len(good) > 1:
        shapes.append(Line(points=tuple((across(x), up(y)) for x, y in good), colour=_COLOURS["ok"]))
    for point in points:
        shapes += _mark(point, across(point.where.x), up, frame.bottom)
    return [*shapes, *_ticks([point.where for point in points], across, frame.bottom)]


def _mark(point: Point, x: float, up: Callable[[float], float], bottom: float) -> list[Shape]:
    if point.value is None:
        y, colour = bottom - 8, _COLOURS["failed"]
        return [Line(points=((x - 5, y - lean), (x + 5, y + lean)), colour=colour, width=2) for lean in (5, -5)]
    colour = _COLOURS["chosen" if point.chosen else "ok"]
    low, middle, high = (up(value) for value in (point.value.low, point.value.median, point.value.high))
    whisker = Line(points=((x, low), (x, high)), colour=colour, width=3)
    return [whisker, Disc(x=x, y=middle, radius=6 if point.chosen else 4, colour=colour)]


def _ticks(places: Sequence[Where], across: Callable[[float], float], bottom: float) -> list[Shape]:
    found, last = list[Shape](), -math.inf
    for place in sorted(places, key=lambda each: each.x):
        if across(place.x) - last >= max(30, 7 * len(place.label) + 1):  # else they would run into each other
            last = across(place.x)
            found.append(Text(x=last, y=bottom + 18, words=place.label, anchor="middle"))
    return found


def _scale(values: Sequence[float], left: float, right: float) -> Callable[[float], float]:
    """Return what puts a value between two edges: by its logarithm, for limits are doubled and halved."""
    low, high = (math.log(edge) for edge in (min(values, default=1.0), max(values, default=1.0)))
    if high == low:
        return lambda value: (left + right) / 2
    return lambda value: left + (right - left) * (math.log(value) - low) / (high - low)


def nice(value: float) -> float:
    """Return the least of 1, 2, 4, 8 or 10 times a power of ten that is not below a value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 4, 8, 10) if factor * power >= value * 0.999999)
