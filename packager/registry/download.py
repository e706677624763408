"""A blob, from its registry: streamed, continued where a connection broke off, verified by whoever takes it in."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from packager.errors import ContextError, RegistryError
from packager.http import MAX_DOCUMENT, Answer, DroppedError, failures
from packager.oci.values import Content, Descriptor, digest_of
from packager.registry.session import RegistrySession
from packager.storage.reading import BLOCK

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import requests
    from _typeshed import WriteableBuffer

Progress = Callable[[int], None]

#: Bytes that a connection must have brought, so that its breaking off is no failed try.
_PROGRESS = 64 << 10


def download(
    session: RegistrySession, descriptor: Descriptor, content: Content, on_bytes: Progress = lambda count: None
) -> None:
    """Take a blob into the content store, unless it is there.

    Raises:
        RegistryError: the registry does not have it, refuses, or sends other bytes (twice).
        TemporaryError: the connection breaks off again and again.
        ContextError: the store cannot be written.
    """
    if content.has(descriptor.digest, descriptor.size):
        return
    # Bytes are damaged on the way now and then; a second time it is the registry's copy.
    for last in (False, True):
        stream = BlobStream(session, descriptor, on_bytes)
        try:
            with io.BufferedReader(cast(io.RawIOBase, stream), BLOCK) as buffered:
                content.put(cast(BinaryIO, buffered), descriptor.digest)
        except ContextError:
            # Everything else that can go wrong in the store does so before the last byte.
            if not stream.complete:
                raise
        else:
            return
        if last:
            raise RegistryError(
                f"{session.at.registry} sends other bytes than {descriptor.digest} of {session.at.name}",
                remedy="its copy, or a proxy in between, is damaged: push the image again, or ask another mirror",
            )


def read_blob(session: RegistrySession, descriptor: Descriptor) -> bytes:
    """Return a blob that is a document: of at most `MAX_DOCUMENT` bytes; see `RegistryClient.read_blob`."""
    digest, at = descriptor.digest, session.at
    if descriptor.size > MAX_DOCUMENT:
        raise RegistryError(f"{digest} of {at.name} is larger than {MAX_DOCUMENT} bytes, as no document is")
    answer = session.ask("GET", session.url(f"blobs/{digest}"), doing=f"{digest} is not known")
    if answer.status in (401, 403):
        raise session.refusal(answer)
    if answer.status != 200:
        what = "does not have" if answer.status == 404 else f"answers {answer.status} to the question for"
        raise RegistryError(f"{at.registry} {what} {digest} of {at.name}{session.words(answer)}")
    if digest_of(answer.body) != digest:
        raise RegistryError(
            f"{at.registry} sends other bytes than {digest} of {at.name}",
            remedy="its copy is damaged, or a page to log in stands in between: ask the registry itself",
        )
    return answer.body


class BlobStream(io.RawIOBase):
    """The bytes of a blob; a read that fails asks for the rest (RFC 9110, section 14: Range).

    Args:
        session: of the repository.
        descriptor: of the blob.
        on_bytes: is told how many came.
    """

    def __init__(self, session: RegistrySession, descriptor: Descriptor, on_bytes: Progress) -> None:
        super().__init__()
        self._session = session
        self._blob = descriptor
        self._on_bytes = on_bytes
        self._offset = 0
        self._failed = 0
        self._reached = 0
        self._open: AbstractContextManager[requests.Response] | None = None
        self._body: IO[bytes] | None = None
        self.complete = False

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read some bytes; 0 at the end."""
        left = self._blob.size - self._offset
        view = memoryview(buffer).cast("B")
        if left <= 0:
            self.complete = True
            return 0
        data = self._insist(min(len(view), left))
        view[: len(data)] = data
        self._offset += len(data)
        self._on_bytes(len(data))
        return len(data)

    def close(self) -> None:
        """Close the connection."""
        self._drop()
        super().close()

    def _insist(self, count: int) -> bytes:
        """Read some bytes, with at most `tries` tries that fail without getting much further."""
        while True:
            try:
                return self._read(count)
            except DroppedError as error:
                # A few bytes for each connection are no progress: the next try would give as many, for ever.
                if self._offset - self._reached >= _PROGRESS:
                    self._failed, self._reached = 0, self._offset
                self._failed += 1
                self._session.wait(self._failed, error, f"{self._blob.digest} of {self._session.at} is not whole")

    def _read(self, count: int) -> bytes:
        try:
            body = self._body if self._body is not None else self._ask()
            with failures(self._session.at.registry):
                data = body.read(count)
            if not data:
                raise DroppedError("broke off")
        except BaseException:
            self._drop()
            raise
        return data

    def _ask(self) -> IO[bytes]:
        headers = {"Accept-Encoding": "identity"}
        if self._offset:
            headers["Range"] = f"bytes={self._offset}-{self._blob.size - 1}"
        url = self._session.url(f"blobs/{self._blob.digest}")
        opening = self._session.streamed("GET", url, headers=headers)
        answer = opening.__enter__()
        self._open = opening
        if answer.status_code not in (200, 206):
            raise self._refusal(self._session.whole(answer))
        body = cast("IO[bytes]", answer.raw)
        self._skip(body, answer)
        self._body = body
        return body

    def _refusal(self, answer: Answer) -> RegistryError:
        if answer.status in (401, 403):
            return self._session.refusal(answer)
        what = "does not have" if answer.status == 404 else f"answers {answer.status} to the question for"
        said = f"{what} {self._blob.digest} of {self._session.at}{self._session.words(answer)}"
        return RegistryError(f"{self._session.at.registry} {said}")

    def _skip(self, body: IO[bytes], answer: requests.Response) -> None:
        """Leave out what we have already, where the registry does not know ranges and starts again."""
        first = 0
        if answer.status_code == 206:
            found = re.match(r"bytes ([0-9]+)-", answer.headers.get("Content-Range", ""))
            first = int(found[1]) if found else self._offset
        if first > self._offset:
            raise RegistryError(f"{self._session.at.registry} answers another range than was asked for")
        skip = self._offset - first
        with failures(self._session.at.registry):
            while skip:
                data = body.read(min(BLOCK, skip))
                if not data:
                    raise DroppedError("broke off")
                skip -= len(data)

    def _drop(self) -> None:
        opening, self._open, self._body = self._open, None, None
        if opening is not None:
            opening.__exit__(None, None, None)
