"""Values of other files as fields of the spec's `service:` section: units, types, and what does not fit together."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from packager.decoding import convert
from packager.init.hints import Hints, Section, shown
from packager.spec.service import Probes, Replicas, ServiceWishes, Tls, cpu_of, memory_of

_PARTS: dict[str, Any] = {"": ServiceWishes, "replicas": Replicas, "probes": Probes, "tls": Tls}

#: Returns a value of the spec; raises ValueError, with what is meant, where it is none.
Convert = Callable[[Any], Any]


def number(value: Any) -> float | int:
    """Return a number, also one that is written as text."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,12}(?:\.[0-9]{1,9})?\s*", value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("it is no number")
    if not 0 <= value < 1e12:
        raise ValueError("it is no number from 0 on that a service can have")
    return int(value) if value == int(value) else float(value)


def whole(value: Any) -> int:
    """Return a whole number."""
    found = number(value)
    if not isinstance(found, int):
        raise ValueError("it is no whole number")
    return found


def gigabytes(value: Any) -> str:
    """Return an amount of memory, given in GB as Azure has it, which are GiB."""
    found = number(value)
    mebibytes = round(found * 1024)
    return f"{found}Gi" if isinstance(found, int) else f"{mebibytes}Mi"


def milliseconds(value: Any) -> float | int:
    """Return seconds."""
    found = number(value) / 1000
    return int(found) if found == int(found) else found


def text(value: Any) -> str:
    """Return a text of one line."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("it is no text of one line")
    return value.strip()


def quantity(value: Any) -> float | int | str:
    """Return an amount as Kubernetes has it: a number, or a text with its unit."""
    return text(value) if isinstance(value, str) and not re.fullmatch(r"[0-9.]+", value) else number(value)


def put_field(section: Section, key: str, field: str, convert: Convert, *, reason: str = "") -> None:
    """Set a field of `service:`, where its value can be one.

    Args:
        section: has the key.
        key: it comes from.
        field: below `service`, dotted.
        convert: makes it a value of the spec.
        reason: what of it is not as it was.
    """
    value = section.get(key)
    if value is None:
        return
    try:
        found = convert(value)
        put_value(section, key, field, found, reason=reason)
    except ValueError as error:
        section.left(key, str(error))


def put_value(section: Section, key: str, field: str, value: Any, *, reason: str = "") -> None:
    """Set a field of `service:`; see `put_field`.

    Raises:
        ValueError: the spec admits no such value.
    """
    part, _, name = field.rpartition(".")
    kinds = {each.name: each.type for each in msgspec.structs.fields(_PARTS[part])}
    try:
        convert(value, kinds[name])
    except msgspec.ValidationError as error:
        raise ValueError(f"`service.{field}` cannot be that: {shown(str(error))}") from None
    service = section.hints.service
    into = service.setdefault(part, {}) if part else service
    if isinstance(into, dict):
        section.put(key, f"service.{field}", value, into, reason)
    else:
        section.left(key, f"{section.hints.origins.get(f'service.{part}', 'another file')} has said it already")
    if part and not service[part]:
        del service[part]


def settle_service(hints: Hints) -> None:
    """Take back what does not fit together: the spec refuses it, and whoever wrote it has to decide."""
    service = hints.service
    _settle_limit(hints, "cpu", cpu_of)
    _settle_limit(hints, "memory", memory_of)
    replicas = service.get("replicas")
    if isinstance(replicas, dict):
        _settle_replicas(hints, replicas)
    tls = service.get("tls", {})
    for name, other in (("cert", "key"), ("key", "cert")):
        if name in tls and other not in tls:
            _take_back(hints, f"tls.{name}", tls, f"there is no {other}")
    if "tls" in service and not tls:
        del service["tls"]


def _settle_limit(hints: Hints, name: str, size: Callable[[Any], float]) -> None:
    service = hints.service
    asked, limit = service.get(name), service.get(f"{name}_limit")
    if asked is not None and limit is not None and size(limit) < size(asked):
        _take_back(hints, f"{name}_limit", service, f"it is less than what is asked for ({asked})")


def _settle_replicas(hints: Hints, replicas: dict[str, Any]) -> None:
    least = replicas.get("min", 1)
    if replicas.get("max", least) < least:
        _take_back(hints, "replicas.max", replicas, f"it is less than the least ({least})")
    if "target" in replicas and replicas.get("max", least) == least:
        _take_back(hints, "replicas.target", replicas, "the number of replicas is fixed, and nothing is decided by it")
    if not replicas:
        del hints.service["replicas"]


def _take_back(hints: Hints, field: str, values: dict[str, Any], why: str) -> None:
    del values[field.rpartition(".")[2]]
    origin = hints.origins.pop(f"service.{field}", "")
    file, _, key = origin.partition(": ")
    for index, each in enumerate(hints.entries):
        if (each.file, each.key, each.outcome) == (file, key, "taken"):
            hints.entries[index] = msgspec.structs.replace(each, outcome="left", field="", reason=why)
