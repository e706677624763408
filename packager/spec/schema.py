"""The JSON Schema of the spec, made from its types."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from packager.spec.model import Spec


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `packager.yaml`; docstrings of its types describe the fields."""
    schema = msgspec.json.schema(Spec)
    for definition in schema["$defs"].values():
        summary, _, attributes = inspect.cleandoc(definition["description"]).partition("\n\nAttributes:\n")
        definition["description"] = summary
        for line in attributes.splitlines():
            name, _, text = line.strip().partition(": ")
            field = definition["properties"][name]
            # What may be written there is said by the field's type, for all fields of that type.
            form = field.get("description", "")
            field["description"] = f"{text[0].upper()}{text[1:]} {form}".rstrip()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "packager.yaml", **schema}
