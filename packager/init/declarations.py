"""Text of a declaration → plain data: JSON with line and column of what is wrong, and YAML as specs have it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from packager.errors import Location, SpecError
from packager.spec.document import MAX_DEPTH, MAX_VALUES, decode, parse_yaml, read_bytes

#: Endings of the files that are read so.
JSON, YAML = (".json",), (".yml", ".yaml")

_REMEDY = "mend the line; JSON has double quotes around keys and texts, no comments, and no comma at the end of a list"


def read_declaration(path: Path, shown: str) -> tuple[Any, tuple[str, ...]]:
    """Return what a file holds, and the keys that it has twice (the last one counts, as for every reader of JSON).

    Args:
        path: of the file.
        shown: the same as messages name it.

    Raises:
        SpecError: it cannot be read, or is no JSON or YAML; with line and column.
    """
    text = decode(read_bytes(path), Path(shown))
    if not shown.lower().endswith(JSON):
        return parse_yaml(text, Path(shown)).data, ()
    return _json(text, shown)


def _json(text: str, shown: str) -> tuple[Any, tuple[str, ...]]:
    twice: list[str] = []
    name = Path(shown).name

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice.extend(sorted({key for key in keys if keys.count(key) > 1}))
        return found

    def no_number(word: str) -> Any:
        raise SpecError(
            f"{name} is not valid JSON: {word} is no number", where=Location(file=shown), remedy="write null"
        )

    try:
        data = json.loads(text, object_pairs_hook=mapping, parse_constant=no_number)
    except json.JSONDecodeError as error:
        where = Location(file=shown, line=error.lineno, column=error.colno)
        raise SpecError(f"{name} is not valid JSON: {_reason(text, error)}", where=where, remedy=_REMEDY) from None
    except RecursionError:
        raise SpecError(f"{name} is nested too deeply", where=Location(file=shown)) from None
    except ValueError:
        # Python refuses to read whole numbers of thousands of digits.
        raise SpecError(f"{name} has a number of thousands of digits", where=Location(file=shown)) from None
    _require_bounds(data, shown)
    return data, tuple(twice[:10])


def _reason(text: str, error: json.JSONDecodeError) -> str:
    if not text.strip():
        return "the file is empty"
    return error.msg[:1].lower() + error.msg[1:]


def _require_bounds(data: Any, shown: str) -> None:
    """Refuse what no real file has, before anything walks through it."""
    left, level = MAX_VALUES, [data]
    for _ in range(MAX_DEPTH):
        level = [each for value in level for each in _children(value)]
        left -= len(level)
        if left < 0:
            break
        if not level:
            return
    raise SpecError(f"{Path(shown).name} is too large or nested too deeply", where=Location(file=shown))


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
