"""One repository of a registry: its manifests and blobs, read and written over HTTP with `docker login`'s credentials.

Source: OCI distribution spec 1.1. Every request is tried again when a failure may pass; no message shows a token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from urllib.parse import urlencode

import msgspec

from packager.errors import RegistryError
from packager.http import TRIES, Answer
from packager.oci.parse import ImageManifest, parse
from packager.oci.values import Content, Descriptor, digest_of
from packager.reference import Reference
from packager.registry.download import download, read_blob
from packager.registry.resolve import MEDIA_TYPES, check_manifest
from packager.registry.session import RegistrySession
from packager.registry.tags import delete_manifest, list_tags
from packager.registry.upload import CHUNK, MONOLITHIC, Uploader
from packager.registry.upload_parts import has_blob
from packager.storage.memory import Memory

Progress = Callable[[int], None]
#: Seconds to wait where a manifest's blob is said to be unknown; none after the last try. Docker's registry, on files,
#: does not see a blob for a moment while somebody else writes the same one.
_UNKNOWN = (0.2, 1.0, 0.0)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest or an index as a registry has it: media type, bytes, and the digest of those bytes."""

    media_type: str
    data: bytes
    digest: str


class RegistryClient:
    """The registry of one repository. Several threads may use one; to be closed, or used in a `with`.

    Args:
        reference: names the repository; its tag and digest are what `get_manifest` asks for by itself.
        mirrors: registry → mirror that is asked in its place. For reading: nobody pushes to a mirror.
        push: ask for the right to write, too.
        mount_from: other repositories of this registry that blobs are to be mounted from.
        stopped: says between two chunks of an upload whether to end it.
        memory: of unfinished uploads.
        pause: waits for so many seconds between two tries.
        tries: of each request.
        chunk: bytes of a chunk of an upload.
        monolithic: bytes up to which a blob is uploaded by one request.
        beside: a client of the same registry, whose connections this one shares.
    """

    def __init__(
        self,
        reference: Reference,
        mirrors: Mapping[str, str] | None = None,
        *,
        push: bool = False,
        mount_from: Iterable[str] = (),
        stopped: Callable[[], bool] = lambda: False,
        memory: Memory | None = None,
        pause: Callable[[float], None] = time.sleep,
        tries: int = TRIES,
        chunk: int = CHUNK,
        monolithic: int = MONOLITHIC,
        beside: RegistryClient | None = None,
    ) -> None:
        self.reference = reference
        self.at = reference.mirrored(mirrors or {})
        others = sorted(set(mount_from) - {self.at.repository})
        # Once for all: each further scope would be a further token.
        scope = (f"repository:{self.at.repository}:pull,push", *(f"repository:{other}:pull" for other in others))
        scope, action = (scope, "write to") if push else ((), "read")
        if beside is None:
            self.session = RegistrySession(self.at, scope=scope, action=action, tries=tries, pause=pause)
        else:
            self.session = beside.session.beside(self.at, scope, action)
        memory = memory if memory is not None else Memory("uploads")
        self._uploader = Uploader(self.session, memory, stopped, chunk=chunk, monolithic=monolithic)

    def __enter__(self) -> RegistryClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.session.close()

    def get_manifest(self, wanted: str | None = None) -> Manifest:
        """Return a manifest or index, verified.

        Args:
            wanted: tag or `sha256:…`; what the client's reference says where None.

        Raises:
            RegistryError: there is none, we may not read it, or it does not have its digest.
            TemporaryError: the registry does not answer, or not now.
        """
        wanted = wanted or self.at.digest or self.at.tag or "latest"
        return self._manifest_in(self._ask_manifest(wanted), wanted)

    def find_manifest(self, wanted: str) -> Manifest | None:
        """Return what `get_manifest` does; None where there is none, or no such repository.

        Raises:
            RegistryError, TemporaryError: as for `get_manifest`.
        """
        answer = self._ask_manifest(wanted)
        return None if answer.status == 404 else self._manifest_in(answer, wanted)

    def _asked(self, wanted: str) -> Reference:
        plain = self.reference.without_digest()
        return plain.with_digest(wanted) if wanted.startswith("sha256:") else plain.with_tag(wanted)

    def _ask_manifest(self, wanted: str) -> Answer:
        return self.session.ask(
            "GET",
            self.session.url(f"manifests/{wanted}"),
            headers={"Accept": ", ".join(MEDIA_TYPES)},
            doing=f"the manifest of {self._asked(wanted)} is not known",
        )

    def _manifest_in(self, answer: Answer, wanted: str) -> Manifest:
        asked = self._asked(wanted)
        digest = check_manifest(self.session, asked, answer)
        if wanted.startswith("sha256:") and digest != wanted:
            raise RegistryError(
                f"{self.at.registry} answers another manifest than {asked}: {digest}",
                remedy="its copy, or a proxy in between, is damaged; ask another mirror",
            )
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        return Manifest(media_type=kind, data=answer.body, digest=digest)

    def has_manifest(self, digest: str) -> bool:
        """Whether the repository has a manifest or index of this digest."""
        answer = self._look_at(digest)
        if answer.status in (401, 403):
            raise self.session.refusal(answer)
        return answer.status == 200

    def _look_at(self, wanted: str, method: str = "HEAD") -> Answer:
        return self.session.ask(
            method,
            self.session.url(f"manifests/{wanted}"),
            headers={"Accept": ", ".join(MEDIA_TYPES)},
            doing=f"whether it has {wanted} is not known",
        )

    def _has_under(self, tag: str, digest: str) -> bool:
        """Whether a tag has a digest now; not where the registry does not say."""
        answer = self._look_at(tag)
        if answer.status == 200 and "Docker-Content-Digest" not in answer.headers:
            answer = self._look_at(tag, "GET")
        return answer.status == 200 and answer.headers.get("Docker-Content-Digest", digest_of(answer.body)) == digest

    def tags(self) -> tuple[str, ...]:
        """Return the tags of the repository; none where there is no such repository. See `tags.list_tags`."""
        return list_tags(self.session)

    def delete_manifest(self, digest: str) -> bool:
        """Let a manifest, and all tags that name it, be no more, where the registry allows that; say whether it did."""
        return delete_manifest(self.session, digest)

    def download(self, descriptor: Descriptor, content: Content, on_bytes: Progress = lambda count: None) -> None:
        """Take a blob into the content store, unless it is there; see `download.download`."""
        download(self.session, descriptor, content, on_bytes)

    def read_blob(self, descriptor: Descriptor) -> bytes:
        """Return a blob that is a document: of at most `MAX_DOCUMENT` bytes.

        Raises:
            RegistryError: the registry does not have it, refuses, or sends other bytes.
            TemporaryError: it does not answer, or not now.
        """
        return read_blob(self.session, descriptor)

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Whether the repository has a blob."""
        doing = f"whether it has {descriptor.digest} is not known"
        return self.session.again(lambda: has_blob(self.session, descriptor), doing)

    def mount(self, descriptor: Descriptor, from_repository: str) -> tuple[bool, str | None]:
        """Let a blob of another repository be this one's, too.

        Returns:
            whether it is now; and, where it is not, the location of the upload that the registry opened instead.
        """
        question = urlencode({"mount": descriptor.digest, "from": from_repository})
        answer = self.session.ask(
            "POST",
            self.session.url(f"blobs/uploads/?{question}"),
            data=b"",
            doing=f"{descriptor.digest} is not at {self.at.name}",
        )
        if answer.status == 201:
            return True, None
        location = answer.headers.get("Location") if answer.status == 202 else None
        # Any other answer is one to this question alone: the upload that follows says what is wrong, if anything is.
        return False, self.session.absolute(location) if location else None

    def upload(
        self, descriptor: Descriptor, path: Path, location: str | None = None, on_bytes: Progress = lambda count: None
    ) -> None:
        """Send a blob that the repository does not have; see `upload.Uploader`."""
        self._uploader.upload(descriptor, path, location, on_bytes)

    def put_manifest(self, wanted: str, media_type: str, data: bytes) -> str:
        """Write a manifest or index; what it names must be there. Return its digest.

        Registries with tags that cannot be moved refuse the same again, too: where the tag has the digest, all is done.

        Args:
            wanted: tag or `sha256:…`.
            media_type: as in the document.
            data: the document.

        Raises:
            RegistryError: the registry refuses.
            TemporaryError: it does not answer, or not now.
        """
        digest = digest_of(data)
        for wait in _UNKNOWN:
            answer = self.session.ask(
                "PUT",
                self.session.url(f"manifests/{wanted}"),
                data=data,
                headers={"Content-Type": media_type},
                doing=f"the manifest of {self.at.name} is not written",
            )
            if not wait or answer.status not in (400, 404) or b"BLOB_UNKNOWN" not in answer.body:
                break
            self.session.pause(wait)
        if answer.status not in (200, 201, 202):
            if self._has_under(wanted, digest):
                return digest
            if answer.status in (401, 403):
                raise self.session.refusal(answer)
            named = self.at.with_digest(wanted) if wanted.startswith("sha256:") else self.at.with_tag(wanted)
            raise RegistryError(
                f"{self.at.registry} does not take the manifest of {named}: it answers "
                f"{answer.status}{self.session.words(answer)}",
                remedy="where its tags cannot be moved, push under another tag",
            )
        if answer.headers.get("Docker-Content-Digest", digest) != digest:
            raise RegistryError(f"{self.at.registry} took another manifest of {self.at.name} than was sent")
        return digest


def digest_under_tag(reference: Reference, known: Collection[str]) -> str | None:
    """Return the digest that a tag has, where its image is a known one; None where it is another.

    Args:
        reference: with a tag.
        known: digests by which the image is known: of manifests, or of its configuration (an engine's id).

    Raises:
        RegistryError: there is no such image, or we may not read it.
        TemporaryError: the registry does not answer, or not now.
    """
    with RegistryClient(reference) as client:
        manifest = client.get_manifest()
    found = parse(manifest.data, str(reference))
    digests = {manifest.digest, *((found.config.digest,) if isinstance(found, ImageManifest) else ())}
    return manifest.digest if digests & set(known) else None
