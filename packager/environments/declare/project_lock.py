"""The versions that the lock of a project's own tool holds, beside its pyproject.toml: they lead where they fit.

Formats: uv.lock (uv's documentation, "Project structure and files"; `[[package]]` with `source`, `dependencies`,
`resolution-markers`), poetry.lock (`[[package]]` with a table `dependencies` and `markers`), pdm.lock (`[[package]]`
with a list `dependencies` and `marker`), pylock.toml (PEP 751; `[[packages]]` with `marker`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packager.environments.declare.requirement import canonical_name
from packager.environments.declare.requirements_txt import note
from packager.errors import Location, SpecError
from packager.spec.document import read_text

#: The files, and what writes each anew.
FILES = {"uv.lock": "`uv lock`", "poetry.lock": "`poetry lock`", "pdm.lock": "`pdm lock`", "pylock.toml": "its tool"}
# Most of such a file, and nothing that is read: a line for each file of a package.
_DISTRIBUTION = re.compile(r"^ *\{ ?(?:url|file) = .*\n", re.MULTILINE)
# Where a package comes from that has no release of that version on an index.
_ELSEWHERE = ("editable", "virtual", "directory", "path", "git", "url", "vcs", "archive")


def versions_beside(
    file: Path, root: Path, shown: Path, asked: Iterable[str]
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Return the versions of the lock that lies beside a pyproject.toml, and a note that says so; nothing without one.

    Args:
        file: the pyproject.toml, relative to the folder of the spec.
        root: that folder.
        shown: that folder as people see it.
        asked: names that the project asks for, normalised.

    Raises:
        SpecError: the lock cannot be read.
    """
    name = next((each for each in FILES if os.path.lexists(root / file.parent / each)), None)
    if name is None:
        return {}, ()
    path = shown / file.parent / name
    try:
        versions = read_versions(root / file.parent / name, root, asked)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise SpecError(
            f"{name} is no lock that can be read: {error}",
            where=Location(file=str(path)),
            remedy=f"let {FILES[name]} write it anew, or remove it: its versions lead where they fit",
        ) from None
    said = note(Location(file=str(path)), f"its versions lead where they fit ({len(versions)} packages)")
    return versions, (said,) if versions else ()


def read_versions(path: Path, below: Path, asked: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the versions of what is asked, and of what that needs.

    Args:
        path: of the lock.
        below: folder that it may not be out of.
        asked: names, normalised. What else the lock holds (groups for development) is of no interest.

    Returns:
        normalised name → `VERSION`; or, where there are several, each as `VERSION ; MARKER`.

    Raises:
        SpecError: it cannot be read.
        ValueError, TypeError, AttributeError, RecursionError: it is no TOML, or has another form.
    """
    import tomllib

    data = tomllib.loads(_DISTRIBUTION.sub("", read_text(path, below)))
    entries = data.get("package", data.get("packages", []))
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise ValueError("`package` is no list of tables")
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        # Groups of Poetry and PDM; uv has development's beside what the project needs.
        if {*entry.get("groups", ("main",))} & {"main", "default"}:
            found.setdefault(canonical_name(str(entry.get("name", ""))), []).append(entry)
    reached = _reached(found, asked) if any("dependencies" in each for each in entries) else found.keys()
    return {name: versions for name in sorted(reached) if (versions := _versions(found[name]))}


def _reached(entries: Mapping[str, list[dict[str, Any]]], asked: Iterable[str]) -> set[str]:
    """Return the names that are asked, and those that these need; with all of their extras."""
    reached: set[str] = set()
    front = set(asked)
    while front := {name for name in front if name in entries} - reached:
        reached |= front
        front = {need for name in front for entry in entries[name] for need in _needs(entry)}
    return reached


def _needs(entry: Mapping[str, Any]) -> Iterable[str]:
    for table in (entry.get("dependencies", ()), *_lists(entry.get("optional-dependencies"))):
        for each in table:
            name = each.get("name", "") if isinstance(each, dict) else str(each)
            yield canonical_name(re.split(r"[\s\[<>=!~;@(]", name.strip(), maxsplit=1)[0])


def _lists(extras: object) -> Iterable[Any]:
    return extras.values() if isinstance(extras, dict) else ()


def _versions(entries: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    own = [each for each in entries if isinstance(each.get("version"), str) and not _is_elsewhere(each)]
    if len({each["version"] for each in own}) < 2:
        return tuple({each["version"] for each in own})
    return tuple(f"{each['version']} ; {marker}" for each in own if (marker := _marker(each)))


def _is_elsewhere(entry: Mapping[str, Any]) -> bool:
    source = entry.get("source")
    kind = source.get("type", "") if isinstance(source, dict) else ""
    places = {*entry, *(source if isinstance(source, dict) else ())}
    return kind in ("directory", "file", "git", "url") or any(each in places for each in _ELSEWHERE)


def _marker(entry: Mapping[str, Any]) -> str:
    """Return for which machines a version is; empty where nothing says so."""
    said = entry.get("resolution-markers") or entry.get("markers") or entry.get("marker") or ""
    lines = [said] if isinstance(said, str) else [*(said.values() if isinstance(said, dict) else said)]
    return " or ".join(f"({each})" for each in lines if each)


def of_image(versions: Mapping[str, Iterable[str]], words: Mapping[str, str]) -> dict[str, str]:
    """Return the one version of each name that is for an image; none where several are, or a marker is unknown.

    Args:
        versions: see `read_versions`.
        words: what markers ask, as it is in the image.
    """
    from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName
    from packaging.version import InvalidVersion, Version

    found = {}
    for name, lines in versions.items():
        fitting = set()
        for line in lines:
            version, _, marker = line.partition(" ; ")
            try:
                if not marker or Marker(marker).evaluate({**words, "extra": ""}):
                    fitting.add(str(Version(version)))
            except (InvalidMarker, InvalidVersion, UndefinedComparison, UndefinedEnvironmentName):
                continue
        if len(fitting) == 1:
            found[name] = fitting.pop()
    return found
