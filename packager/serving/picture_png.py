"""A picture as PNG, drawn by Pillow, which the extra `plot` brings, with the font that is in it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from packager.errors import UsageError
from packager.serving.picture import MAKER, Disc, Line, Picture, Text, printable

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

#: Pixels of the file for each of the picture's, as screens of today have them; and for each of those while it is drawn,
#: for Pillow draws lines with no soft edges.
_SCALE, _FINER = 2, 3
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def require_pillow(path: str) -> None:
    """Raise where nothing here draws a PNG.

    Args:
        path: of the picture that is asked for.

    Raises:
        UsageError: Pillow is not installed, or is older than the one that has a font of every size (10.1).
    """
    try:
        from PIL import __version__, features
    except ImportError:
        raise UsageError(f"{path}: a PNG is drawn by Pillow, which is not installed", remedy=_remedy()) from None
    if tuple(int(part) for part in __version__.split(".")[:2]) < (10, 1) or not features.check("freetype2"):
        raise UsageError(
            f"{path}: a PNG is drawn by Pillow 10.1 or newer with FreeType, and {__version__} is here", remedy=_remedy()
        )


def _remedy() -> str:
    return "pip install 'packager[plot]', or let it be drawn as FILE.svg"


def png(picture: Picture) -> bytes:
    """Return a picture as a PNG file of twice its width and height.

    Raises:
        UsageError: see `require_pillow`.
    """
    require_pillow("a picture")
    from PIL import Image, ImageDraw
    from PIL.PngImagePlugin import PngInfo

    size = (picture.width * _SCALE, picture.height * _SCALE)
    image = Image.new("RGB", (size[0] * _FINER, size[1] * _FINER), "#fff")
    draw = ImageDraw.Draw(image)
    for shape in picture.shapes:
        if not isinstance(shape, Text):
            _draw(draw, shape, _SCALE * _FINER)
    image = image.resize(size, Image.Resampling.BOX)
    # Words have soft edges of their own, and would lose by being made smaller.
    draw = ImageDraw.Draw(image)
    for shape in picture.shapes:
        if isinstance(shape, Text):
            _write(draw, shape, _SCALE)
    told, file = PngInfo(), io.BytesIO()
    told.add_text("Software", MAKER)
    image.save(file, "PNG", optimize=True, pnginfo=told, dpi=(96 * _SCALE, 96 * _SCALE))
    return file.getvalue()


def _draw(draw: ImageDraw, shape: Line | Disc, scale: float) -> None:
    if isinstance(shape, Disc):
        left, top = (middle - shape.radius for middle in (shape.x, shape.y))
        box = (left, top, left + 2 * shape.radius, top + 2 * shape.radius)
        draw.ellipse([edge * scale for edge in box], fill=shape.colour)
    else:
        points = [(x * scale, y * scale) for x, y in shape.points]
        draw.line(points, fill=shape.colour, width=round(shape.width * scale), joint="curve")


def _write(draw: ImageDraw, shape: Text, scale: float) -> None:
    from PIL import ImageFont

    words, place = printable(shape.words), (shape.x * scale, shape.y * scale)
    # The font is there in one weight: a heading is drawn with an outline in its own colour.
    draw.text(
        place,
        words,
        fill="#000",
        font=ImageFont.load_default(shape.size * scale),
        anchor=_ANCHORS[shape.anchor],
        stroke_width=round(0.4 * scale) if shape.bold else 0,
    )
