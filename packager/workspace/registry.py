"""A workspace in a registry: each version a ModelPack artifact, everything else in small documents under tags.

A registry has no compare-and-swap, so numbers are claimed (`claims`), what was written is read back, and a number once
written is never written again. `tags` says which tag means what.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import msgspec

from packager.errors import RegistryError, TemporaryError, UsageError
from packager.oci.values import Descriptor
from packager.progress import working
from packager.reference import Reference
from packager.registry.client import RegistryClient
from packager.registry.sending import Sent
from packager.storage.content import ContentStore
from packager.storage.memory import Memory
from packager.storage.models import Store
from packager.workspace.base import TakenError, not_registered
from packager.workspace.claims import claimed
from packager.workspace.documents import Edit, Record, edit_of, json_text, value_of
from packager.workspace.drafts import State, changed, check_draft, state_of
from packager.workspace.encoding import decode, encode
from packager.workspace.modelpack import write_version
from packager.workspace.name_records import Known, NameRecords, in_parallel
from packager.workspace.names import check_name
from packager.workspace.remote import OWN, Connect, Remote
from packager.workspace.sending import document_blob, file_blobs, look_at, send
from packager.workspace.tags import Name, NumberTags, edit_tag
from packager.workspace.values import Change, Content, File, ImageRecord, Kind, Version

SCHEME = "oci://"
#: Tries to write what another was faster with.
_TRIES = 5


def parse_location(location: str) -> Reference:
    """Return registry and prefix of a workspace's location (`oci://registry.example.com/ml`).

    Raises:
        UsageError: it is none.
    """
    rest = location.removeprefix(SCHEME).rstrip("/")
    if "@" in rest.partition("/")[0]:
        raise UsageError(
            "a workspace's address has no user or password in it",
            remedy=f"`docker login {rest.partition('/')[0].rpartition('@')[2]}`, and leave it out",
        )
    found = Reference.parse(rest) if location.startswith(SCHEME) else None
    if found is None or found.tag is not None or found.digest is not None:
        raise UsageError(f"{location!r} is no workspace in a registry", remedy="name it as oci://HOST/PATH")
    return found


class RegistryWorkspace:
    """A `Workspace` in a registry. To be closed, or used in a `with`.

    Args:
        location: `oci://HOST/PATH`; all its repositories are below that.
        content: where blobs are kept on this machine; this user's store where None.
        connect: makes clients.
        pause: waits for so many seconds.
        clock: the time now, in seconds since the epoch.

    Raises:
        UsageError: the location is none.
    """

    def __init__(
        self,
        location: str,
        *,
        content: ContentStore | None = None,
        connect: Connect = RegistryClient,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._base = parse_location(location)
        self._content = content if content is not None else ContentStore()
        self._remote = Remote(self._base, self._content, connect=connect, pause=pause)
        self._memory = Memory("workspace", self._content.root)
        self._records = NameRecords(self._remote, self._memory, clock)
        self._clock = clock
        self._damage: tuple[str, ...] = ()

    def __enter__(self) -> RegistryWorkspace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create(self) -> None:
        """Make it, unless it is there.

        Raises:
            ContextError: it is of a newer packager.
            RegistryError, TemporaryError: the registry refuses, or does not answer.
        """
        self._remote.begin()

    def close(self) -> None:
        """Close the connections."""
        self._remote.close()

    @property
    def name(self) -> str:
        """See `Workspace`."""
        return self._base.repository.rpartition("/")[2]

    @property
    def location(self) -> str:
        """See `Workspace`."""
        return f"{SCHEME}{self._base.name}"

    def repository(self, kind: Kind, name: str) -> Reference:
        """Return the repository that has the versions of a name, each under its number as tag.

        Raises:
            UsageError: it is no name, or too long.
        """
        return self._remote.reference(self._records.path(self._key(kind, name)))

    # --- looking ---

    def names(self, kind: Kind) -> tuple[str, ...]:
        """See `Workspace`."""
        return tuple(sorted({version.name for version in self.versions(kind)}))

    def versions(self, kind: Kind, name: str | None = None) -> tuple[Version, ...]:
        """See `Workspace`."""
        self._remote.look()
        if name is None:
            found = self._records.all(kind)
        else:
            key = self._key(kind, name)
            found = {name: self._records.known(key, self._records.tags(key))}
        return self._sorted(found.values())

    def _sorted(self, found: Iterable[Known]) -> tuple[Version, ...]:
        known = tuple(found)
        self._damage = tuple(sentence for each in known for sentence in each.damage)
        versions = (version for each in known for version in each.versions)
        return tuple(sorted(versions, key=lambda version: (version.name, version.version)))

    def damage(self) -> tuple[str, ...]:
        """See `Workspace`."""
        return self._damage

    def get(self, kind: Kind, name: str, version: int | None = None) -> Version:
        """See `Workspace`."""
        self._remote.look()
        key = self._key(kind, name)
        tags = self._records.tags(key)
        number = self._there(key, tags, version)
        return self._records.one(key, number, tags)

    def _there(self, name: Name, tags: NumberTags, number: int | None) -> int:
        """Return a number that is there; the latest where None.

        Raises:
            NotRegisteredError: it is not there.
        """
        live = tags.live
        if number in live or (number is None and live):
            return live[-1] if number is None else number
        shown, deleted = str(decode(name[1])), number in tags.deleted
        raise not_registered(self.location, name[0], shown, number, live, deleted=deleted)

    def _key(self, kind: Kind, name: str) -> Name:
        key = (kind, encode(check_name(name, kind)))
        if len(f"{self._base.repository}/{self._records.path(key)}") > 255:
            raise UsageError(f"the name {name!r} is too long for {self.location}", remedy="choose a shorter name")
        return key

    # --- registering ---

    def add(
        self, draft: Version, files: Sequence[Content], samples: Sequence[Content] = (), *, number: int | None = None
    ) -> Version:
        """See `Workspace`."""
        key = self._key(draft.kind, draft.name)
        check_draft(draft, files, samples)
        self._remote.begin()
        store = Store()
        of, beside = look_at(files, store), look_at(samples, store)
        draft = msgspec.structs.replace(
            draft, files=tuple(of), samples=tuple(beside), created=draft.created or self._now(), version=number or 0
        )
        if number is not None and (there := self._same(key, number, draft)) is not None:
            return there
        written = write_version(draft)
        blobs = [*file_blobs(written.files, of), *file_blobs(written.samples, beside)]
        self._send(key, blobs)
        self._records.say_name(key)
        with self._records.changing(key):
            return self._register(key, draft, number)

    def _register(self, key: Name, draft: Version, number: int | None) -> Version:
        def choose(tags: NumberTags) -> int | None:
            if number is None:
                return tags.highest + 1
            return None if number in tags.written | tags.deleted else number

        for _ in range(_TRIES):
            with claimed(self._remote, self._records.path(key), choose, self._clock) as found:
                if found is None:
                    assert number is not None
                    there = self._same(key, number, draft)
                    assert there is not None
                    return there
                version = msgspec.structs.replace(draft, version=found[0])
                if self._write(key, version, found[1]):
                    return version
        raise self._overtaken(key)

    def _write(self, key: Name, version: Version, tags: NumberTags) -> bool:
        """Write a version under its number; return whether it is there now."""
        path, written = self._records.path(key), write_version(version)
        self._send(key, [document_blob(written.config_blob, written.config, self._content)])
        # Before the version, so that it never is without. What a run left here that was killed before counts no more.
        number, state, edits = version.version, state_of(version), tags.count(version.version)
        if edits or state != State():
            self._put_edit(path, number, tags, Edit(after=state, first=True, seen=tags.edits.get(number, ())))
            edits += 1
        if not self._remote.put_new(path, str(number), written.manifest):
            return False
        self._records.keep(key, Record(edits=edits, version=version))
        return True

    def _same(self, key: Name, number: int, draft: Version) -> Version | None:
        """Return the version that has a number, where it has the same content; None where the number is free.

        Raises:
            TakenError: it is another's, or was.
        """
        tags = self._records.tags(key)
        if number in tags.deleted:
            raise TakenError(
                f"the {draft.kind} {draft.name}:{number} is deleted from {self.location}, and no number is given twice",
                remedy="register it under another number",
            )
        if number not in tags.written:
            return None
        there = self._records.one(key, number, tags)
        if there.digest == draft.digest:
            return there
        raise TakenError(
            f"{self.location} has another {draft.kind} {draft.name}:{number}: {there.digest}, not {draft.digest}",
            remedy="register it under another number",
        )

    def _send(self, key: Name, blobs: Iterable[Sent]) -> None:
        path = self._records.path(key)
        send(
            blobs,
            self._remote.reference(path).repository,
            lambda mounts, stopped: self._remote.sending_client(path, mounts, stopped),
            self._memory,
            self._base.registry,
        )

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _overtaken(self, key: Name) -> TemporaryError:
        return TemporaryError(
            f"something else was written to {self._remote.reference(self._records.path(key)).name} meanwhile, again "
            "and again",
            remedy="run the command again; where it stays so, look what else writes there",
        )

    # --- changing ---

    def change(self, version: Version, change: Change) -> Version:
        """See `Workspace`."""
        key = self._key(version.kind, version.name)
        path = self._records.path(key)
        number = version.version
        self._remote.begin()

        tags = self._records.tags(key)
        before = self._records.one(key, self._there(key, tags, number), tags)
        if changed(before, change) == before:
            return before
        with self._records.changing(key):
            # No number to claim: changes that are written at once are all kept, and their order is the same for all.
            self._put_edit(path, number, tags, edit_of(change, before, tags.edits.get(number, ())))
            tags = self._records.tags(key)
            after = self._records.one(key, self._there(key, tags, number), tags)
            self._records.keep(key, Record(edits=tags.count(number), version=after))
        if any(after.properties.get(name) != value for name, value in change.add_properties.items()):
            raise UsageError(f"somebody else gave {after.id} a property of that name meanwhile, and none can change")
        return after

    def _put_edit(self, path: str, number: int, tags: NumberTags, edit: Edit) -> None:
        tag = edit_tag(number, tags.next_edit(number), secrets.token_hex(6))
        self._remote.put(path, tag, "edit", json_text(edit))

    def delete(self, version: Version) -> None:
        """See `Workspace`."""
        key = self._key(version.kind, version.name)
        path, number = self._records.path(key), version.version
        self._remote.begin()
        tags = self._records.tags(key)
        self._there(key, tags, number)
        with self._records.changing(key):
            # First of all, so that whatever happens next, it is not there and its number is not given again.
            self._remote.put(path, f"{number}.deleted", "deleted", str(number))
            self._remote.remove(path, (str(number), *tags.edits.get(number, ())))

    # --- content ---

    @contextmanager
    def open(self, version: Version, file: File) -> Iterator[Path]:
        """See `Workspace`."""
        self._remote.look()
        blob = Descriptor(media_type="application/octet-stream", digest=f"sha256:{file.sha256}", size=file.size)
        if not self._content.has(blob.digest, blob.size):
            if not blob.size:
                self._content.put(BytesIO(b""), blob.digest)
            else:
                client = self._remote.client(self._records.path(self._key(version.kind, version.name)))
                with working(f"fetching {file.path}", file.size) as advance:
                    client.download(blob, self._content, advance)
        yield self._content.path(blob.digest)

    # --- images ---

    def note(self, image: ImageRecord) -> None:
        """See `Workspace`."""
        self._remote.begin()
        when = re.sub(r"[^0-9TZ]", "", image.when or self._now())[:32]
        tag = f"image.{when}-{secrets.token_hex(6)}"
        self._remote.put(OWN, tag, "image", json_text(image))

    def images(self) -> tuple[ImageRecord, ...]:
        """See `Workspace`."""
        self._remote.look()
        tags = self._records.workspace_tags().images
        found = [each for each in in_parallel(self._image, tags) if each is not None]
        return tuple(sorted(found, key=lambda each: each.when))

    def _image(self, tag: str) -> ImageRecord | None:
        key = ("image", f"{self._base.name} {self._remote.identity}", tag)
        data = self._memory.recall(*key)
        if data is None:
            manifest = self._remote.client(OWN).find_manifest(tag)
            if manifest is None:
                return None
            data = manifest.data
            self._memory.remember(data, *key)
        try:
            return value_of(data, "image", ImageRecord, f"{self._base.name}/{OWN}:{tag}")
        except RegistryError as error:
            self._damage = (*self._damage, error.message)
            return None
