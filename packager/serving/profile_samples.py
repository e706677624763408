"""Requests of a profile: files, or rows of a file, of which each is one body. Pure."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable

import msgspec

from packager.serving.profile import Skipped

#: Rows of a file that are read: more tell nothing new of a service.
MAX_ROWS = 10_000

JSON, BYTES = "application/json", "application/octet-stream"


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    Attributes:
        name: file, or file and row.
        body: of it.
        content_type: of the body.
    """

    name: str
    body: bytes
    content_type: str = JSON


def one(name: str, data: bytes, *, binary: bool = False) -> Sample | Skipped:
    """Return a whole file as a request; one that is no JSON is not sent, unless it is said to be of other bytes."""
    if binary:
        return Sample(name=name, body=data, content_type=BYTES)
    wrong = _wrong(data)
    return Skipped(name=name, reason=wrong) if wrong else Sample(name=name, body=data)


def rows(name: str, data: bytes) -> list[Sample | Skipped]:
    """Return the rows of a file of JSON lines, or of a CSV file with one column: each is one request body.

    Azure ML's datasets of sample requests are such files; a first row that is no JSON is the column's name.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return [Skipped(name=name, reason="it is not UTF-8")]
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if lines and not _wrong(lines[0][1].encode()):
        found: Iterable[tuple[int, list[str]]] = ((number, [line]) for number, line in lines)
    else:
        found = _cells(text)
    samples: list[Sample | Skipped] = []
    for number, cells in found:
        if len(samples) >= MAX_ROWS:
            break
        samples.append(_row(f"{name}:{number}", cells))
    named = bool(lines) and re.fullmatch(r'"?[^\W\d][\w .-]*"?', lines[0][1]) is not None
    return samples[1:] if named and any(isinstance(each, Sample) for each in samples) else samples


def _cells(text: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text))
    found: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cells):
                found.append((reader.line_num, cells))
    except csv.Error:
        return [(number, [line]) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    return found


def _row(name: str, cells: list[str]) -> Sample | Skipped:
    if len(cells) != 1:
        return Skipped(name=name, reason=f"it has {len(cells)} columns, and a request is one: the JSON of its body")
    wrong = _wrong(cells[0].encode())
    return Skipped(name=name, reason=wrong) if wrong else Sample(name=name, body=cells[0].encode())


def _wrong(data: bytes) -> str:
    try:
        json.loads(data)
    except UnicodeDecodeError:
        return "it is not UTF-8"
    except RecursionError:
        return "it is no JSON that can be read: it is nested too deep"
    except ValueError as error:
        return f"it is no JSON: {error}"
    return ""
