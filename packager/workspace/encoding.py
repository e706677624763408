"""What a registry's repository name cannot hold, mapped one to one, visibly. Pure.

A part of a repository's name has lower-case letters and digits, with `.`, `_`, `__` or any number of `-` between them
(OCI distribution spec 1.1, "Pulling manifests"). A name of ours that is one, and has no `--`, stands as it is. Any
other is `x--` and its characters: lower-case letters and digits as they are, all others as `--` and two hex digits:
`Iris_v2` is `x----49ris--5fv2`.
"""

from __future__ import annotations

import re

from packager.errors import UsageError

_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*\Z", re.ASCII)
_MARK = "x--"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_CODED = re.compile(r"(?:[a-z0-9]|--[0-9a-f]{2})+\Z", re.ASCII)
_PIECE = re.compile(r"--([0-9a-f]{2})|([a-z0-9])", re.ASCII)

#: Characters of an encoded name at most: a tag has 128, and those that name one say what of and which as well.
LONGEST = 90


def encode(name: str) -> str:
    """Return a name as a part of a repository's name.

    Raises:
        UsageError: it becomes too long for a tag.
    """
    encoded = name
    if not _PART.match(name) or "--" in name:
        encoded = _MARK + "".join(_encoded(character) for character in name)
    if len(encoded) > LONGEST:
        raise UsageError(
            f"the name {name!r} is too long for a workspace in a registry: as {encoded!r} it has {len(encoded)} "
            f"characters, and tags there have room for {LONGEST}",
            remedy="choose a shorter name; of lower-case letters, digits, '-', '_' and '.', it stays as it is",
        )
    return encoded


def decode(encoded: str) -> str | None:
    """Return the name that `encode` made this of; None where it made it of none."""
    if not encoded.startswith(_MARK):
        return encoded if _PART.match(encoded) and "--" not in encoded else None
    rest = encoded.removeprefix(_MARK)
    if not _CODED.match(rest):
        return None
    octets = b"".join(bytes([int(piece[1], 16)]) if piece[1] else piece[2].encode() for piece in _PIECE.finditer(rest))
    try:
        name = octets.decode()
        return name if encode(name) == encoded else None
    except (UnicodeDecodeError, UsageError):
        return None


def _encoded(character: str) -> str:
    return character if character in _PLAIN else "".join(f"--{octet:02x}" for octet in character.encode())
