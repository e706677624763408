"""The repositories of a workspace at their registry: clients that share connections, and small documents in them."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import msgspec

from packager.errors import ContextError, RegistryError, TemporaryError
from packager.oci.values import MANIFEST, digest_of
from packager.reference import Reference
from packager.registry.client import Manifest, RegistryClient
from packager.storage.content import ContentStore
from packager.workspace.artifact import T
from packager.workspace.documents import EMPTY, EMPTY_BLOB, FORMAT, What, json_text, note, value_of
from packager.workspace.tags import FORMAT_TAG

#: Path of the repository that is the workspace's own, below the prefix.
OWN = "workspace"

Connect = Callable[..., RegistryClient]


class _Format(msgspec.Struct, frozen=True, kw_only=True):
    """What the tag `format` says: which layout, and what tells this workspace from any other."""

    format: int
    id: str


class Remote:
    """The registry of one workspace. Several threads may use one.

    Args:
        base: registry, and the prefix of all repositories.
        content: where blobs are kept on this machine.
        connect: makes the clients.
        pause: waits for so many seconds.
    """

    def __init__(
        self,
        base: Reference,
        content: ContentStore,
        *,
        connect: Connect = RegistryClient,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base = base
        self.content = content
        self.pause = pause
        self._connect = connect
        self._clients: dict[tuple[str, bool], RegistryClient] = {}
        self._lock = threading.Lock()
        self._with_empty: set[str] = set()
        self._deletes = True
        self._looked = False
        self._identity = ""

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def reference(self, path: str) -> Reference:
        """Return the reference of a repository, by its path below the prefix.

        Raises:
            UsageError: its name gets too long.
        """
        return Reference.parse(f"{self.base.registry}/{self.base.repository}/{path}")

    def client(self, path: str, *, push: bool = False) -> RegistryClient:
        """Return the client of a repository; it is kept."""
        with self._lock:
            first = next(iter(self._clients.values()), None)
            found = self._clients.get((path, push))
            if found is None:
                found = self._connect(self.reference(path), push=push, beside=first, pause=self.pause)
                self._clients[path, push] = found
            return found

    def sending_client(self, path: str, mount_from: Iterable[str], stopped: Callable[[], bool]) -> RegistryClient:
        """Return a client for blobs; it is not kept."""
        beside = self.client(path, push=True)
        return self._connect(
            self.reference(path), push=True, mount_from=mount_from, stopped=stopped, beside=beside, pause=self.pause
        )

    # --- the format ---

    @property
    def identity(self) -> str:
        """What tells this workspace from another that was at the same place; empty where none is there yet."""
        self.look()
        return self._identity

    def look(self) -> None:
        """Look, once, whether this is a workspace that this packager can read; one that is to be made is.

        Raises:
            ContextError: it is of a newer packager.
            RegistryError, TemporaryError: the registry refuses, or does not answer.
        """
        if not self._looked:
            self._check_format(self.client(OWN).find_manifest(FORMAT_TAG))
            self._looked = True

    def begin(self) -> None:
        """Make the workspace, unless it is there; see `look`."""
        if self._identity:
            return
        client = self.client(OWN, push=True)
        found = client.find_manifest(FORMAT_TAG)
        if found is None:
            text = json_text(_Format(format=FORMAT, id=secrets.token_hex(8)))
            self._put_empty(OWN)
            self.put_new(OWN, FORMAT_TAG, note("format", text, FORMAT_TAG))
            found = client.find_manifest(FORMAT_TAG)
        self._check_format(found)
        self._looked = True

    def _check_format(self, found: Manifest | None) -> None:
        if found is None:
            return
        read = value_of(found.data, "format", _Format, f"{self.base.name}/{OWN}:{FORMAT_TAG}")
        if read.format > FORMAT:
            raise ContextError(
                f"the workspace oci://{self.base.name} is of a newer packager: its format is {read.format}, and this "
                f"one knows {FORMAT}",
                remedy="update packager",
            )
        self._identity = read.id

    # --- small documents ---

    def put(self, path: str, tag: str, what: What, text: str) -> str:
        """Write a small document under a tag; return its digest.

        Raises:
            RegistryError: the registry refuses, or has something else under the tag and lets none move.
            TemporaryError: it does not answer, or not now.
        """
        self._put_empty(path)
        return self.client(path, push=True).put_manifest(tag, MANIFEST, note(what, text, tag))

    def _put_empty(self, path: str) -> None:
        if path not in self._with_empty:
            client = self.client(path, push=True)
            if not client.has_blob(EMPTY_BLOB):
                self.content.put_bytes(EMPTY)
                client.upload(EMPTY_BLOB, self.content.path(EMPTY_BLOB.digest))
            self._with_empty.add(path)

    def read(self, path: str, tag: str, what: What, kind: type[T]) -> T | None:
        """Return the value that a small document holds as JSON; None where the tag is not there.

        Raises:
            RegistryError: it is none, or the registry refuses.
            TemporaryError: it does not answer, or not now.
        """
        found = self.client(path).find_manifest(tag)
        return None if found is None else value_of(found.data, what, kind, f"{self.reference(path).name}:{tag}")

    def put_new(self, path: str, tag: str, manifest: bytes) -> bool:
        """Write a manifest under a tag that nobody has, and read it back; return whether it is the one there.

        Raises:
            RegistryError, TemporaryError: as for `put`.
        """
        client = self.client(path, push=True)
        try:
            client.put_manifest(tag, MANIFEST, manifest)
        except RegistryError:
            there = client.find_manifest(tag)
            if there is None:
                raise
            return there.digest == digest_of(manifest)
        there = client.find_manifest(tag)
        return there is not None and there.digest == digest_of(manifest)

    def remove(self, path: str, tags: Iterable[str]) -> None:
        """Delete what tags name, where the registry allows that; it is of no use any more, and in nobody's way."""
        for tag in tags:
            if not self._deletes:
                return
            with suppress(RegistryError, TemporaryError):
                found = self.client(path, push=True).find_manifest(tag)
                if found is not None:
                    self.remove_digest(path, found.digest)

    def remove_digest(self, path: str, digest: str) -> None:
        """Delete a manifest, where the registry allows that."""
        if self._deletes:
            # One that refuses once is not asked again.
            self._deletes = self.client(path, push=True).delete_manifest(digest)
