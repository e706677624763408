"""One file of the web into a place of the cache: appended to, hashed on the way, and noted when it is whole."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from packager.decoding import decode_json
from packager.errors import ContextError, TemporaryError
from packager.given import read_given
from packager.http import LONGEST_WAIT, TRIES, DroppedError, failures, wait_before
from packager.progress import Advance, working
from packager.storage.files import write_bytes
from packager.storage.reading import BLOCK, failure, write_all
from packager.workspace.sources.addresses import Address, disposed_name, looks_like_html
from packager.workspace.sources.web_client import WebClient

if TYPE_CHECKING:
    import requests

#: In a place: the bytes, and what is known of them.
DATA, NOTE = "data", "note.json"
#: Bytes that a connection must have brought, so that its breaking off is no failed try.
_PROGRESS = 64 << 10
#: Bytes of one read: what a connection that breaks off in the middle of one has brought is lost.
_READ = 128 << 10
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/(?:([0-9]{1,18})|\*)")


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is noted of a download.

    Attributes:
        name: of the file.
        etag: as the server said it; empty where it did not.
        modified: likewise.
        total: bytes of the whole; None where the server does not say.
        sha256: of the whole, once it is there; empty before.
    """

    name: str
    etag: str = ""
    modified: str = ""
    total: int | None = None
    sha256: str = ""

    def validators(self) -> dict[str, str]:
        """Return the headers by which the server told this file from later ones."""
        found = {"ETag": self.etag, "Last-Modified": self.modified}
        return {name: value for name, value in found.items() if value}

    @property
    def condition(self) -> str:
        """What an If-Range says: a strong ETag, else a date; empty where the rest cannot be asked for safely."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


def read_kept(folder: Path) -> Kept | None:
    """Return what is noted in a place; None where nothing is that can be read."""
    with suppress(OSError, msgspec.MsgspecError):
        return decode_json(read_given(folder / NOTE), Kept)
    return None


class Download:
    """The download of one file.

    Args:
        client: of its server.
        address: of it.
        folder: its place, which is this process's alone.
        pause: waits for so many seconds between two tries.
    """

    def __init__(self, client: WebClient, address: Address, folder: Path, pause: Callable[[float], None]) -> None:
        self._client = client
        self._address = address
        self._folder = folder
        self._pause = pause
        self._kept: Kept | None = None
        self._state = hashlib.sha256()
        self._offset = 0

    def run(self) -> Kept:
        """Fetch what is not there yet; return what is noted of the whole.

        Raises:
            TemporaryError: it broke off again and again; what came is kept.
            ContextError: the server has no such file, it is of another digest, or the disk is full.
        """
        self._resume()
        resumed = self._offset > 0
        kept = self._complete() or self._whole()
        if self._address.sha256 in (None, self._state.hexdigest()):
            return self._finish(kept)
        found = self._state.hexdigest()
        self._restart()
        if resumed:
            # The first half may be of another file than the second.
            kept = self._whole()
            if self._state.hexdigest() == self._address.sha256:
                return self._finish(kept)
            found = self._state.hexdigest()
            self._restart()
        raise ContextError(
            f"{self._address.uri} is not the file that was meant: its sha256 is {found}",
            remedy=f"it should be {self._address.sha256}: ask whoever told you, and do not use it until you know",
        )

    # --- the place ---

    @property
    def _data(self) -> Path:
        return self._folder / DATA

    def _resume(self) -> None:
        """Go on with what an earlier try has left, where the server can be asked for the rest of the same file."""
        kept = read_kept(self._folder)
        usable = kept is not None and not kept.sha256 and (kept.condition or self._address.sha256)
        if kept is None or not usable or not self._data.is_file():
            self._restart()
            return
        try:
            with self._data.open("rb") as file:
                while data := file.read(BLOCK):
                    self._state.update(data)
                    self._offset += len(data)
        except OSError as error:
            raise failure("read", self._data, error) from None
        self._kept = kept
        if kept.total is not None and self._offset > kept.total:
            self._restart()

    def _restart(self) -> None:
        """Begin anew, in a new file: somebody may have a link to the old one."""
        self._kept, self._offset, self._state = None, 0, hashlib.sha256()
        try:
            (self._folder / NOTE).unlink(missing_ok=True)
            self._data.unlink(missing_ok=True)
        except OSError as error:
            raise failure("removed", self._data, error) from None

    def _note(self, kept: Kept) -> None:
        self._kept = kept
        write_bytes(self._folder / NOTE, msgspec.json.encode(kept))

    def _finish(self, kept: Kept) -> Kept:
        if not self._offset:
            self._restart()
            raise ContextError(f"{self._address.uri} is empty", remedy="check the address")
        if self._data.stat().st_size != self._offset:  # a filesystem without locks, and another process
            self._restart()
            raise TemporaryError(f"{self._data} was written to by somebody else", remedy="try again")
        self._note(msgspec.structs.replace(kept, sha256=self._state.hexdigest()))
        assert self._kept is not None
        return self._kept

    def _complete(self) -> Kept | None:
        """Return what is noted where an earlier try has read to the end, and was ended before it said so."""
        kept = self._kept
        if kept is None or not self._offset or self._offset != kept.total:
            return None
        return kept if self._client.is_unchanged(kept.validators()) else None

    # --- the bytes ---

    def _whole(self) -> Kept:
        """Read to the end, with at most `TRIES` tries that fail without getting much further."""
        failed, reached = 0, self._offset
        title = f"downloading {self._address.name or self._address.host}"
        with working(title, self._kept.total if self._kept else None) as advance:
            advance(self._offset)
            while True:
                try:
                    return self._attempt(advance)
                except DroppedError as error:
                    # A few bytes for each connection are no progress: the next try would give as many, for ever.
                    if self._offset - reached >= _PROGRESS:
                        failed, reached = 0, self._offset
                    failed += 1
                    self._wait(failed, error)

    def _wait(self, failed: int, error: DroppedError) -> None:
        seconds = wait_before(failed, error.retry_after)
        if failed >= TRIES or seconds > LONGEST_WAIT:
            there = f"; {self._offset} bytes of it are kept" if self._offset else ""
            raise TemporaryError(
                f"{self._address.host} {error.problem}: {self._address.uri} is not whole{there}",
                remedy=error.remedy or "try again: it goes on from where it ended",
            ) from None
        self._pause(seconds)

    def _attempt(self, advance: Advance) -> Kept:
        with self._client.asked(self._range()) as answer:
            kept = self._accept(answer)
            if kept is None:
                self._restart()
                raise DroppedError("answers another range than was asked for")
            self._append(answer, kept, advance)
            if kept.total is not None and self._offset < kept.total:
                raise DroppedError("broke off")
            return kept

    def _range(self) -> dict[str, str]:
        if not self._offset or self._kept is None:
            return {}
        found = {"Range": f"bytes={self._offset}-"}
        # Without a condition only where the digest tells in the end.
        return found | ({"If-Range": self._kept.condition} if self._kept.condition else {})

    def _accept(self, answer: requests.Response) -> Kept | None:
        """Return what is known of the file that an answer is of, from the right place on; None where it is no use."""
        if answer.status_code == 206:
            found = _RANGE.match(answer.headers.get("Content-Range", ""))
            kept = self._kept
            if found is None or kept is None or int(found[1]) != self._offset:
                return None
            total = int(found[2]) if found[2] else kept.total
            return kept if total == kept.total else None
        if answer.status_code != 200:
            # The whole was here, but for the note, or what is there is longer than the file by now.
            return None
        if self._offset:
            self._restart()
        kept = self._described(answer)
        self._refuse_page(kept, answer.headers.get("Content-Type", ""), b"")
        self._note(kept)
        return kept

    def _described(self, answer: requests.Response) -> Kept:
        headers, address = answer.headers, self._address
        name = disposed_name(headers.get("Content-Disposition", "")) or address.name
        if not name:
            raise ContextError(f"{address.uri} does not say how the file is called", remedy="name a path with a file")
        encoding = headers.get("Content-Encoding", "identity").lower()
        if encoding not in ("", "identity") and not name.endswith((".gz", ".tgz", ".zst", ".xz", ".bz2")):
            raise ContextError(
                f"{address.host} sends {name} as {encoding}, though it was asked for the file as it is",
                remedy="name the address of the file itself, or download it by other means",
            )
        length = headers.get("Content-Length", "")
        return Kept(
            name=name,
            etag=_header(headers, "ETag"),
            modified=_header(headers, "Last-Modified"),
            total=int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None,
        )

    def _refuse_page(self, kept: Kept, content_type: str, start: bytes) -> None:
        if kept.name.lower().endswith((".html", ".htm", ".xhtml")) or not looks_like_html(content_type, start):
            return
        self._restart()
        raise ContextError(
            f"{self._address.host} answers with a page for people in place of {kept.name}",
            remedy="it may want a login: put user and password into ~/.netrc, or name the address of the file itself",
        )

    def _append(self, answer: requests.Response, kept: Kept, advance: Advance) -> None:
        try:
            target = os.open(self._data, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise failure("written", self._data, error) from None
        try:
            while data := self._read(answer):
                if not self._offset:
                    self._refuse_page(kept, "", data)
                try:
                    write_all(target, data)
                except OSError as error:
                    raise failure("written", self._data, error) from None
                self._state.update(data)
                self._offset += len(data)
                advance(len(data))
        finally:
            os.close(target)

    def _read(self, answer: requests.Response) -> bytes:
        with failures(self._address.host):
            data: bytes = answer.raw.read(_READ, decode_content=False)
            return data


def _header(headers: Any, name: str) -> str:
    """Return a header that we may send back; nothing of one that is too long or has control characters."""
    value = str(headers.get(name, ""))
    return value if value.isascii() and value.isprintable() and len(value) <= 512 else ""
