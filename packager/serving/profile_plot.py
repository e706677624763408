"""A profile as a picture: latency and throughput against processors and memory, as SVG. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import msgspec

from packager.serving.profile import GB, Profile, Quartiles, Row

_WIDTH, _HEIGHT = 860, 640
#: Of a panel: its place's edges, in pixels.
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 34, 46
_COLOURS = {"ok": "#1f6feb", "failed": "#d1242f", "chosen": "#1a7f37"}


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A measurement in a panel; without a value it failed.

    Attributes:
        x: where it stands.
        value: median and quartiles.
        chosen: it is what is recommended.
    """

    x: float
    value: Quartiles | None
    chosen: bool = False


def svg(profile: Profile) -> str:
    """Return a picture with four panels; whiskers are quartiles of the blocks, red crosses limits that did not hold."""
    first = profile.rows[0]
    cpu = profile.recommended.cpu if profile.recommended else first.limits.cpu
    memory = _usual_memory(profile.rows)
    by_cpu = [row for row in profile.rows if row.limits.memory == memory]
    by_memory = [row for row in profile.rows if row.limits.cpu == cpu and row.limits.memory is not None]
    wide, high = _WIDTH / 2, (_HEIGHT - 40) / 2
    parts = [
        # The mark leaves it out of images: `context/written.py`.
        '<svg xmlns="http://www.w3.org/2000/svg" data-made-by="packager model profile" '
        f'width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="16" y="24" font-size="15" font-weight="bold">{_text(f"{profile.name}: {profile.image}")}</text>',
    ]
    panels: tuple[tuple[str, str, Sequence[Row], Callable[[Row], float], Callable[[Row], Quartiles | None]], ...] = (
        ("latency (ms)", "processors", by_cpu, _cpu_of, _latency),
        ("latency (ms)", f"memory (GB), {cpu:g} cpu", by_memory, _memory_of, _latency),
        ("requests/s", "processors", by_cpu, _cpu_of, lambda row: row.throughput),
        ("requests/s", f"memory (GB), {cpu:g} cpu", by_memory, _memory_of, lambda row: row.throughput),
    )
    for index, (title, axis, rows, x, y) in enumerate(panels):
        points = [Point(x=x(row), value=_held(row, y), chosen=_chosen(profile, row)) for row in rows]
        place = f"translate({index % 2 * wide:g},{40 + index // 2 * high:g})"
        parts.append(f'<g transform="{place}">{_panel(points, title, axis, wide, high)}</g>')
    return "\n".join([*parts, "</svg>", ""])


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


def _cpu_of(row: Row) -> float:
    return row.limits.cpu


def _memory_of(row: Row) -> float:
    return (row.limits.memory or 0) / GB


def _panel(points: Sequence[Point], title: str, axis: str, width: float, height: float) -> str:
    right, bottom = width - _RIGHT, height - _BOTTOM
    top = nice(max((point.value.high for point in points if point.value), default=1.0))
    across = _scale([point.x for point in points], _LEFT + 14, right - 14)

    def up(value: float) -> float:
        return bottom - (bottom - _TOP) * value / top

    parts = [f'<text x="{_LEFT}" y="{_TOP - 12}" font-weight="bold">{_text(title)}</text>']
    for step in range(5):
        value, y = top * step / 4, up(top * step / 4)
        parts.append(f'<line x1="{_LEFT}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    middle = (_LEFT + right) / 2
    parts.append(f'<text x="{middle:.1f}" y="{bottom + 36:.1f}" text-anchor="middle">{_text(axis)}</text>')
    good = sorted((point for point in points if point.value), key=lambda point: point.x)
    line = " ".join(f"{across(point.x):.1f},{up(point.value.median):.1f}" for point in good if point.value)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{_COLOURS["ok"]}"/>' if len(good) > 1 else "")
    parts += [_mark(point, across(point.x), up, bottom) for point in points]
    return "".join([*parts, *_ticks([point.x for point in points], across, bottom)])


def _mark(point: Point, x: float, up: Callable[[float], float], bottom: float) -> str:
    if point.value is None:
        y, colour = bottom - 8, _COLOURS["failed"]
        return f'<path d="M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10" stroke="{colour}" stroke-width="2"/>'
    colour = _COLOURS["chosen" if point.chosen else "ok"]
    low, middle, high = (up(value) for value in (point.value.low, point.value.median, point.value.high))
    whisker = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{colour}" stroke-width="3"/>'
    return f'{whisker}<circle cx="{x:.1f}" cy="{middle:.1f}" r="{6 if point.chosen else 4}" fill="{colour}"/>'


def _ticks(values: Sequence[float], across: Callable[[float], float], bottom: float) -> list[str]:
    found, last = [], -math.inf
    for value in sorted(set(values)):
        if across(value) - last >= 30:  # below that their figures would run into each other
            last = across(value)
            found.append(f'<text x="{last:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{value:.3g}</text>')
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


def _text(text: str) -> str:
    return escape("".join(each if each.isprintable() else "�" for each in text))
