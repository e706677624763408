"""The step `schema`: the JSON Schema of what people write, and of what verbs print."""

from __future__ import annotations

from typing import Any

from packager.errors import UsageError
from packager.spec.schema import json_schema, schema_of

#: What people write.
DECLARATIONS = ("spec", "config")


def names() -> tuple[str, ...]:
    """Return the names of all schemas."""
    from packager.steps.outputs import OUTPUTS

    return (*DECLARATIONS, *OUTPUTS)


def schema(name: str = "spec") -> dict[str, Any]:
    """Return a JSON Schema (draft 2020-12).

    Args:
        name: `spec` for `packager.yaml`, `config` for a user's defaults, else of what a verb prints (`names`).

    Raises:
        UsageError: there is none of this name.
    """
    if name == "spec":
        return json_schema()
    if name == "config":
        from packager.steps.settings import EXAMPLES, Settings

        return schema_of(Settings, "config.yaml", {"Settings": EXAMPLES})
    from packager.steps.outputs import OUTPUTS, VERSION

    if name in OUTPUTS:
        return schema_of(OUTPUTS[name], f"packager.{name}/{VERSION}")
    raise UsageError(f"there is no schema {name!r}", remedy=f"schemas: {', '.join(names())}")
