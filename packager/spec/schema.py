"""The JSON Schema of the spec, made from its types."""

from __future__ import annotations

from typing import Any

import msgspec

from packager.spec.model import Spec


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `packager.yaml`."""
    schema = msgspec.json.schema(Spec)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "packager.yaml", **schema}
