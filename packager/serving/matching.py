"""What an answer is, held against what it must be. Pure: values in, readable differences out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec

#: Differences that are shown of one answer, and characters of a value.
SHOWN, WIDTH = 10, 60


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it came.

    Attributes:
        status: of HTTP.
        headers: in order; a name may come twice.
        body: bytes.
        seconds: from the first byte sent to the last one received.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    seconds: float


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer must be; what is not given may be anything.

    Attributes:
        status: of HTTP.
        headers: name → value; the names' case does not matter, nor do parameters of a media type that are not given.
        json: the body as JSON; UNSET where it need not be.
        body: the body's bytes.
        absolute: how far numbers of `json` may be apart.
        relative: the same, as a part of the larger one; either is enough.
        schema: JSON Schema of the body.
        contains: texts that are in the body.
        max_latency: seconds.
    """

    status: int = 200
    headers: dict[str, str] = {}
    json: Any = msgspec.UNSET
    body: bytes | None = None
    absolute: float = 0.0
    relative: float = 0.0
    schema: dict[str, Any] | None = None
    contains: tuple[str, ...] = ()
    max_latency: float | None = None


def differences(expected: Expected, reply: Reply) -> tuple[str, ...]:
    """Return one line for each way in which an answer is not what it must be; empty when it is.

    Raises:
        jsonschema.SchemaError: the schema is none (see `packager.serving.cases`, which finds out before).
    """
    try:
        found = list(_differences(expected, reply))
    except RecursionError:
        return ("the body is nested too deeply to be compared",)
    more = len(found) - SHOWN
    return tuple(found[:SHOWN] + ([f"… and {more} more"] if more > 0 else []))


def _differences(expected: Expected, reply: Reply) -> Iterator[str]:
    if reply.status != expected.status:
        yield f"status: {reply.status} != {expected.status}{_said(reply.body)}"
    yield from _headers(expected, reply)
    if expected.json is not msgspec.UNSET or expected.schema is not None:
        try:
            value = json.loads(reply.body)
        except (ValueError, RecursionError):
            yield f"the body is not JSON: {shown(reply.body.decode(errors='replace'))}"
        else:
            if expected.json is not msgspec.UNSET:
                yield from compare(value, expected.json, absolute=expected.absolute, relative=expected.relative)
            if expected.schema is not None:
                yield from schema_errors(value, expected.schema)
    if expected.body is not None and expected.body != reply.body:
        yield _bytes(reply.body, expected.body)
    text = reply.body.decode(errors="replace")
    for each in expected.contains:
        if each not in text:
            yield f"the body does not contain {shown(each)}: {shown(text)}"
    if expected.max_latency is not None and reply.seconds > expected.max_latency:
        yield f"it took {reply.seconds:.2f} s, more than {expected.max_latency:g} s"


def compare(value: Any, expected: Any, *, absolute: float = 0.0, relative: float = 0.0, at: str = "$") -> Iterator[str]:
    """Give each difference of two JSON values with its path.

    Args:
        value: what came.
        expected: what must come; an object may not have other keys.
        absolute: how far two numbers may be apart.
        relative: the same, as a part of the larger one.
        at: path so far.
    """
    if _is_number(value) and _is_number(expected):
        if not _near(value, expected, absolute, relative):
            allowed = ", ".join([f"{absolute:g}"] * bool(absolute) + [f"{relative:g} relative"] * bool(relative))
            yield f"{at}: {shorten(str(value), WIDTH)} != {shorten(str(expected), WIDTH)}" + (
                f" (tolerance {allowed})" if allowed else ""
            )
    elif isinstance(value, dict) and isinstance(expected, dict):
        for key in expected:
            path = f"{at}.{key}" if re.fullmatch(r"\w+", key) else f"{at}[{json.dumps(key, ensure_ascii=False)}]"
            if key not in value:
                yield f"{path}: missing, expected {shown(expected[key])}"
            else:
                yield from compare(value[key], expected[key], absolute=absolute, relative=relative, at=path)
        for key in (each for each in value if each not in expected):
            yield f"{at}: unexpected key {shown(key)}"
    elif isinstance(value, list) and isinstance(expected, list):
        if len(value) != len(expected):
            yield f"{at}: {len(value)} items != {len(expected)}"
        for index, (one, other) in enumerate(zip(value, expected, strict=False)):
            yield from compare(one, other, absolute=absolute, relative=relative, at=f"{at}[{index}]")
    elif value != expected or isinstance(value, bool) != isinstance(expected, bool):
        text = isinstance(value, str) and not isinstance(expected, str) and _is_json(value)
        note = " (a text that holds JSON: run() returned text where a value was meant)" if text else ""
        yield f"{at}: {shown(value)} != {shown(expected)}{note}"


def schema_errors(value: Any, schema: dict[str, Any]) -> Iterator[str]:
    """Give each way in which a value is not as its JSON Schema says; nothing is fetched for a `$ref`."""
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry

    validator = validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())
    for error in validator.iter_errors(value):
        yield f"{error.json_path}: {shorten(error.message, 2 * WIDTH)} (schema)"


def shown(value: Any) -> str:
    """Return a value as JSON, shortened."""
    return shorten(json.dumps(value, ensure_ascii=False), WIDTH)


def shorten(text: str, width: int) -> str:
    """Return a text that is not longer than `width` characters."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _headers(expected: Expected, reply: Reply) -> Iterator[str]:
    for name, value in expected.headers.items():
        came = [each for other, each in reply.headers if other.lower() == name.lower()]
        if not came:
            yield f"header {name}: missing, expected {shown(value)}"
        elif value not in came and not (
            name.lower() == "content-type" and ";" not in value and came[0].partition(";")[0].strip() == value
        ):
            yield f"header {name}: {shown(came[0])} != {shown(value)}"


def _bytes(body: bytes, expected: bytes) -> str:
    same = next((at for at, (one, other) in enumerate(zip(body, expected, strict=False)) if one != other), None)
    if same is None:
        return f"the body has {len(body)} bytes != {len(expected)}"
    one, other = body[same : same + 16], expected[same : same + 16]
    return f"the body differs at byte {same}: {one!r} != {other!r}"


def _said(body: bytes) -> str:
    return f": {shorten(body.decode(errors='replace').strip(), 2 * WIDTH)}" if body.strip() else ""


def _near(value: float, expected: float, absolute: float, relative: float) -> bool:
    if value == expected:
        return True
    try:
        both_nan = math.isnan(value) and math.isnan(expected)  # Python's JSON has NaN
        return both_nan or math.isclose(value, expected, rel_tol=relative, abs_tol=absolute)
    except OverflowError:  # an integer that no float holds
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
