"""Sizes, times and foreign text, as people write and read them."""

from __future__ import annotations

import re
from collections.abc import Callable

from packager.errors import UsageError

# C0 but tab and line feed, DEL, C1, line separators, what overrides the direction of text, and surrogates (which stand
# for bytes that are no UTF-8, and which no stream takes). A carriage return is harmless before a line feed alone.
_CONTROL = re.compile("\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NUMBER = re.compile(r"(\d{1,15}(?:\.\d{1,15})?) *([A-Za-z]*)\Z")
_SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def visible(text: str, escape: Callable[[str], str] = _escape) -> str:
    r"""Return a text with its control characters written out (`\x1b`): a terminal would obey them, and they hide text.

    Names, keys and messages come from files, registries and packages that somebody else made.

    Args:
        text: to be shown; tabs and line ends stay.
        escape: says how a character is written.
    """
    return _CONTROL.sub(lambda found: escape(found[0]), text)


def human_size(size: int) -> str:
    """Return bytes in decimal units as registries and engines show them (`1.2 MB`)."""
    if size < 1000:
        return f"{size} B"
    number = float(size)
    for unit in ("kB", "MB", "GB"):
        number /= 1000
        if number < 999.95:
            return f"{number:.1f} {unit}"
    return f"{number / 1000:.1f} TB"


def binary_size(size: int) -> str:
    """Return bytes as `service: {memory: …}` of a spec and Kubernetes have them: `304Mi`, `2Gi`; rounded up."""
    mebibytes = -(-size // 2**20)
    return f"{mebibytes // 1024}Gi" if mebibytes % 1024 == 0 and mebibytes else f"{mebibytes}Mi"


def parse_size(text: str, name: str) -> int:
    """Return the bytes of a size: `20GB` and `20g` are decimal, `20GiB` is binary, a number alone is bytes.

    Args:
        text: what somebody wrote.
        name: of the option or variable, for the error.

    Raises:
        UsageError: it is no size.
    """
    found = _NUMBER.match(text.strip())
    factor = {**_SIZES, **_BINARY}.get(found[2].lower().removesuffix("b")) if found else None
    if found is None or factor is None:
        raise UsageError(f"{name}: {text!r} is no size", remedy="a number with B, kB, MB, GB or TB: 20GB")
    return int(float(found[1]) * factor)


def parse_age(text: str, name: str) -> float:
    """Return the seconds of a time: `90s`, `30m`, `12h`, `7d`, `2w`.

    Args:
        text: what somebody wrote.
        name: of the option, for the error.

    Raises:
        UsageError: it is no time.
    """
    found = _NUMBER.match(text.strip())
    if found is None or found[2] not in _SECONDS:
        raise UsageError(f"{name}: {text!r} is no time", remedy="a number with s, m, h, d or w: 7d")
    return float(found[1]) * _SECONDS[found[2]]
