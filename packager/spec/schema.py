"""The JSON Schema of the spec, and of other declarations, made from their types."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from packager.spec.examples import EXAMPLES
from packager.spec.model import Spec


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `packager.yaml`; docstrings of its types describe the fields."""
    schema = schema_of(Spec, "packager.yaml", EXAMPLES)
    schema["$defs"]["Model"]["oneOf"] = [{"required": ["path"]}, {"required": ["registered"]}]
    return schema


def schema_of(kind: Any, title: str, examples: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a type, described by the docstrings of it, its bases and its parts.

    Args:
        kind: the type.
        title: of the schema.
        examples: name of a type → field → an example; none where None.
    """
    schema, types = msgspec.json.schema(kind), _parts(msgspec.inspect.type_info(kind), {})
    for part, definition in schema.get("$defs", {}).items():
        for name, example in (examples or {}).get(part, {}).items():
            definition["properties"][name]["examples"] = [example]
        definition["description"] = _doc(types[part])[0]
        for name, text in _fields(types[part]).items():
            field = definition["properties"][name]
            # What may be written there is said by the field's type, for all fields of that type.
            form = field.get("description", "")
            field["description"] = f"{text[0].upper()}{text[1:]} {form}".rstrip()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


def schema_text(schema: dict[str, Any]) -> str:
    """Return a schema as the text of a file."""
    return f"{json.dumps(schema, indent=2, ensure_ascii=False)}\n"


def _parts(node: Any, found: dict[str, type]) -> dict[str, type]:
    """Return name → type of all parts that a type, as msgspec describes it, has in it."""
    if isinstance(node, msgspec.inspect.StructType):
        if node.cls.__name__ in found:
            return found
        found[node.cls.__name__] = node.cls
    for name in ("type", "types", "item_type", "item_types", "value_type", "fields"):
        inner = getattr(node, name, ())
        for each in inner if isinstance(inner, tuple) else (inner,):
            _parts(each, found)
    return found


def _fields(kind: type) -> dict[str, str]:
    """Return field → what the docstrings of a type and its bases say of it."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if issubclass(each, msgspec.Struct) and vars(each).get("__doc__"):
            found |= _described(_doc(each)[1])
    return found


def _doc(kind: type) -> tuple[str, str]:
    """Return what a docstring says of a type, and of its fields."""
    summary, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:\n")
    return summary, attributes


def _described(attributes: str) -> dict[str, str]:
    """Return field → what a docstring's `Attributes:` says of it, over several lines, too."""
    found: dict[str, str] = {}
    name = ""
    for line in attributes.splitlines():
        if line.startswith("        "):
            found[name] += f" {line.strip()}"
        elif line.strip():
            name, _, text = line.strip().partition(": ")
            found[name] = text
    return found
