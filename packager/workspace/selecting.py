"""Which versions somebody asks for: by tags, properties, framework and run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from packager.errors import UsageError
from packager.workspace.values import Version


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What a version has that is asked for.

    Attributes:
        tags: each `KEY`, or `KEY=VALUE`.
        properties: the same.
        framework: by our name or Azure ML v1's, which are the same; so are upper and lower case.
        run_id: of the run that made it.
    """

    tags: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    framework: str | None = None
    run_id: str | None = None


def select(versions: Iterable[Version], wanted: Filter, *, latest: bool = False) -> tuple[Version, ...]:
    """Return the versions that have all that is asked for, in their order.

    Args:
        versions: sorted by name and number.
        wanted: what is asked for.
        latest: of each name, the last of them alone.

    Raises:
        UsageError: a tag or property without a name.
    """
    tags, properties = (_pairs(each, what) for each, what in ((wanted.tags, "tag"), (wanted.properties, "property")))
    framework = None if wanted.framework is None else _framework(wanted.framework)
    found = tuple(
        version
        for version in versions
        if _has(version.tags, tags)
        and _has(version.properties, properties)
        and (framework is None or _framework(version.framework or "") == framework)
        and wanted.run_id in (None, version.run_id)
    )
    return tuple({version.name: version for version in found}.values()) if latest else found


def _framework(name: str) -> str:
    # Imported late: few lists are of a framework, and what knows their names reads files of models.
    from packager.workspace.facts import V1_NAMES

    ours = {v1.casefold(): str(each) for each, v1 in V1_NAMES.items()}
    return ours.get(name.casefold(), name.casefold())


def _pairs(texts: Iterable[str], what: str) -> tuple[tuple[str, str | None], ...]:
    found = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not key:
            raise UsageError(f"{text!r} names no {what}", remedy="give it as KEY, or KEY=VALUE")
        found.append((key, value if equals else None))
    return tuple(found)


def _has(there: Mapping[str, str], wanted: Iterable[tuple[str, str | None]]) -> bool:
    return all(key in there and value in (None, there[key]) for key, value in wanted)
