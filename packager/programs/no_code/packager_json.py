"""Requests and answers of the entry script beside this file, which packager made for a model without code.

Requests are JSON objects. `null` is a missing value; NaN and Infinity are no JSON, and are refused. Answers are JSON,
in which NaN and infinities are `null`. What is wrong with a request is said in one sentence, with status 400.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any, NoReturn

from azureml.contrib.services.aml_response import AMLResponse


class BadRequest(Exception):  # noqa: N818
    """What is wrong with a request, in a sentence for the client."""


def parse(text: str, known: frozenset[str]) -> dict[str, Any]:
    """Return the JSON object that a request is; only `known` keys may be in it."""
    if not text.strip():
        raise BadRequest(f"the body is empty; send an object with {_listed(known)} as Content-Type: application/json")
    try:
        body = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadRequest(f"the body is not a JSON object; it is one with {_listed(known)}")
    for key in body:
        if key not in known:
            raise BadRequest(f"unknown key {shown(key)}; known: {_listed(known)}")
    return body


def _no_constant(name: str) -> NoReturn:
    raise BadRequest(f"{name} is not JSON; write null for a missing value")


def _listed(names: frozenset[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))


def shown(value: Any) -> str:
    """Return a value of a request as an error quotes it: short."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def first_line(error: Exception) -> str:
    """Return what a library says of its input, without the lines that are for programmers."""
    lines = str(error).strip().splitlines()
    return lines[0].strip()[:300] if lines else type(error).__name__


def depth_of(value: Any) -> int:
    """Return how deep lists are in one another, by the first of each."""
    depth = 0
    while isinstance(value, list):
        depth += 1
        value = value[0] if value else None
    return depth


def refused(problem: BadRequest) -> AMLResponse:
    """Return the answer to a request that is wrong."""
    return AMLResponse({"message": str(problem)}, 400, json_str=True)


def answered(value: Any) -> AMLResponse:
    """Return the answer that holds a value: lists, dicts, numbers, text, arrays, tables, times."""
    plain = _plain(value)
    try:
        text = json.dumps(plain, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(plain), allow_nan=False)
    return AMLResponse(text, 200, {"Content-Type": "application/json"})


def _plain(value: Any) -> Any:
    """Return a value in Python's own types. By what it can do, not by its class: NumPy and pandas may not be there."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, dict):
        return {_key(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return _text(value)
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        # A table: one record a row.
        return [_plain(row) for row in value.to_dict(orient="records")]
    if type(value).__name__ in ("NaTType", "NAType"):
        return None
    if hasattr(value, "total_seconds"):
        return _plain(value.total_seconds())
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "toarray"):
        value = value.toarray()  # a sparse matrix
    if hasattr(value, "tolist"):
        return _of_array(value)
    if hasattr(value, "__float__"):
        return float(value)
    return str(value)


def _of_array(value: Any) -> Any:
    """Return an array, a column or a single value of one as lists."""
    dtype = getattr(value, "dtype", None)
    kind = getattr(dtype, "kind", "O")
    if kind in "Mm" and not hasattr(dtype, "na_value"):
        # NumPy lists moments and durations as such only where Python's own can hold them.
        value = value.astype("datetime64[us]" if kind == "M" else "timedelta64[us]")
    listed = value.tolist()
    # Of numbers there is nothing more to do, but for pandas' own types, which may have gaps.
    return listed if kind in "biuf" and not hasattr(dtype, "na_value") else _plain(listed)


def _key(key: Any) -> str:
    key = _plain(key)
    return key if isinstance(key, str) else json.dumps(key)


def _text(value: bytes) -> Any:
    """Return bytes as text, or as TensorFlow Serving writes those that are none."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(each) for each in value]
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return value
