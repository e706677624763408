"""TOML text to plain data, with the line of every field: `tomllib` forgets where things stood."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from packager.errors import Location, SpecError, location_in

_SYNTAX = re.compile(r"(?P<problem>.*) \(at (?:line (?P<line>[0-9]+), column (?P<column>[0-9]+)|end of document)\)")
_HEADER = re.compile(r"\s*(\[\[?)([^\[\]]+)\]")
_KEY = re.compile(r"""\s*((?:"[^"\n]*"|'[^'\n]*'|[A-Za-z0-9_.-]|\s*\.\s*)+?)\s*=""")
_PART = re.compile(r""""([^"\n]*)"|'([^'\n]*)'|([A-Za-z0-9_-]+)""")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class TomlDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A declaration in TOML, as `packager.mistyped.Declaration`.

    Attributes:
        path: the file, as the user named it.
        data: its tables as plain dicts, lists and scalars.
        lines: line number (from 1) of each field, by its dotted path (`artefacts[0].title`).
        written: empty, for TOML makes no number of a text.
    """

    path: Path
    data: dict[str, Any]
    lines: Mapping[str, int]
    written: Mapping[str, str] = {}

    def at(self, field: str) -> Location:
        """Return the location of `field`, or of its nearest parent that stands in the file."""
        return location_in(str(self.path), self.lines, field)


def parse_toml(text: str, path: Path) -> TomlDocument:
    """Return the tables that a TOML text holds.

    Raises:
        SpecError: it is not TOML, with line and column.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _SYNTAX.fullmatch(str(error))
        problem = found["problem"] if found else str(error)
        line = int(found["line"]) if found and found["line"] else text.count("\n") + 1
        column = int(found["column"]) if found and found["column"] else None
        where = Location(file=str(path), line=line, column=column)
        raise SpecError(
            f"{path.name} is not valid TOML: {problem[:1].lower()}{problem[1:]}",
            where=where,
            remedy='write `name = "value"`, texts in quotes, and tables as `[name]`, each on its own line',
        ) from None
    return TomlDocument(path=path, data=data, lines=dict(_lines(text)))


def flow(value: Any) -> str:
    """Return a value as TOML on one line."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{_key(name)} = {flow(each)}" for name, each in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(flow, value))}]"
    return json.dumps(value, ensure_ascii=False, default=str)


def pair(name: str, text: str) -> str:
    """Return a field with a value, as it is written on a line of its own."""
    return f"{_key(name)} = {text}"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """Yield path and line of tables and keys. What looks like a key inside a text of several lines does no harm."""
    table, numbers = "", dict[str, int]()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = ".".join(_parts(header[2]))
            if header[1] == "[[":
                index = numbers[table] = numbers.get(table, -1) + 1
                table = f"{table}[{index}]"
            yield table, number
        elif key := _KEY.match(line):
            yield ".".join([*([table] if table else []), *_parts(key[1])]), number


def _parts(text: str) -> Iterator[str]:
    return (next(filter(None, found.groups()), "") for found in _PART.finditer(text))
