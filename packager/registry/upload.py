"""A blob, to its registry: in one request, or in chunks that a later run can continue.

Source: OCI distribution spec 1.1, "Pushing blobs" ("POST then PUT", "Pushing a blob in chunks", "Resuming an upload").

What a cut inside a chunk costs depends on the registry. The reference implementation (distribution 2.8 and 3) gives an
upload up when it holds other bytes than the last answer said; then the blob starts again. Behind a proxy that takes a
request in before it passes it on, and at registries that follow the spec, only the chunk is sent again.

Some registries know but one of the two ways: they refuse PATCH, or take nothing by PUT, as Docker itself sends nothing
by it. Then the blob goes the other way, and so do those after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

from packager.errors import RegistryError
from packager.http import Answer, DroppedError
from packager.oci.values import Descriptor
from packager.registry.session import RegistrySession
from packager.registry.upload_parts import Part, Progress, State, has_blob, received_bytes
from packager.storage.memory import Memory

#: Bytes up to which a blob goes in one request.
MONOLITHIC = 8 << 20
#: Bytes of a chunk. Registries that keep blobs in S3 want 5 MiB at least; the largest is what an interruption costs.
CHUNK = 32 << 20


#: Answers that refuse a way of sending, not a blob.
_OTHER_WAY = (400, 405, 411, 415, 501)


class StoppedError(Exception):
    """The push ends before its time (another blob failed, or Ctrl-C): a chunk is the last."""


class Uploader:
    """Sends blobs to one repository; several threads may use it.

    Args:
        session: of the repository.
        memory: where unfinished uploads are remembered.
        stopped: says, between two chunks, whether to go on.
        chunk: bytes of a chunk.
        monolithic: bytes up to which a blob goes in one request.
    """

    def __init__(
        self,
        session: RegistrySession,
        memory: Memory,
        stopped: Callable[[], bool] = lambda: False,
        *,
        chunk: int = CHUNK,
        monolithic: int = MONOLITHIC,
    ) -> None:
        self._session = session
        self._memory = memory
        self._stopped = stopped
        self._chunk = chunk
        self._monolithic = monolithic
        #: Methods by which the registry takes no bytes.
        self._refused: set[str] = set()

    def upload(
        self, descriptor: Descriptor, path: Path, location: str | None = None, on_bytes: Progress = lambda count: None
    ) -> None:
        """Send a blob that the repository does not have.

        Args:
            descriptor: of the blob.
            path: its file.
            location: of an upload that the registry has opened, in the place of a mount.
            on_bytes: is told how many bytes were sent, those that were sent in vain included.

        Raises:
            RegistryError: the registry refuses.
            TemporaryError: every try failed.
            ContextError: the file cannot be read, or is not what its digest says.
        """
        name = self._session.at.name
        state = State(descriptor=descriptor, path=path, on_bytes=on_bytes, location=location)
        state.step = self._send_whole
        if descriptor.size > self._monolithic:
            state.step = self._send_chunks
            if location is None and (known := self._memory.recall(name, descriptor.digest)):
                state.location, state.sure, state.recalled = known.decode(errors="replace"), False, True
        self._insist(state, f"{descriptor.digest} is not at {name}")
        self._memory.forget(name, descriptor.digest)

    def _insist(self, state: State, doing: str) -> None:
        """Try until the blob is there, at most `tries` times without getting any further than before."""
        failed, reached = 0, 0
        while True:
            try:
                # The answer to the last request may be what got lost.
                if not failed or not has_blob(self._session, state.descriptor):
                    state.step(state)
                return
            except DroppedError as error:
                failed, reached = (failed + 1, reached) if state.best <= reached else (1, state.best)
                self._session.wait(failed, error, doing, "run the command again: it continues where it was")

    # --- one request ---

    def _send_whole(self, state: State) -> None:
        if "PUT" in self._refused:
            return self._send_chunks(state)
        location, state.location = state.location or self._begin(state), None
        if not self._finish(state, location, 0):
            return self._send_chunks(state)
        return None

    # --- chunks ---

    def _send_chunks(self, state: State) -> None:
        if "PATCH" in self._refused:
            return self._send_whole(state)
        if state.location is not None and not state.sure:
            self._find_out(state)
        if state.location is None:
            state.location, state.offset = self._begin(state), 0
        state.sure = False
        # The last chunk needs no request of its own: it goes with the one that closes the upload.
        while state.descriptor.size - state.offset > (0 if "PUT" in self._refused else self._chunk):
            if self._stopped():
                raise StoppedError
            if not self._send_chunk(state):
                return self._send_chunks(state)
        if not self._finish(state, state.location, state.offset):
            return self._send_chunks(state)
        return None

    def _send_chunk(self, state: State) -> bool:
        """Send the next chunk; return False where the registry wants the upload to start again."""
        assert state.location is not None
        end = min(state.offset + self._chunk, state.descriptor.size)
        answer = self._session.once(
            "PATCH",
            state.location,
            data=Part(state.path, state.offset, end, state.on_bytes),
            headers={
                "Content-Type": "application/octet-stream",
                # Not the form of RFC 9110: the distribution spec has neither unit nor total here.
                "Content-Range": f"{state.offset}-{end - 1}",
            },
        )
        if answer.status not in (201, 202, 204):
            # A registry that does not know the method may say that it does not know the upload.
            other = answer.status in _OTHER_WAY or (answer.status in (404, 416) and state.restarts > 0)
            if other and not state.best and self._refuses("PATCH"):
                state.location = None
                return False
            return self._start_again(state, answer)
        state.location = self._location(answer) or state.location
        state.offset = received_bytes(answer) or end
        state.best = max(state.best, state.offset)
        self._memory.remember(state.location.encode(), self._session.at.name, state.descriptor.digest)
        return True

    def _find_out(self, state: State) -> None:
        """Ask how much of an upload has arrived; an upload that the registry knows no more starts again."""
        assert state.location is not None
        try:
            answer = self._session.once("GET", state.location)
        except (DroppedError, RegistryError):
            if not state.recalled:
                raise
            # What another run left may lead nowhere: a host of then, a file that somebody damaged.
            answer = Answer(status=0, reason="", headers={})
        received = received_bytes(answer)
        if answer.status in (401, 403) and not state.recalled:
            raise self._session.refusal(answer)
        if answer.status not in (200, 202, 204) or received is None or received > state.descriptor.size:
            state.location = None
            self._memory.forget(self._session.at.name, state.descriptor.digest)
        else:
            state.location, state.offset, state.resumed = self._location(answer) or state.location, received, True
        state.recalled = False

    # --- both ---

    def _begin(self, state: State) -> str:
        answer = self._session.once("POST", self._session.url("blobs/uploads/"), data=b"")
        location = self._location(answer)
        if answer.status != 202 or location is None:
            raise self._refusal(state, answer)
        # Distribution spec 1.1: what is smaller is refused.
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
        self._chunk = max(self._chunk, int(least) if re.fullmatch(r"[0-9]{1,12}", least) else 0)
        return location

    def _finish(self, state: State, location: str, offset: int) -> bool:
        """Send what is left and close the upload; return False where it has to start again."""
        size = state.descriptor.size
        headers = {"Content-Type": "application/octet-stream"}
        if 0 < offset < size:
            headers["Content-Range"] = f"{offset}-{size - 1}"
        joint = "&" if "?" in location else "?"
        answer = self._session.once(
            "PUT",
            f"{location}{joint}{urlencode({'digest': state.descriptor.digest})}",
            data=Part(state.path, offset, size, state.on_bytes) if size > offset else b"",
            headers=headers,
        )
        if answer.status in (201, 204):
            return True
        # One that takes no notice of the bytes finds that nothing does not have the digest.
        if answer.status in _OTHER_WAY and size > offset and self._refuses("PUT"):
            state.sure = False
            return False
        return self._start_again(state, answer)

    def _refuses(self, method: str) -> bool:
        """Remember that a registry takes no bytes by a method; return whether the other is left."""
        self._refused.add(method)
        return len(self._refused) == 1

    def _start_again(self, state: State, answer: Answer) -> bool:
        """Prepare for a new upload, once, after one that was continued or that the registry knows no more."""
        gone = answer.status in (404, 416) and state.descriptor.size > self._monolithic
        if (not state.resumed and not gone) or state.restarts >= self._session.tries:
            raise self._refusal(state, answer)
        state.location, state.offset, state.resumed, state.restarts = None, 0, False, state.restarts + 1
        self._memory.forget(self._session.at.name, state.descriptor.digest)
        return False

    def _location(self, answer: Answer) -> str | None:
        location = answer.headers.get("Location")
        return self._session.absolute(location) if location else None

    def _refusal(self, state: State, answer: Answer) -> RegistryError:
        if answer.status in (401, 403):
            return self._session.refusal(answer)
        said = self._session.words(answer)
        digest, host = state.descriptor.digest, self._session.at.registry
        if answer.status == 413:
            return RegistryError(
                f"{host} takes no blob as large as {digest} ({state.descriptor.size} bytes)",
                remedy="a proxy before the registry limits requests: raise its limit (nginx: client_max_body_size)",
            )
        return RegistryError(f"{host} does not take {digest}: it answers {answer.status}{said}")
