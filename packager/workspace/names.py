"""Names, versions and tags in a workspace, by the rules that Azure ML v1 has.

A name is 1 to 255 letters, digits, `-`, `_` and `.`, the first a letter, a digit or `_`. A version is a whole number
from 1. Tags and properties are text, by names that are text; neither has control characters.
"""

from __future__ import annotations

import re
import unicodedata

from packager.errors import UsageError
from packager.workspace.values import Kind

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}\Z", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}\Z", re.ASCII)
_TEXT = 4096


def is_name(name: str) -> bool:
    """Whether a text is a name."""
    return bool(_NAME.match(name))


def check_name(name: str, kind: Kind) -> str:
    """Return a name, as it is.

    Raises:
        UsageError: it is none.
    """
    if not is_name(name):
        raise UsageError(
            f"{name!r} is no name of {_a(kind)}",
            remedy="use letters, digits, '-', '_' and '.', the first a letter, a digit or '_'; at most 255",
        )
    return name


def parse_id(text: str, kind: Kind) -> tuple[str, int | None]:
    """Split `name` or `name:version`.

    Raises:
        UsageError: it is neither.
    """
    name, colon, version = text.partition(":")
    check_name(name, kind)
    if not colon:
        return name, None
    if not _NUMBER.match(version) or int(version) == 0:
        raise UsageError(
            f"{version!r} is no version of {_a(kind)}: it is a whole number from 1",
            remedy=f"name it as {name}:1, or {name} for the latest",
        )
    return name, int(version)


def check_text(text: str, what: str) -> str:
    """Return a description, or the name or value of a tag or property, as it is.

    Args:
        text: it.
        what: completes "… has a control character".

    Raises:
        UsageError: it has control characters or halves of characters, or is longer than 4096 characters.
    """
    if len(text) > _TEXT:
        raise UsageError(f"{what} is longer than {_TEXT} characters")
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t":
            raise UsageError(f"{what} has a control character ({character!r})", remedy="leave it out")
    return text


def check_pairs(pairs: dict[str, str], what: str) -> dict[str, str]:
    """Return tags or properties, as they are; see `check_text`.

    Raises:
        UsageError: one of them is none.
    """
    for key, value in pairs.items():
        if not key or key != key.strip() or "\n" in key or "=" in key:
            raise UsageError(f"{key!r} is no name of a {what}", remedy=f"give it as {what} NAME=VALUE")
        check_text(key, f"the name of the {what} {key!r}")
        check_text(value, f"the {what} {key!r}")
    return pairs


def _a(kind: Kind) -> str:
    return "a model" if kind == "model" else "an environment"
