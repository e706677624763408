"""A picture of lines, discs and words, whatever it is drawn as, and the same as SVG. Pure."""

from __future__ import annotations

from html import escape
from typing import Literal

import msgspec

#: What a picture says that it was made by; `context/written.py` leaves it out of images by that.
MAKER = "packager model profile"


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """A line of words.

    Attributes:
        x: where its start, its middle or its end is, in pixels from the left.
        y: of its base line, in pixels from the top.
        words: printable; what is not is drawn as `�`.
        size: in pixels.
        bold: it is a heading.
        anchor: what of it is at `x`.
    """

    x: float
    y: float
    words: str
    size: float = 12
    bold: bool = False
    anchor: Literal["start", "middle", "end"] = "start"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Straight lines from point to point.

    Attributes:
        points: x and y of each, in pixels.
        colour: as `#rrggbb`.
        width: in pixels.
    """

    points: tuple[tuple[float, float], ...]
    colour: str
    width: float = 1


class Disc(msgspec.Struct, frozen=True, kw_only=True):
    """A filled circle.

    Attributes:
        x, y: of its middle, in pixels.
        radius: in pixels.
        colour: as `#rrggbb`.
    """

    x: float
    y: float
    radius: float
    colour: str


Shape = Text | Line | Disc


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """Shapes on white, the first ones below.

    Attributes:
        width, height: in pixels.
        shapes: what is on it.
    """

    width: int
    height: int
    shapes: tuple[Shape, ...]


def printable(words: str) -> str:
    """Return words as they can be drawn."""
    return "".join(each if each.isprintable() else "�" for each in words)


def svg(picture: Picture) -> str:
    """Return a picture as an SVG document."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" data-made-by="{MAKER}" width="{picture.width}"'
        f' height="{picture.height}" viewBox="0 0 {picture.width} {picture.height}" font-family="sans-serif">'
    )
    ground = f'<rect width="{picture.width}" height="{picture.height}" fill="#fff"/>'
    return "\n".join([head, ground, *map(_element, picture.shapes), "</svg>", ""])


def _element(shape: Shape) -> str:
    match shape:
        case Text(x=x, y=y, size=size):
            weight = ' font-weight="bold"' if shape.bold else ""
            anchor = f' text-anchor="{shape.anchor}"' if shape.anchor != "start" else ""
            words = escape(printable(shape.words))
            return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"{weight}{anchor}>{words}</text>'
        case Line(points=points, colour=colour, width=width):
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"/>'
        case Disc(x=x, y=y, radius=radius, colour=colour):
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}"/>'
