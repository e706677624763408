"""Names of Azure ML v1's curated environments: which of ours is the nearest (`environments/v1-names.toml`)."""

from __future__ import annotations

import tomllib
from functools import cache

import msgspec

from packager.decoding import convert
from packager.resources import data_folder

#: How such names start; no registered environment has one, as in v1.
PREFIX = "AzureML-"


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds: whole names, and how names start; each → a curated environment."""

    names: dict[str, str]
    families: dict[str, str]


def v1_names() -> dict[str, str]:
    """Return v1's names that are listed → the nearest curated environment."""
    return dict(_table().names)


def nearest(name: str) -> str | None:
    """Return the curated environment that is the nearest to one of v1; None where nothing is known of it.

    Args:
        name: v1's; upper and lower case are the same, as there.
    """
    wanted = name.casefold()
    for known, curated in _table().names.items():
        if known.casefold() == wanted:
            return curated
    families = sorted(_table().families.items(), key=lambda each: -len(each[0]))
    return next((curated for start, curated in families if wanted.startswith(start.casefold())), None)


@cache
def _table() -> _Table:
    text = (data_folder("environments") / "v1-names.toml").read_text(encoding="utf-8")
    return convert(tomllib.loads(text), _Table)
