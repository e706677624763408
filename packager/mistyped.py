"""What a declaration's value of another type is told: what the field takes, and how it would be written. Pure.

What fields take in words, and how values are written, is the declaration's own: `Words`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import msgspec

from packager.decoding import convert
from packager.errors import Location, SpecError

_PATH = re.compile(r" - at `(?:key in )?\$?\.?(.*)`$")
_EXPECTED = re.compile(r"Expected `([^`]+)`(?: (of length )?(>=|<=|>|<) (-?[0-9.]+))?(?:, got `(\w+)`)?")

#: What YAML makes of a text without quotes.
_KINDS: dict[type, str] = {
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "nothing",
}
#: msgspec's words, in people's.
_WORDS = {
    "array": "a list",
    "object": "a mapping",
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
}
_BOUNDS = {">=": "of at least", "<=": "of at most", ">": "above", "<": "below"}
#: Characters of a value that is written out in a remedy.
_MOST = 100


class Declaration(Protocol):
    """A file that somebody wrote, as values."""

    @property
    def data(self) -> dict[str, Any]:
        """Its mapping as plain dicts, lists and scalars."""

    @property
    def written(self) -> Mapping[str, str]:
        """What is not text where text may have been meant, as it was written, by the path of its field."""

    def at(self, field: str) -> Location:
        """Return the location of a field, or of its nearest parent that stands in the file."""


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """How the fields of a kind of declaration are spoken of.

    Attributes:
        flow: writes a value on one line, as the declaration has it.
        pair: writes a field with a value, both as text.
        quotes: advice where a number should be text, and its digits may be lost.
        quoted: whether a field, given by its path and its name, takes such advice.
        reference: where all fields are explained.
        examples: type of a part → field → a value that may stand there.
        patterns: what may be written, by a field's name, or by that of the part that it belongs to where they differ.
        paths: names of fields that are paths.
        relative: what those take.
        meant: part → the field that somebody means who writes its value alone.
    """

    flow: Callable[[Any], str]
    pair: Callable[[str, str], str]
    quotes: str
    quoted: Callable[[str, str], bool]
    reference: str
    examples: Mapping[str, Mapping[str, Any]] = {}
    patterns: Mapping[str, str] = {}
    paths: tuple[str, ...] = ()
    relative: str = ""
    meant: Mapping[str, str] = {}


def explain(error: msgspec.ValidationError, document: Declaration, kind: type, words: Words) -> SpecError:
    """Return what is wrong with a declaration, in the words of its users, and what would be right.

    Args:
        error: msgspec's, of the conversion of the document's data.
        document: the declaration.
        kind: the type that it was converted to.
        words: of such a declaration.
    """
    if (unknown := _unknown_key(document.data, _info(kind), "", document)) is not None:
        return unknown  # the likelier mistake goes first, wherever msgspec stopped
    text = str(error)
    found = _PATH.search(text)
    field = found[1] if found else ""
    message = text[: found.start()] if found else text
    missing = re.search(r"missing required field `(\w+)`", message)
    if missing:
        field = f"{field}.{missing[1]}" if field else missing[1]
        example = _example(*_declared(kind, _steps(field, document.data))[:2], words)
        such = f", such as `{example}`" if example else ""
        return SpecError(
            f"{field!r} is missing", where=document.at(field), remedy=f"add it{such}; see {words.reference}"
        )
    field = _with_keys(field, document.data, kind)
    value = _value_at(document.data, field)
    written = document.written.get(field)
    if written and message.startswith("Expected `str") and not isinstance(value, str | list | dict):
        # Of `1.10` YAML makes the number 1.1: what was written is what is meant.
        last = _steps(field, document.data)[-1]
        quoted = f'{last}: "{written}"' if isinstance(last, str) else f'"{written}"'
        message = f"{written} is {_KINDS.get(type(value), 'no text')} to YAML, and this is text"
        return SpecError(message, where=document.at(field), remedy=f"write it in quotes: {quoted}")
    remedy = _remedy(message, field, value, document, kind, words)
    return SpecError(
        _sentence(message, _called(_steps(field, document.data)), value, words.flow),
        where=document.at(field),
        remedy=remedy,
    )


# --- what is wrong ----------------------------------------------------------------------------------------------------


def _called(steps: list[Any]) -> str:
    """Return how a field is called in a sentence: by its last name, and its number where it is of a list."""
    numbers = ""
    for step in reversed(steps):
        if isinstance(step, str):
            return f"`{step}{numbers}`"
        numbers = f"[{step}]{numbers}"
    return "the file"


def _sentence(message: str, name: str, value: Any, flow: Callable[[Any], str]) -> str:
    shown = _shown(value, flow)
    expected = _EXPECTED.match(message)
    if "matching regex" in message or message.startswith("Invalid enum value"):
        return f"{shown} is not valid here"
    if expected is None:
        return f"{message}: {shown}"
    types, of_length, sign, bound, got = expected.groups()
    if got == "null":
        return f"{name} has no value"
    if of_length:
        limit = f"{sign} {bound}".replace(">=", "at least").replace("<=", "at most")
        unit = "characters" if types.startswith("str") else "values"
        return f"{name} is empty" if not value else f"{name} takes {limit} {unit}, and has {len(value)}"
    takes = " or ".join(_WORDS.get(each, each) for each in types.split(" | ") if each != "null")
    takes += f" {_BOUNDS[sign]} {bound.removesuffix('.0')}" if sign else ""
    if not got:
        return f"{name} takes {takes}, not {shown}"
    kind = {"str": "the text ", "array": "a list", "object": "a mapping"}.get(got, "")
    return f"{name} takes {takes}, not {kind}{shown if got not in ('array', 'object') else ''}"


def _shown(value: Any, flow: Callable[[Any], str]) -> str:
    if isinstance(value, dict | list):
        return flow(value) if len(flow(value)) <= 80 else f"{flow(value)[:77]}..."
    if isinstance(value, bool):
        return flow(value)
    return repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "..."


# --- what would be right ----------------------------------------------------------------------------------------------


def _remedy(message: str, field: str, value: Any, document: Declaration, kind: type, words: Words) -> str | None:
    steps = _steps(field, document.data)
    owner, name, node = _declared(kind, steps)
    if value is None and "got `null`" in message:
        example = _example(owner, name, words)
        return f"write one, such as `{example}`, or remove the line" if example else "write one, or remove the line"
    if _is_braces(value) and _fits(words.flow(value), field, document, kind):
        written = words.flow(value).replace(": null", "")
        return f'write it in quotes, for braces alone are a mapping to YAML: "{written}"'
    for meant in _meanings(value, node, words.meant):
        if _fits(meant, field, document, kind) and len(words.flow(meant)) <= _MOST:
            return _written(steps[-1], meant, words)
    if isinstance(value, int | float) and "`str" in message and words.quoted(field, name):
        return words.quotes
    return _form(steps, value, owner, name, node, words)


def _form(steps: list[Any], value: Any, owner: str, name: str, node: Any, words: Words) -> str | None:
    """Return what may be written in a field."""
    if own := words.patterns.get(f"{owner}.{name}"):
        return own
    if name in words.paths and isinstance(value, str):
        return words.relative
    if (choices := _choices(node)) and name != "framework":
        *most, last = choices
        return f"{', '.join(most)} or {last}" if most else last
    if name in words.patterns and not isinstance(value, list | dict):
        return words.patterns[name]
    last = steps[-1] if steps else ""
    part = node.cls.__name__ if hasattr(node, "cls") else ""
    if last != name and isinstance(last, str) and (examples := words.examples.get(part)):
        return f"such as `{words.pair(last, words.flow(dict([next(iter(examples.items()))])))}`"
    example = _example(owner, name, words)
    return f"such as `{example}`" if example else words.patterns.get(name)


def _example(owner: str, name: str, words: Words) -> str:
    example = words.examples.get(owner, {}).get(name)
    return "" if example is None else words.pair(name, words.flow(example))


def _written(last: str | int, value: Any, words: Words) -> str:
    """Return the advice to write a value; of a list's item in a form that fits lists in brackets and those with `-`."""
    text = words.flow(value)
    return f"write `{words.pair(last, text)}`" if isinstance(last, str) else f"write `{text}` in its place"


def _is_braces(value: Any) -> bool:
    """Whether YAML read a text that begins with `{` as a mapping: `{version}`."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value.values())) is None


def _meanings(value: Any, node: Any, fields: Mapping[str, str]) -> Iterator[Any]:
    """Yield what somebody can have meant by a value of another type than the field's, the likeliest first."""
    from msgspec import inspect as kinds

    for each in node.types if isinstance(node, kinds.UnionType) else (node,):
        if isinstance(each, kinds.StructType) and not isinstance(value, dict):
            if (meant := fields.get(each.cls.__name__)) is not None:
                yield {meant: value}
                yield {meant: [value]}
        elif isinstance(each, kinds.VarTupleType | kinds.ListType):
            items = value if isinstance(value, list) else [value]
            if not isinstance(value, list):
                yield items
            yield [next(_meanings(item, each.item_type, fields), item) for item in items]
        elif isinstance(each, kinds.DictType) and isinstance(value, list):
            pairs = [item.partition("=") for item in value if isinstance(item, str) and "=" in item]
            if len(pairs) == len(value):
                yield {name: text for name, _, text in pairs}
        elif isinstance(each, kinds.IntType) and isinstance(value, str | float):
            if re.fullmatch(r"[0-9]{1,18}(?:\.0+)?", str(value)):
                yield int(float(value))
        elif isinstance(each, kinds.FloatType) and isinstance(value, str):
            if re.fullmatch(r"[0-9]{1,18}\.[0-9]{1,18}", value):
                yield float(value)
        elif isinstance(each, kinds.BoolType) and str(value).lower() in ("true", "false"):
            yield str(value).lower() == "true"
    if isinstance(value, list) and len(value) == 1:
        yield value[0]


def _fits(meant: Any, field: str, document: Declaration, kind: type) -> bool:
    """Whether a declaration would be right in a field that had another value: advice that fails again is none."""
    wrong = _wrong(_with(document.data, field, meant), kind)
    return wrong is None or not wrong.startswith(field)


def _wrong(data: Any, kind: type) -> str | None:
    """Return the path of the first value that does not fit; None where all do."""
    try:
        convert(data, kind)
    except msgspec.ValidationError as error:
        found = _PATH.search(str(error))
        return _with_keys(found[1], data, kind) if found else ""
    return None


# --- fields and their types -------------------------------------------------------------------------------------------


def _info(kind: type) -> Any:
    """Return msgspec's description of a type."""
    # Imported late: a declaration without faults needs none.
    from msgspec import inspect

    return inspect.type_info(kind)


def _unknown_key(data: Any, node: Any, field: str, document: Declaration) -> SpecError | None:
    """Return what is wrong with the first key, at any depth, that the declaration's type does not have."""
    from msgspec import inspect as kinds

    for each in node.types if isinstance(node, kinds.UnionType) else (node,):
        if isinstance(each, kinds.StructType) and isinstance(data, dict):
            parts = {part.encode_name: part.type for part in each.fields}
            unknown = next((key for key in data if key not in parts), None)
            if unknown is not None:
                return _unknown(unknown, list(parts), f"{field}.{unknown}" if field else unknown, document)
            inner = ((parts[key], f"{field}.{key}" if field else key, value) for key, value in data.items())
        elif isinstance(each, kinds.DictType) and isinstance(data, dict):
            inner = ((each.value_type, f"{field}.{key}", value) for key, value in data.items())
        elif isinstance(each, kinds.VarTupleType | kinds.ListType) and isinstance(data, list):
            inner = ((each.item_type, f"{field}[{index}]", value) for index, value in enumerate(data))
        else:
            continue
        found = (_unknown_key(value, kind, child, document) for kind, child, value in inner)
        return next((error for error in found if error is not None), None)
    return None


def _unknown(key: str, names: list[str], field: str, document: Declaration) -> SpecError:
    from difflib import get_close_matches

    close = get_close_matches(key.lower(), names, n=1, cutoff=0.6)
    remedy = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(names)}"
    return SpecError(f"unknown key {key!r}", where=document.at(field), remedy=remedy)


def _declared(kind: type, steps: list[Any]) -> tuple[str, str, Any]:
    """Return the name of the part that a path ends in, the field's name there, and msgspec's type of its value."""
    from msgspec import inspect as kinds

    owner, name = "", ""
    node = _info(kind)
    for step in steps:
        options = node.types if isinstance(node, kinds.UnionType) else (node,)
        node = None
        for each in options:
            if isinstance(each, kinds.StructType):
                found = next((part for part in each.fields if part.encode_name == step), None)
                if found is not None:
                    owner, name, node = each.cls.__name__, step, found.type
            elif isinstance(each, kinds.DictType) and isinstance(step, str):
                node = each.value_type
            elif isinstance(each, kinds.VarTupleType | kinds.ListType) and isinstance(step, int):
                node = each.item_type
    return owner, name, node


def _choices(node: Any) -> tuple[str, ...]:
    """Return the values of a field that takes some alone."""
    from msgspec import inspect as kinds

    options = node.types if isinstance(node, kinds.UnionType) else (node,)
    values = (value for each in options if isinstance(each, kinds.LiteralType) for value in each.values)
    return tuple(str(value) for value in values if value != "")


def _with_keys(field: str, data: Any, kind: type) -> str:
    """Put keys in for the `[...]` with which msgspec names a value of a mapping: those that are wrong by themselves."""
    head, mark, tail = field.partition("[...]")
    if not mark:
        return field
    parent = head.rstrip(".")
    mapping = _value_at(data, parent)
    for key, value in mapping.items() if isinstance(mapping, dict) else ():
        alone = _with(data, parent, {key: value})
        try:
            convert(alone, kind)
        except msgspec.ValidationError as error:
            found = _PATH.search(str(error))
            if found and found[1].endswith(f"[...]{tail}"):
                return _with_keys(f"{parent}.{key}{tail}", alone, kind)
    return parent


def _with(data: Any, field: str, value: Any) -> Any:
    """Return data with another value in a field that is there."""
    found = copy.deepcopy(data)
    steps = _steps(field, data)
    place = found
    for step in steps[:-1]:
        place = place[step]
    place[steps[-1]] = value
    return found


def _steps(field: str, data: Any) -> list[Any]:
    """Return the keys and numbers that a path is made of; keys that have dots (`docker.io`) are known by the data."""
    steps: list[Any] = []
    while field:
        keys = data if isinstance(data, dict) else ()
        known = [key for key in keys if re.match(rf"{re.escape(key)}(?:[.\[]|$)", field)]
        step = max(known, key=len) if known else re.split(r"[.\[\]]", field)[0] or field
        number = re.match(r"\[([0-9]+)\]", field)
        steps.append(int(number[1]) if number else step)
        field = field[number.end() if number else len(step) :].removeprefix(".")
        try:
            data = data[steps[-1]]
        except (KeyError, IndexError, TypeError):
            data = None
    return steps


def _value_at(data: Any, field: str) -> Any:
    for step in _steps(field, data):
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data
