"""YAML text to plain data, with the line of every field, and nothing that could surprise.

PyYAML's constructor is not used: it resolves aliases (a few lines can become gigabytes), merges keys, keeps the last of
two equal keys, and forgets where things stood. The node graph has it all.
"""

from __future__ import annotations

import codecs
import io
import re
import tokenize
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from packager.errors import Location, SpecError, location_in
from packager.given import TEXT_LIMIT, find_conflict, read_given
from packager.similar import meant

#: Bytes and values that a declaration may have: far above any real one, far below what could hurt.
MAX_BYTES = TEXT_LIMIT
MAX_VALUES = 20_000
MAX_DEPTH = 40

#: UTF-32 goes first: its mark begins as that of UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

#: Of a merge conflict; a line of `=======` alone may be meant.
_SIDE = re.compile(r"^(?:<<<<<<<|>>>>>>>) ", re.MULTILINE)

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SCALARS: dict[str, Callable[[str], Any]] = {
    "tag:yaml.org,2002:str": str,
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": float,
    "tag:yaml.org,2002:bool": lambda text: text.lower() in ("true", "yes", "on"),
    "tag:yaml.org,2002:null": lambda _text: None,
}


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One declaration file, read.

    Attributes:
        path: the file, as the user named it.
        data: its mapping as plain dicts, lists and scalars.
        lines: line number (from 1) of each field, by its dotted path (`models[0].name`).
        written: what is not text to YAML, as it was written (`1.10`), by the path of its field.
    """

    path: Path
    data: dict[str, Any]
    lines: Mapping[str, int]
    written: Mapping[str, str] = {}

    def at(self, field: str) -> Location:
        """Return the location of `field`, or of its nearest parent that stands in the file."""
        return location_in(str(self.path), self.lines, field)


def read_text(path: Path, below: Path | None = None) -> str:
    """Return the text of a declaration file: UTF-8, or what its byte order mark says.

    Args:
        path: of the file.
        below: folder that it may not be out of, through links either; any where None.

    Raises:
        SpecError: the file is missing, unreadable, not a regular file, not `below`, larger than `MAX_BYTES`, or not
            UTF-8.
    """
    return decode(read_bytes(path, below), path)


def read_source(path: Path, below: Path | None = None) -> str:
    """Return the text of a Python file, in the encoding that it names as Python reads it (PEP 263).

    Args:
        path: of the file.
        below: folder that it may not be out of, through links either; any where None.

    Raises:
        SpecError: as for `read_text`; or it names no encoding, and is not UTF-8.
    """
    raw = read_bytes(path, below)
    try:
        return source_text(raw)
    except (SyntaxError, UnicodeError):
        raise SpecError(
            f"{path.name} is not UTF-8 text, and names no other encoding that it is in: Python cannot read it",
            where=Location(file=str(path), line=_first_bad(raw)),
            remedy="save the file in UTF-8, or name its encoding in the first line: `# -*- coding: latin-1 -*-`",
        ) from None


def source_text(raw: bytes) -> str:
    """Return the text of Python source.

    Raises:
        SyntaxError: it names an encoding that Python does not know, or is not in the one that it names.
        UnicodeError: the same, further down.
    """
    encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
    return raw.decode(encoding)


def _first_bad(raw: bytes) -> int:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return raw.count(b"\n", 0, error.start) + 1
    return 1


def read_bytes(path: Path, below: Path | None = None) -> bytes:
    """Return the content of a declaration file.

    Args:
        path: of the file.
        below: folder that it may not be out of, through links either; any where None.

    Raises:
        SpecError: the file is missing, unreadable, not a regular file, not `below`, or larger than `MAX_BYTES`.
    """
    where = Location(file=str(path))
    try:
        raw = read_given(path, MAX_BYTES, below)
    except FileNotFoundError:
        raise SpecError("there is no such file", where=where, remedy=_missing_remedy(path)) from None
    except OSError as error:
        remedy = "a declaration is a short text file, at its place and not behind a link to elsewhere"
        raise SpecError(f"{path.name} cannot be read: {error.strerror}", where=where, remedy=remedy) from None
    return raw


def decode(raw: bytes, path: Path, encoding: str = "utf-8") -> str:
    """Return the text of a declaration file. A byte order mark goes before the encoding.

    Args:
        raw: content of the file.
        path: the file, as the user named it.
        encoding: Python's name of it.

    Raises:
        SpecError: it is no text in that encoding, Python knows no such encoding, or a merge conflict is unresolved.
    """
    encoding = next((each for mark, each in _MARKS if raw.startswith(mark)), encoding)
    try:
        text = raw.decode(encoding)
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        where = Location(file=str(path), line=raw.count(b"\n", 0, start) + 1)
        message = f"{path.name} is not {encoding.upper()} text"
        raise SpecError(message, where=where, remedy="save the file in UTF-8") from None
    except LookupError:
        where = Location(file=str(path), line=1)
        raise SpecError(f"{encoding!r} is no encoding", where=where, remedy="save the file in UTF-8") from None
    if _SIDE.search(text):
        where = Location(file=str(path), line=find_conflict(text))
        remedy = "keep one of the two sides, and delete the other and the lines <<<<<<<, ======= and >>>>>>>"
        raise SpecError(f"{path.name} has an unresolved merge conflict", where=where, remedy=remedy)
    return text


def _missing_remedy(path: Path) -> str:
    if path.name == "packager.yaml":
        return "`packager init` writes one, in the folder of the model; `-f FILE` names another"
    return meant(path.parent, path.name) or "check the name; it is relative to the folder of the spec"


def parse_yaml(text: str, path: Path) -> Document:
    """Return the mapping that a YAML text holds.

    Raises:
        SpecError: not YAML, not one mapping, an alias, a tag, a key twice, or out of the bounds above.
    """
    loader = _LOADER(text)
    try:
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        raise _syntax_error(error, text, path) from None
    except RecursionError:
        raise SpecError(f"{path.name} is nested too deeply", where=Location(file=str(path))) from None
    finally:
        loader.dispose()
    if not isinstance(node, yaml.MappingNode):
        line = 1 if node is None else node.start_mark.line + 1
        raise SpecError(
            f"{path.name} is not a mapping but {_kind(node)}",
            where=Location(file=str(path), line=line),
            remedy="a spec starts with lines such as `name: diabetes`; see `packager schema`",
        )
    reader = _Reader(path)
    return Document(path=path, data=reader.mapping(node, "", 0), lines=reader.lines, written=reader.written)


def _syntax_error(error: yaml.YAMLError, text: str, path: Path) -> SpecError:
    mark = getattr(error, "problem_mark", None)
    where = Location(file=str(path), line=mark.line + 1 if mark else None, column=mark.column + 1 if mark else None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if re.match(r" *\t", line):
        return SpecError("a tab indents this line, and YAML takes spaces alone", where=where, remedy="write spaces")
    remedy = next((remedy for words, remedy in _SYNTAX if words in problem), None)
    return SpecError(f"{path.name} is not valid YAML: {problem}", where=where, remedy=remedy)


#: Words of the YAML library, and what the likely mistake is.
_SYNTAX = (
    (
        "mapping values are not allowed",
        "put a text that has `: ` in it into quotes, and indent fields of one part alike",
    ),
    ("could not find expected ':'", "write `name: value`, with a space after the colon"),
    ("did not find expected '-' indicator", "indent the items of one list, and their fields, alike"),
    ("did not find expected key", "indent the fields of one part alike; quotes and brackets end on their own line"),
    ("did not find expected ',' or", "close the bracket, and put commas between what is in it"),
    ("cannot start any token", "put a text that begins with @, ` or % into quotes"),
    ("unexpected end of stream", "close the quotes"),
)


def _kind(node: yaml.Node | None) -> str:
    if node is None:
        return "empty"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a single value"


class _Reader:
    """Walks a node graph once; `lines` and `written` grow as it goes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[str, int] = {}
        self.written: dict[str, str] = {}
        self._seen: set[int] = set()
        self._left = MAX_VALUES

    def _fail(self, message: str, node: yaml.Node, field: str, remedy: str | None = None) -> SpecError:
        mark = node.start_mark
        where = Location(file=str(self.path), line=mark.line + 1, column=mark.column + 1, field=field or None)
        return SpecError(message, where=where, remedy=remedy)

    def _enter(self, node: yaml.Node, field: str, depth: int) -> None:
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            raise self._fail(f"{self.path.name} is too large or nested too deeply", node, field)
        # An alias is the same node object met again: the source of YAML bombs, and never needed here.
        if id(node) in self._seen:
            raise self._fail("YAML aliases (`*name`) are not accepted", node, field, "write the value out")
        self._seen.add(id(node))

    def value(self, node: yaml.Node, field: str, depth: int) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, field, depth)
        self._enter(node, field, depth)
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                child = f"{field}[{index}]"
                self.lines[child] = item.start_mark.line + 1
                items.append(self.value(item, child, depth + 1))
            return items
        return self._scalar(node, field)

    def mapping(self, node: yaml.MappingNode, field: str, depth: int) -> dict[str, Any]:
        self._enter(node, field, depth)
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag != "tag:yaml.org,2002:str":
                remedy = "write it in quotes" if isinstance(key_node, yaml.ScalarNode) else None
                raise self._fail(f"the key {key_node.value!r} is not text", key_node, field, remedy)
            key = key_node.value
            child = f"{field}.{key}" if field else key
            if key in data:
                raise self._fail(f"the key {key!r} is given twice", key_node, child, "keep one of them")
            self.lines[child] = key_node.start_mark.line + 1
            data[key] = self.value(value_node, child, depth + 1)
        return data

    def _scalar(self, node: yaml.Node, field: str) -> Any:
        if node.tag == "tag:yaml.org,2002:timestamp":
            return node.value  # a date where text is wanted is what was meant
        convert = _SCALARS.get(node.tag)
        if convert is None:
            raise self._fail(f"the YAML tag {node.tag!r} is not accepted", node, field, "write a plain value")
        if convert is not str:
            self.written[field] = node.value
        try:
            return _number(node.value) if convert in (int, float) else convert(node.value)
        except ValueError:
            return node.value


def _number(text: str) -> int | float:
    """Return a YAML 1.1 number; what only YAML 1.1 takes for one (`1:30`, `0o17`, `1_000`) stays text to the caller."""
    try:
        return int(text)
    except ValueError:
        return float(text)
