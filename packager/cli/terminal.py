"""How text looks on a terminal: colours, and tables that fit its width. Elsewhere it is plain, and whole."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

#: Narrower than this no column gets.
_LEAST = 8
_GAP = "  "

#: What is coloured of a line, and how: its first group. The first that fits counts.
_FORMS: tuple[tuple[re.Pattern[str], Mapping[str, str] | str], ...] = (
    (re.compile(r"([Ee]rror:) "), "red"),
    (re.compile(r"(warning:.*)"), "yellow"),
    (re.compile(r"(FAIL) "), "red"),
    (re.compile(r"(ok) {4}"), "green"),
    (re.compile(r"  (to do:) "), "cyan"),
    (
        re.compile(r"[^\s:][^:]*:(?:\d+:)? (error|warning|info) [A-Za-z]+[A-Za-z0-9-]*: "),
        {"error": "red", "warning": "yellow", "info": "cyan"},
    ),
)
_CODES = {"red": 31, "green": 32, "yellow": 33, "cyan": 36, "bright_black": 90}


def is_coloured(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether text on a stream is coloured.

    NO_COLOR (no-color.org) turns colours off, FORCE_COLOR (force-color.org) turns them on; else a terminal that is not
    `dumb` has them.
    """
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return stream.isatty() and environ.get("TERM") != "dumb"


def styled(text: str, colour: str) -> str:
    """Return a text in a colour, line by line, so that whatever cuts lines cuts no colour in two."""
    return "\n".join(f"\x1b[{_CODES[colour]}m{line}\x1b[0m" if line else line for line in text.split("\n"))


def painted(text: str) -> str:
    """Return our own lines with what matters coloured: errors, warnings, findings, `ok` and `FAIL` of tests.

    Args:
        text: without control characters.
    """
    return "\n".join(map(_painted, text.split("\n")))


def _painted(line: str) -> str:
    for form, colours in _FORMS:
        if found := form.match(line):
            start, end = found.span(1)
            colour = colours if isinstance(colours, str) else colours[found[1]]
            return line[:start] + styled(line[start:end], colour) + line[end:]
    return line


def terminal_width(stream: TextIO | None = None) -> int | None:
    """Return the columns of the terminal that standard output is, or COLUMNS there; None where it is none."""
    return shutil.get_terminal_size().columns if (stream or sys.stdout).isatty() else None


def table(rows: Sequence[Sequence[str]], *, indent: str = "", width: int | None = None) -> list[str]:
    """Return rows as lines with aligned columns; on a terminal, the widest cells are shortened until a line fits.

    Args:
        rows: of equally many cells.
        indent: before each line.
        width: columns that a line may take; those of the terminal where None, any number where there is none.
    """
    if not rows:
        return []
    width = terminal_width() if width is None else width
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = (width or 0) - len(indent) - len(_GAP) * (len(widths) - 1)
    while width and sum(widths) > room and max(widths) > _LEAST:
        widths[widths.index(max(widths))] -= 1
    return [
        (indent + _GAP.join(_short(cell, size).ljust(size) for cell, size in zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]


def wrapped(text: str, *, indent: str = "", width: int | None = None) -> str:
    """Return a text with all of its lines indented; on a terminal, broken between words where it does not fit.

    Args:
        text: one paragraph.
        indent: before each line.
        width: columns that a line may take; those of the terminal where None, any number where there is none.
    """
    width = terminal_width() if width is None else width
    if width is None:
        return indent + text
    import textwrap

    room = max(width, len(indent) + 3 * _LEAST)
    return textwrap.fill(
        text, room, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _short(text: str, size: int) -> str:
    """Return a text in so many characters: names differ at both ends, so the middle goes."""
    if len(text) <= size:
        return text
    head = (size - 1) // 2
    return f"{text[:head]}…{text[len(text) - (size - 1 - head) :]}"
