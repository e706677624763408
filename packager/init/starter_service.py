"""What a spec has of a service that was deployed elsewhere: `service:`, and what was not taken over."""

from __future__ import annotations

import json
import re
import textwrap
from typing import Any

from packager.init.hints import Hints, shown

#: Columns of a comment.
_WIDTH = 118


def service_text(hints: Hints) -> str:
    """Return the `service:` section, with the key that each field comes from; nothing where no file says anything."""
    if not hints.service:
        return ""
    lines = ["", "# What the service wants where it runs: `packager run`, `test` and `service` keep to it.", "service:"]
    for name, value in hints.service.items():
        if not isinstance(value, dict):
            lines.append(f"  {name}: {_value(value)}{_origin(hints, f'service.{name}')}")
            continue
        lines.append(f"  {name}:")
        lines += [
            f"    {part}: {_value(each)}{_origin(hints, f'service.{name}.{part}')}" for part, each in value.items()
        ]
    return "\n".join(lines) + "\n"


def left_text(hints: Hints) -> str:
    """Return as comments what of the files is not in the spec, and why."""
    if not hints.notes:
        return ""
    lines = ["", "# Not taken over:"]
    for note in hints.notes:
        lines += textwrap.wrap(shown(note, 2000), _WIDTH, initial_indent="#   ", subsequent_indent="#     ")
    return "\n".join(lines) + "\n"


def _origin(hints: Hints, field: str) -> str:
    origin = hints.origins.get(field)
    return f"   # {shown(origin)}" if origin else ""


def _value(value: Any) -> str:
    if isinstance(value, float):
        # YAML takes 1e-05 for text.
        return f"{value:.9f}".rstrip("0").rstrip(".")
    plain = isinstance(value, str) and re.fullmatch(r"(?:key|token|none|[0-9.]+(?:[KMGT]i?B?|m))", value)
    return value if plain else json.dumps(value, ensure_ascii=False)
