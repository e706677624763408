"""All versions of names in a registry: from their indexes, this machine's memory, or one by one where neither has them.

An index tells in one document what all tags of a name's repository say. Whoever changes something says so before (a
tag `busy-…`) and writes a new index afterwards, which says that it is settled. So the list of one repository's tags
tells which indexes hold: the only one of the highest rank, where nobody is busy that it does not know. Where none does
(somebody is at it, was killed, or two wrote at once), the name's own repository is asked, as it is for one version.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

import msgspec

from packager.errors import PackagerError, RegistryError, TemporaryError
from packager.progress import in_thread
from packager.storage.memory import Memory
from packager.workspace.artifact import read_artifact
from packager.workspace.bundles import MANY, read_bundle, write_bundle
from packager.workspace.claims import wait_for
from packager.workspace.documents import (
    Edit,
    Index,
    Record,
    folded,
    pack_index,
    read_index,
    text_of,
    unpack_index,
)
from packager.workspace.drafts import State, with_state
from packager.workspace.encoding import decode
from packager.workspace.modelpack import is_ours, read_version
from packager.workspace.remote import OWN, Remote
from packager.workspace.tags import (
    FOLDERS,
    Name,
    NumberTags,
    WorkspaceTags,
    busy_since,
    busy_tag,
    index_tag,
    name_tag,
    read_number_tags,
    read_workspace_tags,
)
from packager.workspace.values import Kind, Version

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Requests at the same time: as many as the connections that a session keeps.
JOBS = 8
#: Versions that are read one by one, where an index may have them all.
_FEW = 3
#: Seconds after which who is busy was killed.
_ABANDONED = 86400.0
#: Tries to write an index: each means that another was faster.
_TRIES = 5


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The versions of a name: records by number, and what could not be read, one sentence each."""

    records: Mapping[int, Record]
    damage: tuple[str, ...] = ()

    @property
    def versions(self) -> tuple[Version, ...]:
        """The versions, sorted by number."""
        return tuple(self.records[number].version for number in sorted(self.records))


class NameRecords:
    """The versions of the names of one workspace. Several threads may use one.

    Args:
        remote: its registry.
        memory: of what was read before.
        clock: the time now, in seconds since the epoch.
    """

    def __init__(self, remote: Remote, memory: Memory, clock: Callable[[], float] = time.time) -> None:
        self._remote = remote
        self._memory = memory
        self._clock = clock

    @property
    def _location(self) -> str:
        return f"{self._remote.base.name} {self._remote.identity}"

    def workspace_tags(self) -> WorkspaceTags:
        """Return what the tags of the workspace's own repository say now."""
        return read_workspace_tags(self._remote.client(OWN).tags())

    def path(self, name: Name) -> str:
        """Return the path of a name's repository."""
        return f"{FOLDERS[name[0]]}/{name[1]}"

    def tags(self, name: Name) -> NumberTags:
        """Return what the tags of a name's repository say now."""
        return read_number_tags(self._remote.client(self.path(name)).tags())

    # --- all names ---

    def all(self, kind: Kind) -> dict[str, Known]:
        """Return the versions of all names: by encoded name, sorted."""
        tags = self.workspace_tags()
        names = sorted(each for each in tags.names if each[0] == kind and decode(each[1]) is not None)
        indexes = self._indexes(kind, names, tags)
        found = in_parallel(lambda each: self._listed(each, tags, indexes), names)
        return {name[1]: known for name, known in zip(names, found, strict=True)}

    def _indexes(self, kind: Kind, names: Sequence[Name], tags: WorkspaceTags) -> dict[str, bytes]:
        """Return the JSON of the indexes that count, by their tags, as far as there is any."""
        wanted = [tops[0] for name in names if len(tops := tags.tops(name)) == 1]
        kept = {tag: self._memory.recall("index", self._location, tag) for tag in wanted}
        found = {tag: data for tag, data in kept.items() if data is not None}
        missing = [tag for tag in wanted if tag not in found]
        if len(missing) > MANY:
            bundle = read_bundle(self._remote, kind, tags, missing)
            for tag, data in bundle.items():
                self._memory.remember(data, "index", self._location, tag)
            found |= bundle
            missing = [tag for tag in missing if tag not in found]
        read = in_parallel(self._fetch_index, missing)
        found |= {tag: data for tag, data in zip(missing, read, strict=True) if data is not None}
        if len(missing) > MANY:
            write_bundle(self._remote, kind, tags, found)
        return found

    def _listed(self, name: Name, tags: WorkspaceTags, indexes: Mapping[str, bytes]) -> Known:
        tops = tags.tops(name)
        data = indexes.get(tops[0]) if len(tops) == 1 else None
        index = None if data is None else read_index(data)
        if index is not None and index.whole and tags.busy.get(name, frozenset()) <= set(index.settled):
            return Known(records={each.version.version: each for each in index.records}, damage=index.damage)
        return self.known(name, self.tags(name), index)

    def _index(self, name: Name, tags: WorkspaceTags) -> Index | None:
        """Return the index of a name that counts; None where there is none, or two."""
        tops = tags.tops(name)
        return self._index_at(tops[0]) if len(tops) == 1 else None

    def _index_at(self, tag: str) -> Index | None:
        data = self._memory.recall("index", self._location, tag)
        if data is None:
            data = self._fetch_index(tag)
        return None if data is None else read_index(data)

    def _fetch_index(self, tag: str) -> bytes | None:
        named = f"{self._remote.base.name}/{OWN}:{tag}"
        try:
            found = self._remote.client(OWN).find_manifest(tag)
            if found is None:
                return None
            data = unpack_index(text_of(found.data, "index", named), named)
        except RegistryError:
            # An index is of help alone: what it says is at its names, too.
            return None
        self._memory.remember(data, "index", self._location, tag)
        return data

    # --- one name ---

    def known(self, name: Name, tags: NumberTags, index: Index | None = None) -> Known:
        """Return the versions of a name as its own tags say; what is known of them already is not asked for.

        Args:
            name: of which.
            tags: of its repository.
            index: that it had.
        """
        records = {each.version.version: each for each in self._recall(name)}
        wanted = [number for number in tags.live if not _holds(records.get(number), number, tags)]
        if index is None and len(wanted) > _FEW:
            index = self._index(name, self.workspace_tags())
        if index is not None:
            there = {each.version.version: each for each in index.records}
            records.update({each: there[each] for each in wanted if _holds(there.get(each), each, tags)})
        wanted = [number for number in wanted if not _holds(records.get(number), number, tags)]
        read = in_parallel(lambda number: self._read_or_say(name, number, tags), wanted)
        damage = [each for each in read if isinstance(each, str)]
        records.update({each.version.version: each for each in read if isinstance(each, Record)})
        live = {number: records[number] for number in tags.live if _holds(records.get(number), number, tags)}
        if wanted or index is not None:
            self._remember(name, live.values())
        return Known(records=live, damage=tuple(damage))

    def one(self, name: Name, number: int, tags: NumberTags) -> Version:
        """Return one version that there is.

        Raises:
            RegistryError: it is damaged, or the registry refuses.
            TemporaryError: it does not answer, or not now.
        """
        found = next((each for each in self._recall(name) if each.version.version == number), None)
        if found is None or not _holds(found, number, tags):
            found = self._read(name, number, tags)
            self.keep(name, found)
        return found.version

    def keep(self, name: Name, record: Record) -> None:
        """Remember what was just written or read."""
        others = [each for each in self._recall(name) if each.version.version != record.version.version]
        self._remember(name, [*others, record])

    def _recall(self, name: Name) -> tuple[Record, ...]:
        data = self._memory.recall("records", self._location, *name)
        found = None if data is None else read_index(data)
        return found.records if found is not None else ()

    def _remember(self, name: Name, records: Iterable[Record]) -> None:
        ordered = tuple(sorted(records, key=lambda each: each.version.version))
        self._memory.remember(msgspec.json.encode(Index(records=ordered)), "records", self._location, *name)

    def _read_or_say(self, name: Name, number: int, tags: NumberTags) -> Record | str:
        try:
            return self._read(name, number, tags)
        except RegistryError as error:
            return f"{name[0]} {decode(name[1])}:{number}: {error.message}"

    def _read(self, name: Name, number: int, tags: NumberTags) -> Record:
        client = self._remote.client(self.path(name))
        named = f"{client.reference.name}:{number}"
        artifact = read_artifact(client.get_manifest(str(number)).data, named)
        if not is_ours(artifact):
            raise RegistryError(f"{named} is no version that packager registered")
        version = read_version(artifact, client.read_blob(artifact.config), named)
        if (version.kind, version.name, version.version) != (name[0], decode(name[1]), number):
            raise RegistryError(f"{named} is {version.kind} {version.id}")
        return Record(
            edits=tags.count(number), version=with_state(version, self._state(name, tags.edits.get(number, ())))
        )

    def _state(self, name: Name, tags: Sequence[str]) -> State:
        if not tags:
            return State()
        last = self._edit(name, tags[-1])
        if set(tags[:-1]) <= set(last.seen):
            return last.after
        # Several at once: none has seen all.
        return folded([*in_parallel(lambda tag: self._edit(name, tag), tags[:-1]), last])

    def _edit(self, name: Name, tag: str) -> Edit:
        found = self._remote.read(self.path(name), tag, "edit", Edit)
        if found is None:
            where = self._remote.reference(self.path(name)).name
            raise RegistryError(f"{where} has lost description, tags and properties of a version: {tag} is gone")
        return found

    # --- changing ---

    @contextmanager
    def changing(self, name: Name) -> Iterator[None]:
        """Say that something of a name changes in the block, and write its index afterwards.

        Raises:
            RegistryError, TemporaryError: that it changes cannot be said: then it does not.
        """
        own = busy_tag(name, self._clock(), secrets.token_hex(4))
        digest = self._remote.put(OWN, own, "busy", own)
        try:
            yield
        except PackagerError:
            self._settle(name, own, digest)
            raise
        self._settle(name, own, digest)

    def _settle(self, name: Name, own: str, digest: str) -> None:
        # Without an index, as after a kill here, everyone sees that somebody is busy, and asks the name itself.
        with suppress(RegistryError, TemporaryError):
            if self._write_index(name, own):
                self._remote.remove_digest(OWN, digest)

    def _write_index(self, name: Name, own: str) -> bool:
        """Write an index that says that we are busy no more; return whether there is one that counts."""
        for attempt in range(_TRIES):
            # In this order: an index of a rank holds all that was written before the list that the rank is from.
            before = self.workspace_tags()
            last = self._index(name, before)
            if last is not None and own in last.settled:
                # One that another wrote, who saw ours.
                return True
            if attempt:
                self._remote.pause(wait_for(attempt))
            known = self.known(name, self.tags(name), last)
            index = Index(
                records=tuple(known.records[number] for number in sorted(known.records)),
                damage=known.damage,
                settled=tuple(sorted(self._settled(name, before, own))),
            )
            tag = index_tag(name, before.rank(name) + 1, secrets.token_hex(4))
            self._remote.put(OWN, tag, "index", pack_index(index))
            after = self.workspace_tags()
            if after.tops(name) == (tag,):
                older = [each for _, each in after.indexes[name] if each != tag]
                others = after.busy.get(name, frozenset()) & set(index.settled) - {own}
                self._remote.remove(OWN, (*older, *others))
                return True
        return False

    def _settled(self, name: Name, tags: WorkspaceTags, own: str) -> set[str]:
        """Return who is busy no more: ourselves, those that an index before knew as such, and who was killed."""
        before = [index for tag in tags.tops(name) if (index := self._index_at(tag)) is not None]
        known = {tag for index in before for tag in index.settled}
        now = self._clock()
        busy = tags.busy.get(name, frozenset())
        return {own} | {tag for tag in busy if tag in known or now - busy_since(tag) > _ABANDONED}

    def say_name(self, name: Name) -> None:
        """Let the workspace know a name, unless it does."""
        tag = name_tag(name)
        if self._remote.client(OWN, push=True).find_manifest(tag) is None:
            self._remote.put(OWN, tag, "name", tag)


def _holds(record: Record | None, number: int, tags: NumberTags) -> bool:
    return record is not None and record.edits == tags.count(number)


def in_parallel(act: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return what `act` makes of each item, in their order; several at a time."""
    if len(items) < 2:
        return [act(each) for each in items]
    with ThreadPoolExecutor(min(JOBS, len(items))) as pool:
        try:
            return [future.result() for future in [pool.submit(in_thread(act), each) for each in items]]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
