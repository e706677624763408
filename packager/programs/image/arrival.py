"""Requests that arrive in one piece, or soon: the main thread answers them without a thread of their own.

`arrived` tells by its bytes whether a request is there in full, and `Whole` is the socket that gunicorn's handling gets
of one that is: it never waits for its client. All others have a thread each, which may wait.
"""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from typing import Any, Callable, Literal, Optional

from packager.programs.image.answer import Answer, LeftError

#: Bytes of a request that is waited for without a thread.
SMALL = 256 * 1024
#: Bytes that are read at a time: more would be memory of its own from the system, for every request.
BLOCK = 64 * 1024
#: What a socket takes or gives now, without waiting.
NOW = socket.MSG_DONTWAIT

_TELLING = re.compile(rb"\r\n(content-length|transfer-encoding|expect|upgrade)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length:", re.IGNORECASE)


def arrived(data: bytes) -> Literal["whole", "part", "other"]:
    """Tell whether a request is there in full, in part, or is one that needs a thread.

    It parses nothing: gunicorn does, and has the last word. One that says how long it is otherwise than by one length,
    or is larger than `SMALL`, needs a thread.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return "part" if len(data) < SMALL else "other"
    found = _TELLING.findall(data, 0, end)
    size = end + 4
    if found:
        (name, value), *more = found
        if more or name.lower() != b"content-length" or not value.isdigit() or len(value) > 9:
            return "other"
        size += int(value)
    if size > SMALL:
        return "other"
    return "whole" if len(data) >= size else "part"


class Begun:
    """A socket of which some has been read."""

    def __init__(self, sock: socket.socket, data: bytes) -> None:
        self._sock, self._data = sock, data

    def recv(self, size: int) -> bytes:
        """Give what has been read, and then what comes."""
        if not self._data:
            return self._sock.recv(size)
        data, self._data = self._data[:size], self._data[size:]
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class Whole:
    """The socket of a request that has arrived whole.

    Args:
        sock: the client's.
        data: the request.
        late: is given the answer where the client does not take it at once; it has to send and close.
        gone: is told when the connection is closed here.
    """

    def __init__(
        self,
        sock: socket.socket,
        data: bytes,
        late: Callable[[Answer], None],
        gone: Callable[[], None] = lambda: None,
    ) -> None:
        self._sock, self._data, self._late, self._gone = sock, data, late, gone
        self._read = 0
        self._held: Optional[bytes] = None
        self._answer: Optional[Answer] = None
        self._begun = self._closed = False

    def recv(self, size: int) -> bytes:
        """Give what there is, and then the end."""
        data = self._data[self._read : self._read + size]
        self._read += len(data)
        return data

    def body(self, length: int) -> bytes:
        """Return the body of a request, which gunicorn would read anew, in small pieces."""
        start = self._data.find(b"\r\n\r\n") + 4
        return self._data[start : start + length]

    def sendall(self, data: bytes) -> None:
        """Send what the client takes at once; a thread sends the rest.

        Raises:
            OSError: the client is gone.
        """
        if not self._begun and _LENGTH.search(data):
            # The head of an answer whose body follows: one packet is cheaper than two.
            self._begun, self._held = True, data
            return
        self._begun = True
        if self._held is not None:
            data, self._held = self._held + data, None
        if self._answer is None:
            try:
                sent = self._sock.send(data, NOW)
            except BlockingIOError:
                sent = 0
            if sent == len(data):
                return
            data, self._answer = data[sent:], Answer()
            self._answer.start("", [])
            self._late(self._answer)
        try:
            self._answer.write(data)
        except LeftError:
            raise BrokenPipeError("the client is gone") from None

    def sendfile(self, file: Any, offset: int = 0, count: Optional[int] = None) -> int:
        """Send a part of a file, as a socket does."""
        file.seek(offset)
        sent = 0
        while count is None or sent < count:
            block = file.read(1 << 16 if count is None else min(1 << 16, count - sent))
            if not block:
                break
            self.sendall(block)
            sent += len(block)
        return sent

    def shutdown(self, how: int) -> None:
        """Let go of what is held; the connection ends by `close`."""
        if self._held is not None:
            self.sendall(b"")

    def settimeout(self, seconds: Optional[float]) -> None:
        """Nothing: it does not wait."""

    def close(self) -> None:
        """Send what is held, and close, or let the thread that sends do so.

        Raises:
            OSError: the client is gone.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self.shutdown(socket.SHUT_WR)
        finally:
            if self._answer is not None:
                self._answer.end()
            else:
                # What is unread at the end would take the answer back (a reset).
                with suppress(OSError):
                    self._sock.recv(BLOCK, NOW)
                self._sock.close()
                self._gone()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)
