"""What is asked of a version before any workspace takes it, and what becomes of it when it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from packager.errors import ContextError, UsageError
from packager.workspace.names import check_name, check_pairs, check_text
from packager.workspace.paths import clash_of, problem_of, shown
from packager.workspace.values import Change, Content, Version

#: Files of one version: far above real ones, and what is read back has the same limit.
MOST_FILES = 200_000


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of a version may change, after `changes` changes."""

    changes: int = 0
    description: str = ""
    tags: dict[str, str] = {}
    properties: dict[str, str] = {}


def check_draft(draft: Version, files: Sequence[Content], samples: Sequence[Content]) -> None:
    """Refuse what cannot be registered.

    Raises:
        UsageError: name, description, tags or properties are none; a framework's version without the framework.
        ContextError: there is no file, or paths that cannot stand side by side.
    """
    check_name(draft.name, draft.kind)
    check_text(draft.description, "the description")
    check_pairs(draft.tags, "tag")
    check_pairs(draft.properties, "property")
    if draft.framework_version is not None and draft.framework is None:
        raise UsageError(
            f"{draft.name}: a version of the framework ({draft.framework_version}) says nothing without the framework",
            remedy="name the framework, too",
        )
    if not files:
        raise ContextError(f"{draft.name} has no file: there is nothing to register")
    for group in (files, samples):
        check_paths([each.path for each in group], draft.name)


def check_paths(paths: Sequence[str], name: str) -> None:
    """Refuse paths that leave their folder, or cannot all be files in it.

    Raises:
        ContextError: the first one found.
    """
    if len(paths) > MOST_FILES:
        raise ContextError(f"{name} has more than {MOST_FILES} files")
    for path in paths:
        if problem := problem_of(path):
            raise ContextError(f"{name} has a file whose path {problem}: {shown(path)}")
    if clash := clash_of(paths):
        raise ContextError(f"{name} has {clash}")


def changed(version: Version, change: Change) -> Version:
    """Return a version with a change; the same one where that changes nothing.

    Raises:
        UsageError: a text is none, or a property that is there would change.
    """
    check_text(change.description or "", "the description")
    check_pairs(change.add_tags, "tag")
    check_pairs(change.add_properties, "property")
    for key, value in change.add_properties.items():
        if version.properties.get(key, value) != value:
            raise UsageError(
                f"the property {key!r} of {version.id} is {version.properties[key]!r}, and a property never changes",
                remedy="use a tag for what may, or register a new version",
            )
    tags = {key: value for key, value in version.tags.items() if key not in change.remove_tags} | change.add_tags
    after = msgspec.structs.replace(
        version,
        description=version.description if change.description is None else change.description,
        tags=tags,
        properties=version.properties | change.add_properties,
    )
    return version if after == version else msgspec.structs.replace(after, changes=version.changes + 1)


def state_of(version: Version) -> State:
    """Return what of a version may change, as it is."""
    return State(
        changes=version.changes, description=version.description, tags=version.tags, properties=version.properties
    )


def with_state(version: Version, state: State) -> Version:
    """Return a version with another state."""
    return msgspec.structs.replace(
        version,
        changes=state.changes,
        description=state.description,
        tags=state.tags,
        properties=state.properties,
    )


def now() -> str:
    """Return the time now: RFC 3339, UTC, seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def newest(versions: Mapping[int, Version]) -> Version | None:
    """Return the version with the highest number."""
    return versions[max(versions)] if versions else None
