"""What a declaration's value of another type is told: what the field takes, and how it would be written. Pure."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from packager.decoding import convert
from packager.errors import SpecError
from packager.spec.document import Document
from packager.spec.examples import EXAMPLES
from packager.spec.rules import TAG_FORM

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
_EXACT = ("environment.variables.", "targets.")
_QUOTES = 'write it in quotes, so that YAML keeps it as it is, such as "3.10"'
_PACKAGE_NAME = "lower-case letters, digits and single `.`, `_`, `-` between them"
_VARIABLES = "text in quotes, on one line and without control characters"
_LABEL = "lower-case letters, digits and `-`, starting with a letter, at most 63 of them"
_CPU = "processors, such as 0.5 or 500m"
_MEMORY = "a size with its unit, such as 512Mi, 2GiB or 2GB"

#: What may be written, by a field's name, or by that of the part that it belongs to where they differ.
_PATTERNS = {
    "cache_limit": "a size: 20GB",
    "workspace": "a name, a path with a `/`, or oci://registry.example.com/ml",
    "mirrors": "a registry and the host to ask in its place, such as {docker.io: mirror.example.com}",
    "max_body": "a size such as 100Mi, 5MB or 4096 (bytes)",
    "Spec.version": TAG_FORM,
    "Spec.name": _PACKAGE_NAME,
    "InlineEnvironment.curated": "the name of a curated environment: `packager environment list`",
    "Model.name": "letters, digits, `.`, `_` and `-`, starting with a letter or a digit",
    "Model.version": "a whole number, such as 1",
    "Case.name": "text on one line, at most 200 characters",
    "Case.path": "the path of a URL with its query, such as /score or /swagger.json",
    "python": 'a minor version in quotes, such as "3.13"',
    "system_packages": "Debian package names, such as libgomp1 or libgomp1=14.2.0-19",
    "allow_missing": "names of libraries, such as [libGL.so.1]",
    "platforms": "an OCI platform, such as linux/amd64 or linux/arm64",
    "host": 'a version in quotes, such as {xrt: "2.13.466"}',
    "cuda": 'a version of CUDA in quotes, such as "12.8"',
    "virtual_packages": 'a version in quotes, such as {__cuda: "12.4"}',
    "variables": _VARIABLES,
    "registered": "a name in the workspace, or a version of it, such as sklearn_mnist or sklearn_mnist:3",
    "framework": "sklearn, onnx, tensorflow or mlflow",
    "framework_version": 'a version in quotes, such as "1.9.1"',
    "env": _VARIABLES,
    "headers": _VARIABLES,
    "cpu": _CPU,
    "cpu_limit": _CPU,
    "memory": _MEMORY,
    "memory_limit": _MEMORY,
    "replicas": "a number, or the least and the most: {min: 1, max: 4, target: 70}",
    "namespace": _LABEL,
    "dns_name": _LABEL,
    "method": "an HTTP method in capitals, such as GET",
}
_PATHS = ("path", "entry_script", "source_dir", "environment", "name_map", "file", "cert", "key")
_RELATIVE = "a path relative to the folder of the spec, with `/`, not starting with `-`, without line breaks"

#: Part of the spec → the field that somebody means who writes its value alone.
_MEANT = {"Model": "path", "InlineEnvironment": "pip", "AddedPackages": "pip", "Image": "repository", "Expect": "body"}
#: Characters of a value that is written out in a remedy.
_MOST = 100


def explain(error: msgspec.ValidationError, document: Document, kind: type) -> SpecError:
    """Return what is wrong with a declaration, in the words of its users, and what would be right.

    Args:
        error: msgspec's, of the conversion of the document's data.
        document: the declaration.
        kind: the type that it was converted to.
    """
    text = str(error)
    found = _PATH.search(text)
    field = found[1] if found else ""
    message = text[: found.start()] if found else text
    missing = re.search(r"missing required field `(\w+)`", message)
    if missing:
        field = f"{field}.{missing[1]}" if field else missing[1]
        example = _example(*_declared(kind, _steps(field, document.data))[:2])
        such = f", such as `{example}`" if example else ""
        return SpecError(
            f"{field!r} is missing", where=document.at(field), remedy=f"add it{such}; see `packager schema`"
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
    remedy = _remedy(message, field, value, document, kind)
    return SpecError(
        _sentence(message, _called(_steps(field, document.data)), value), where=document.at(field), remedy=remedy
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


def _sentence(message: str, name: str, value: Any) -> str:
    shown = _shown(value)
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
    words = " or ".join(_WORDS.get(each, each) for each in types.split(" | ") if each != "null")
    words += f" {_BOUNDS[sign]} {bound.removesuffix('.0')}" if sign else ""
    if not got:
        return f"{name} takes {words}, not {shown}"
    kind = {"str": "the text ", "array": "a list", "object": "a mapping"}.get(got, "")
    return f"{name} takes {words}, not {kind}{shown if got not in ('array', 'object') else ''}"


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return flow(value) if len(flow(value)) <= 80 else f"{flow(value)[:77]}..."
    if isinstance(value, bool):
        return flow(value)
    return repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "..."


def flow(value: Any) -> str:
    """Return a value as YAML on one line; texts are in double quotes where they need some."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{flow(key)}: {flow(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    if not isinstance(value, str):
        return json.dumps(value)
    import yaml

    plain = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=1 << 20)[1:-2]
    return json.dumps(value, ensure_ascii=False) if plain[:1] in ("'", '"') else plain


# --- what would be right ----------------------------------------------------------------------------------------------


def _remedy(message: str, field: str, value: Any, document: Document, kind: type) -> str | None:
    steps = _steps(field, document.data)
    owner, name, node = _declared(kind, steps)
    if value is None and "got `null`" in message:
        example = _example(owner, name)
        return f"write one, such as `{example}`, or remove the line" if example else "write one, or remove the line"
    if _is_braces(value) and _fits(flow(value), field, document, kind):
        return f'write it in quotes, for braces alone are a mapping to YAML: "{flow(value).replace(": null", "")}"'
    for meant in _meanings(value, node):
        if _fits(meant, field, document, kind) and len(flow(meant)) <= _MOST:
            return _written(steps[-1], meant)
    if isinstance(value, int | float) and not isinstance(value, bool) and not field.startswith("service."):
        named = field.split(".")[0] in ("version", "python", "env") or name == "framework_version"
        if (named or field.startswith(_EXACT)) and "`str" in message:
            return _QUOTES
    return _form(steps, value, owner, name, node)


def _form(steps: list[Any], value: Any, owner: str, name: str, node: Any) -> str | None:
    """Return what may be written in a field."""
    if own := _PATTERNS.get(f"{owner}.{name}"):
        return own
    if name in _PATHS and isinstance(value, str):
        return _RELATIVE
    if (choices := _choices(node)) and name != "framework":
        *most, last = choices
        return f"{', '.join(most)} or {last}" if most else last
    if name in _PATTERNS and not isinstance(value, list | dict):
        return _PATTERNS[name]
    last = steps[-1] if steps else ""
    part = node.cls.__name__ if hasattr(node, "cls") else ""
    if last != name and isinstance(last, str) and (examples := EXAMPLES.get(part)):
        return f"such as `{last}: {flow(dict([next(iter(examples.items()))]))}`"
    example = _example(owner, name)
    return f"such as `{example}`" if example else _PATTERNS.get(name)


def _example(owner: str, name: str) -> str:
    example = EXAMPLES.get(owner, {}).get(name)
    return "" if example is None else f"{name}: {flow(example)}"


def _written(last: str | int, value: Any) -> str:
    """Return the advice to write a value; of a list's item in a form that fits lists in brackets and those with `-`."""
    return f"write `{last}: {flow(value)}`" if isinstance(last, str) else f"write `{flow(value)}` in its place"


def _is_braces(value: Any) -> bool:
    """Whether YAML read a text that begins with `{` as a mapping: `{version}`."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value.values())) is None


def _meanings(value: Any, node: Any) -> Iterator[Any]:
    """Yield what somebody can have meant by a value of another type than the field's, the likeliest first."""
    from msgspec import inspect as kinds

    for each in node.types if isinstance(node, kinds.UnionType) else (node,):
        if isinstance(each, kinds.StructType) and not isinstance(value, dict):
            if (meant := _MEANT.get(each.cls.__name__)) is not None:
                yield {meant: value}
                yield {meant: [value]}
        elif isinstance(each, kinds.VarTupleType | kinds.ListType):
            items = value if isinstance(value, list) else [value]
            if not isinstance(value, list):
                yield items
            yield [next(_meanings(item, each.item_type), item) for item in items]
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


def _fits(meant: Any, field: str, document: Document, kind: type) -> bool:
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


def _declared(kind: type, steps: list[Any]) -> tuple[str, str, Any]:
    """Return the name of the part that a path ends in, the field's name there, and msgspec's type of its value."""
    from msgspec import inspect as kinds

    owner, name = "", ""
    node: Any = kinds.type_info(kind)
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
    return tuple(str(value) for each in options if isinstance(each, kinds.LiteralType) for value in each.values)


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
