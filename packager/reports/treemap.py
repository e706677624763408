"""A treemap: areas in proportion to sizes, as near to squares as they get. Pure.

The layout is the squarified one of Bruls, Huizing and van Wijk (2000): rows along the shorter side, each as long as
that makes its areas more like squares.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from packager.units import human_size

#: Height of a group's line of text, and what a group must have at least for one; in the drawing's units.
_HEAD, _LEAST_HEAD = 20.0, (70.0, 44.0)
_GAP = 2.0
#: Width of a letter and height of a line of the drawing's text, which is 12 units high.
_LETTER, _LINE = 7.0, 15.0


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an image.

    Attributes:
        title: for people.
        kind: what it is, by which it has its colour: `base`, `environment`, `server`, `model`, `app`.
        size: bytes.
        parts: what it is made of; nothing where it is shown as a whole.
    """

    title: str
    kind: str
    size: int
    parts: tuple[Block, ...] = ()


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """A rectangle, in the drawing's units, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What is drawn of a part: its rectangle, its colour's name, what a pointer shows, and lines of text that fit."""

    box: Box
    kind: str
    label: str
    lines: tuple[str, ...]
    group: bool = False


def draw(blocks: Sequence[Block], area: Box) -> tuple[Shape, ...]:
    """Return what to draw of the parts of an image, groups before what is in them."""
    return tuple(_shapes(blocks, area))


def _shapes(blocks: Sequence[Block], area: Box, within: str = "") -> Iterator[Shape]:
    ordered = sorted((each for each in blocks if each.size > 0), key=lambda each: (-each.size, each.title))
    for block, box in zip(ordered, squarify([each.size for each in ordered], area), strict=True):
        inner = _shrunk(box)
        label = f"{within}{block.title}, {human_size(block.size)}"
        headed = inner.width >= _LEAST_HEAD[0] and inner.height >= _LEAST_HEAD[1]
        if block.parts and headed:
            head = _fitting((f"{block.title}, {human_size(block.size)}", block.title), inner.width)
            yield Shape(box=inner, kind=block.kind, label=label, lines=head[:1], group=True)
            below = Box(x=inner.x, y=inner.y + _HEAD, width=inner.width, height=inner.height - _HEAD)
            yield from _shapes(block.parts, below, f"{block.title}: ")
        else:
            name = _name(block.title, inner.width)
            lines = (name, *_fitting((human_size(block.size),), inner.width)) if name else ()
            yield Shape(box=inner, kind=block.kind, label=label, lines=lines[: int((inner.height - 4) // _LINE)])


def _name(title: str, width: float) -> str:
    """Return as much of a title as fits: all of it, its first word, or its start; nothing where that tells little."""
    first = title.partition(" ")[0]
    room = int((width - 8) // _LETTER)
    return next((each for each in (title, first) if len(each) <= room), f"{first[: room - 1]}…" if room >= 6 else "")


def _fitting(texts: Sequence[str], width: float) -> tuple[str, ...]:
    return tuple(each for each in texts if len(each) * _LETTER + 8 <= width)


def _shrunk(box: Box) -> Box:
    gap = min(_GAP, box.width / 4, box.height / 4)
    return Box(x=box.x + gap / 2, y=box.y + gap / 2, width=box.width - gap, height=box.height - gap)


def squarify(sizes: Sequence[float], area: Box) -> tuple[Box, ...]:
    """Return a rectangle for each size, in proportion to it; together they fill the area.

    Args:
        sizes: above 0, the largest first.
        area: to fill.
    """
    total = sum(sizes)
    if not total or area.width <= 0 or area.height <= 0:
        return tuple(Box(x=area.x, y=area.y, width=0, height=0) for _ in sizes)
    scale = area.width * area.height / total
    areas = [size * scale for size in sizes]
    found: list[Box] = []
    free = area
    while areas:
        side = min(free.width, free.height)
        count = 1
        while count < len(areas) and _worst(areas[: count + 1], side) <= _worst(areas[:count], side):
            count += 1
        row, areas = areas[:count], areas[count:]
        # What is left over by rounding goes to the last row.
        depth = sum(row) / side if areas else max(free.width, free.height)
        at = 0.0
        for each in row:
            length = side * each / sum(row)
            if free.width >= free.height:
                found.append(Box(x=free.x, y=free.y + at, width=depth, height=length))
            else:
                found.append(Box(x=free.x + at, y=free.y, width=length, height=depth))
            at += length
        if free.width >= free.height:
            free = Box(x=free.x + depth, y=free.y, width=max(free.width - depth, 1e-9), height=free.height)
        else:
            free = Box(x=free.x, y=free.y + depth, width=free.width, height=max(free.height - depth, 1e-9))
    return tuple(found)


def _worst(row: Sequence[float], side: float) -> float:
    """Return how far the worst rectangle of a row is from a square: 1 for one that is."""
    depth = sum(row) / side
    return max(max(depth * depth / each, each / (depth * depth)) for each in row)
