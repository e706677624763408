"""The small documents of a workspace in a registry: artifacts without content, that say all in an annotation. Pure.

Source: OCI image spec 1.1, "Guidelines for Artifact Usage" (the empty descriptor).
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from packager.decoding import json_decoder
from packager.errors import RegistryError
from packager.http import MAX_DOCUMENT
from packager.oci.values import MANIFEST, Descriptor, digest_of
from packager.workspace.artifact import T, read_json
from packager.workspace.drafts import State, state_of
from packager.workspace.values import Change, Version

What = Literal["format", "name", "claim", "edit", "deleted", "index", "indexes", "busy", "image"]

#: Counts up when an older packager would misread a workspace.
FORMAT = 1

EMPTY = b"{}"
EMPTY_BLOB = Descriptor(media_type="application/vnd.oci.empty.v1+json", digest=digest_of(EMPTY), size=len(EMPTY))

#: Bytes of an index as text at most, and of what it unpacks to.
_INDEX, _UNPACKED = MAX_DOCUMENT // 2, 256 << 20


class Edit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change of a version, and what the version is with it and those before.

    Attributes:
        first: it is no change but what the version was registered with; what was written before counts no more.
        seen: tags of the changes before it, as far as it knew them.
        after: what the version is with those.
        description, add_tags, remove_tags, add_properties: as of `Change`.
    """

    after: State
    first: bool = False
    seen: tuple[str, ...] = ()
    description: str | None = None
    add_tags: dict[str, str] = {}
    remove_tags: tuple[str, ...] = ()
    add_properties: dict[str, str] = {}


def folded(edits: Sequence[Edit]) -> State:
    """Return what a version is with all of its changes, in their order: the same for everyone, whoever saw which first.

    Of two that gave one property a value at once, the first has it.
    """
    state = State()
    for edit in edits:
        if edit.first:
            state = edit.after
            continue
        tags = {name: value for name, value in state.tags.items() if name not in edit.remove_tags}
        state = State(
            description=state.description if edit.description is None else edit.description,
            tags=tags | edit.add_tags,
            properties=edit.add_properties | state.properties,
            changes=state.changes + 1,
        )
    return state


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A version as an index has it, and how many of its changes are in it."""

    edits: int
    version: Version


class Index(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All versions of a name, as they were when it was written.

    Attributes:
        records: of the versions, sorted by number.
        damage: of versions that could not be read, one sentence each.
        settled: tags of those who were about to change something, and have done so.
        whole: whether there was room for all versions.
    """

    records: tuple[Record, ...] = ()
    damage: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    whole: bool = True


#: Made when there is one thread: of several that decode a new type at once, one crashes (msgspec 0.22).
_READ_INDEX = json_decoder(Index)


def edit_of(change: Change, before: Version, seen: tuple[str, ...]) -> Edit:
    """Return a change of a version as it is written down."""
    edit = Edit(
        after=State(),
        seen=seen,
        description=change.description,
        add_tags=change.add_tags,
        remove_tags=change.remove_tags,
        add_properties=change.add_properties,
    )
    return msgspec.structs.replace(edit, after=folded([Edit(after=state_of(before), first=True), edit]))


def note(what: What, text: str, tag: str) -> bytes:
    """Return the manifest of a small document.

    Args:
        what: it is.
        text: that it says.
        tag: that it gets. With it no two are the same, and deleting one by its digest deletes no other.
    """
    return msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": f"application/vnd.packager.workspace.{what}.v1",
            "config": EMPTY_BLOB,
            "layers": [EMPTY_BLOB],
            "annotations": {f"packager.{what}": text, "packager.tag": tag},
        },
        order="sorted",
    )


class _Note(msgspec.Struct, frozen=True):
    annotations: dict[str, str] = {}


def text_of(manifest: bytes, what: What, named: str) -> str:
    """Return what a manifest of `note` says.

    Raises:
        RegistryError: it is none.
    """
    text = read_json(manifest, _Note, f"the manifest of {named}").annotations.get(f"packager.{what}")
    if text is None:
        raise RegistryError(f"{named} is nothing of a workspace: it has no annotation packager.{what}")
    return text


def value_of(manifest: bytes, what: What, kind: type[T], named: str) -> T:
    """Return the value that a manifest of `note` has as JSON.

    Raises:
        RegistryError: it is none.
    """
    return read_json(text_of(manifest, what, named).encode(), kind, f"packager.{what} of {named}")


def json_text(value: Any) -> str:
    """Return a value as deterministic JSON."""
    return msgspec.json.encode(value, order="sorted").decode()


def pack_index(index: Index) -> str:
    """Return an index as text; where there is no room for all of its versions, for the newest."""
    while True:
        text = base64.b85encode(zlib.compress(msgspec.json.encode(index), 6)).decode()
        if len(text) <= _INDEX:
            return text
        index = msgspec.structs.replace(index, records=index.records[len(index.records) // 2 + 1 :], whole=False)


def unpack_index(text: str, named: str) -> bytes:
    """Return the JSON of an index.

    Raises:
        RegistryError: it is none.
    """
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b85decode(text), _UNPACKED)
    except (ValueError, zlib.error):
        raise RegistryError(f"{named} is no index of a workspace") from None
    if not unpacker.eof:
        raise RegistryError(f"{named} is no index of a workspace, or not all of one")
    return data


def read_index(data: bytes) -> Index | None:
    """Return an index from its JSON; None where it is none."""
    try:
        return _READ_INDEX.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None
