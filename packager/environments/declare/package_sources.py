"""Where pyproject.toml says that packages come from, by the tables of uv, Poetry, PDM and pixi. Pure.

Each of these tools takes a package from the place that its table names, and never from an index that has another one
of the same name. An index is passed on to the solve; a folder, a repository or a file cannot be locked and is refused.

Sources of the formats: uv's documentation, "Managing dependencies" and "Package indexes"; Poetry's, "Repositories" and
"Dependency specification"; PDM's, "Configure the project"; pixi's, "Pixi manifest".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import Any

from packager.environments.declare.requirement import canonical_name
from packager.environments.lock import PackageSources
from packager.errors import Location, SpecError

#: What names a place that is no index, and how messages call it.
_PLACES = {
    "workspace": "the workspace",
    "path": "a folder or file",
    "file": "a file",
    "git": "a repository",
    "hg": "a repository",
    "svn": "a repository",
    "url": "a URL",
}
_REMEDY = "publish it as a wheel to a package index and name that (`index = …`), or put its code into `source_dir`"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_URL = re.compile(r"https?://[^\s\"'\\;]+")
#: What Poetry and PDM call the public index, which is the machine's default index here.
_PUBLIC = "pypi"

_At = Callable[[str], Location]


def read_sources(tool: Mapping[str, Any], asked: Collection[str], at: _At, *, uv_reads: bool) -> PackageSources:
    """Return the indexes that the tools' tables name for the dependencies of a project.

    Args:
        tool: the table `tool` of pyproject.toml.
        asked: names of the dependencies, normalised.
        at: gives the place of a text in the file.
        uv_reads: uv finds the file by itself, and in it the indexes that are for every package.

    Raises:
        SpecError: a package that is asked for is to come from a place that cannot be locked, or from an index that is
            not named, has credentials in its URL, or is no index.
    """
    return joined(
        (
            _of_uv(tool, asked, at, uv_reads=uv_reads),
            _of_poetry(tool, asked, at),
            _of_pdm(tool, asked, at),
            _of_pixi(tool, asked, at),
        )
    )


def plain_sources(indexes: Iterable[str], default: str) -> PackageSources:
    """Return indexes that are named by their URLs alone, as requirements files do."""
    return PackageSources(indexes=tuple(map(_named_by_url, indexes)), default=_named_by_url(default) if default else "")


def _named_by_url(url: str) -> str:
    return f"{re.sub('[^a-z0-9]+', '-', url.partition('://')[2].lower()).strip('-')}={url}"


def joined(sources: Iterable[PackageSources]) -> PackageSources:
    """Return the indexes of several parts of an environment; what an earlier part says goes first."""
    packages: dict[str, tuple[str, ...]] = {}
    indexes: dict[str, None] = {}
    default = ""
    for each in sources:
        packages = each.packages | packages
        indexes |= dict.fromkeys(each.indexes)
        default = default or each.default
    return PackageSources(packages=dict(sorted(packages.items())), indexes=tuple(indexes), default=default)


def _of_uv(tool: Mapping[str, Any], asked: Collection[str], at: _At, *, uv_reads: bool) -> PackageSources:
    table = _table(tool, "uv")
    declared = _tables(table.get("index"))
    indexes = {str(each.get("name", "")): each for each in declared}
    found: dict[str, tuple[str, ...]] = {}
    for name, entries in _entries(_table(table, "sources"), asked):
        places = []
        for entry in entries:
            if "extra" in entry or "group" in entry:
                continue  # of dependencies that are not those of the project
            if "index" not in entry:
                raise _elsewhere(name, entry, "[tool.uv.sources]", at)
            index = str(entry["index"])
            place = _index(index, indexes.get(index), "[[tool.uv.index]]", at)
            places.append(f"{place} ; {entry['marker']}" if entry.get("marker") else place)
        if places:
            found[name] = tuple(places)
    others = (
        {}
        if uv_reads
        else {
            _index(str(each.get("name") or f"index-{number}"), each, "[[tool.uv.index]]", at): bool(each.get("default"))
            for number, each in enumerate(declared, 1)
            if not each.get("explicit")
        }
    )
    return PackageSources(
        packages=found,
        indexes=tuple(place for place, is_default in others.items() if not is_default),
        default=next((place for place, is_default in others.items() if is_default), ""),
    )


def _of_poetry(tool: Mapping[str, Any], asked: Collection[str], at: _At) -> PackageSources:
    table = _table(tool, "poetry")
    indexes = {str(each.get("name", "")): each for each in _tables(table.get("source"))}
    found: dict[str, tuple[str, ...]] = {}
    for name, entries in _entries(_table(table, "dependencies"), asked):
        for entry in entries:
            if _PLACES.keys() & entry.keys():
                raise _elsewhere(name, entry, "[tool.poetry.dependencies]", at)
        named = {str(entry["source"]) for entry in entries if "source" in entry}
        if len(named) > 1:
            raise SpecError(
                f"{name!r} has several sources in [tool.poetry.dependencies]",
                where=at(name),
                remedy="name one source for it",
            )
        for source in named:
            if source.lower() != _PUBLIC or source in indexes:
                found[name] = (_index(source, indexes.get(source), "[[tool.poetry.source]]", at),)
    # `explicit` is for what names it, `supplemental` beside the public index; any other takes that one's place.
    priorities = {name: str(each.get("priority", "primary")).lower() for name, each in indexes.items()}
    places = {
        name: _index(name, indexes[name], "[[tool.poetry.source]]", at)
        for name in sorted(priorities, key=lambda each: priorities[each] == "supplemental")
        if priorities[name] != "explicit" and name.lower() != _PUBLIC
    }
    public = _PUBLIC in (name.lower() for name in indexes) or all(priorities[each] == "supplemental" for each in places)
    order = tuple(places.values())
    return PackageSources(packages=found, indexes=order if public else order[:-1], default="" if public else order[-1])


def _of_pdm(tool: Mapping[str, Any], asked: Collection[str], at: _At) -> PackageSources:
    found: dict[str, tuple[str, ...]] = {}
    everywhere, default = [], ""
    for each in _tables(_table(tool, "pdm").get("source")):
        name = str(each.get("name", ""))
        if each.get("type", "index") != "index":
            raise SpecError(
                f"the source {name!r} of [[tool.pdm.source]] is no index but {each['type']}",
                where=at(name),
                remedy="set UV_FIND_LINKS on the machine instead, and remove it, or name an index",
            )
        place = _index(name, each, "[[tool.pdm.source]]", at)
        patterns = [canonical_name(str(pattern)) for pattern in each.get("include_packages") or ()]
        for package in asked:
            if any(fnmatchcase(package, pattern) for pattern in patterns):
                found.setdefault(package, (place,))
        if name.lower() == _PUBLIC:
            default = place
        elif not patterns:
            everywhere.append(place)
    return PackageSources(packages=found, indexes=tuple(everywhere), default=default)


def _of_pixi(tool: Mapping[str, Any], asked: Collection[str], at: _At) -> PackageSources:
    found: dict[str, tuple[str, ...]] = {}
    for name, entries in _entries(_table(_table(tool, "pixi"), "pypi-dependencies"), asked):
        for entry in entries:
            if _PLACES.keys() & entry.keys():
                raise _elsewhere(name, entry, "[tool.pixi.pypi-dependencies]", at)
            if "index" in entry:
                found[name] = (_index(name, {"url": entry["index"]}, "[tool.pixi.pypi-dependencies]", at),)
    return PackageSources(packages=found)


def is_member(folder: PurePath, workspace: object) -> bool:
    """Whether a folder, relative to the root of uv's workspace, is one of its members."""
    table = workspace if isinstance(workspace, dict) else {}

    def matches(pattern: object) -> bool:
        return fnmatchcase(folder.as_posix(), str(pattern).removeprefix("./").rstrip("/"))

    members, excluded = table.get("members") or (), table.get("exclude") or ()
    return any(map(matches, members)) and not any(map(matches, excluded))


# --- parts ------------------------------------------------------------------------------------------------------------


def _table(tool: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = tool.get(key)
    return found if isinstance(found, dict) else {}


def _tables(found: object) -> list[Mapping[str, Any]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _entries(table: Mapping[str, Any], asked: Collection[str]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Yield what is asked for with its entries, which are one table or several; a version alone says no place."""
    for name, value in table.items():
        if canonical_name(name) in asked:
            yield canonical_name(name), _tables([value] if isinstance(value, dict) else value)


def _elsewhere(name: str, entry: Mapping[str, Any], table: str, at: _At) -> SpecError:
    place = next((_PLACES[key] for key in _PLACES if key in entry), "a place that is not known here")
    return SpecError(
        f"{table} takes {name!r} from {place}, which cannot be locked; the index's package of that name is another",
        where=at(name),
        remedy=_REMEDY,
    )


def _index(name: str, declared: Mapping[str, Any] | None, table: str, at: _At) -> str:
    """Return an index as `NAME=URL`, the form that uv has for it."""
    text = str((declared or {}).get("url") or "")
    if declared is None or not text:
        raise SpecError(f"there is no index {name!r}", where=at(name), remedy=f"declare it by {table}: name and url")
    if "@" in text.partition("://")[2].partition("/")[0] or "${" in text:
        raise SpecError(
            f"the URL of the index {name!r} has credentials or variables in it",
            where=at(name),
            remedy=f"leave them out of the URL, and set UV_INDEX_{re.sub('[^A-Z0-9]', '_', name.upper())}_USERNAME and "
            "…_PASSWORD, or use a netrc file",
        )
    if not _NAME.fullmatch(name) or not _URL.fullmatch(text) or declared.get("format") == "flat":
        raise SpecError(
            f"the index {name!r} is none that can be asked",
            where=at(name),
            remedy="a name of letters, digits, `.`, `_`, `-`, and an http(s) URL; a folder of wheels: UV_FIND_LINKS",
        )
    return f"{name}={text}"
