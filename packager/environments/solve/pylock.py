"""pylock.toml, the form in which uv answers and remembers: read into `LockedPackage`, and made of it. Pure.

Format: the packaging specification "pylock.toml" (PEP 751). uv lists every wheel that fits the platform; the lock takes
the one that an installer would, so that a reviewer sees exactly what will be in the image. `packaging.pylock` does not
do it: of wheels with the same tags it takes the first, where pip takes the highest build number, and it has one answer
where two indexes give two files.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from packager.environments.lock import LockedPackage
from packager.errors import LockError

_SHA256 = re.compile(r"[0-9a-f]{64}")
# uv's words for a Linux with glibc: `x86_64-manylinux_2_28`, `aarch64-manylinux2014`.
_GLIBC = re.compile(r"(?P<arch>[a-z0-9_]+)-manylinux(?:_2_(?P<minor>\d+)|(?P<old>2014))")
# PEP 600: names that older tools gave to the same thing.
_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


def parse_pylock(
    text: str,
    *,
    python: str,
    tags: str,
    without: Collection[str] = (),
    allowed: Mapping[str, Collection[str]] | None = None,
) -> tuple[LockedPackage, ...]:
    """Return the packages that uv solved for one platform, sorted by name.

    Args:
        text: of the pylock.toml.
        python: minor version (`3.13`).
        tags: the platform in uv's words.
        without: names, normalised, that are left out: conda brings them.
        allowed: name, normalised → sha256 of the files that alone may be taken; all files of other packages may.

    Raises:
        LockError: the text is not what uv writes, a package has no sha256, or no file of it is allowed.
    """
    try:
        entries = tomllib.loads(text).get("packages", [])
        packages = [
            _package(entry, python, tags, allowed or {})
            for entry in entries
            if canonicalize_name(entry["name"]) not in without
        ]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise LockError(
            f"uv's answer is not understood: {error!r}", remedy="report this with the version of uv"
        ) from None
    return tuple(sorted(packages, key=lambda package: package.name))


def format_preferences(versions: Mapping[str, str]) -> str:
    """Return a pylock.toml that holds names and versions alone: uv keeps them where they still fit."""
    lines = ['lock-version = "1.0"', 'created-by = "packager"']
    for name, version in versions.items():
        lines += ["", "[[packages]]", f"name = {json.dumps(name)}", f"version = {json.dumps(version)}"]
    return "\n".join([*lines, ""])


def _package(entry: dict[str, Any], python: str, tags: str, allowed: Mapping[str, Collection[str]]) -> LockedPackage:
    name = canonicalize_name(entry["name"])
    if "version" not in entry:
        raise LockError(
            f"{name} has no version of its own: it comes from a folder or a repository",
            remedy="publish it as a wheel to a package index",
        )
    files = entry.get("wheels") or [entry["sdist"]]
    if name in allowed:
        files = [file for file in files if _digest(name, file) in allowed[name]]
        if not files:
            raise LockError(
                f"no file of {name} {entry['version']} that fits has a hash which the environment names by --hash",
                remedy="find out where these hashes are from, as somebody wanted other files than the index has; "
                "`pip-compile --generate-hashes` or `uv pip compile --generate-hashes` write those of every file",
            )
    digests = {_digest(name, file) for file in (_best(files, python, tags) if entry.get("wheels") else files)}
    return LockedPackage(name=name, version=entry["version"], digests=tuple(sorted(digests)))


def _digest(name: str, file: dict[str, Any]) -> str:
    digest = file.get("hashes", {}).get("sha256", "")
    if not _SHA256.fullmatch(digest):
        raise LockError(f"the index gives no sha256 of {name}", remedy="use an index that does (PEP 503, PEP 691)")
    return str(digest)


def _best(wheels: list[dict[str, Any]], python: str, tags: str) -> list[dict[str, Any]]:
    """Return the wheel that fits best; several where two indexes have it."""
    ranks = _ranks(python, tags)
    ranked = [(_rank(wheel, ranks), wheel) for wheel in wheels]
    best = min(rank for rank, _ in ranked)
    return [wheel for rank, wheel in ranked if rank == best]


def _rank(wheel: dict[str, Any], ranks: dict[Tag, int]) -> tuple[int, tuple[int, str]]:
    """Return a number that is lower for what pip prefers: the closer tag, then the higher build number."""
    name = wheel.get("name") or unquote(wheel.get("url") or wheel["path"]).rpartition("/")[2]
    try:
        _, _, build, its_tags = parse_wheel_filename(name)
    except InvalidWheelFilename:
        return len(ranks), (0, "")
    number, suffix = build or (0, "")
    return min((ranks[tag] for tag in its_tags if tag in ranks), default=len(ranks)), (-number, suffix)


@lru_cache(maxsize=8)
def _ranks(python: str, tags: str) -> dict[Tag, int]:
    major, minor = (int(part) for part in python.split("."))
    platforms = _platforms(tags)
    interpreter = f"cp{major}{minor}"
    every = [
        *cpython_tags((major, minor), abis=[interpreter], platforms=platforms),
        *compatible_tags((major, minor), interpreter=interpreter, platforms=platforms),
    ]
    return {tag: rank for rank, tag in reversed(list(enumerate(every)))}


def _platforms(tags: str) -> list[str]:
    """Return the platform tags of a glibc Linux, newest first.

    None where uv's word is another: then wheels for a platform rank alike, and the lock takes the hashes of all.
    """
    found = _GLIBC.fullmatch(tags)
    if not found:
        return []
    newest = int(found["minor"] or 17)
    platforms = []
    for minor in range(newest, 4, -1):
        platforms.append(f"manylinux_2_{minor}_{found['arch']}")
        if minor in _OLD_NAMES:
            platforms.append(f"{_OLD_NAMES[minor]}_{found['arch']}")
    return [*platforms, f"linux_{found['arch']}"]
