"""What passes between the threads of the connections and the main thread: an answer, and room for bodies."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Callable, Deque, Iterator, List, Optional, Tuple

#: Bytes of large bodies that wait for their turn, all together; one that is larger still fits alone.
ROOM = 256 << 20
#: Bytes of an answer that may wait for its client before the main thread does.
AHEAD = 8 << 20


class LeftError(Exception):
    """The client of the answer is gone."""


class EndedError(Exception):
    """Scoring ended by what is no ordinary exception (`sys.exit()`, or the worker's time-out)."""


class Answer:
    """An answer on its way from the main thread to the client's: its head, then its chunks, then its end."""

    def __init__(self, ahead: int = AHEAD, sending: Callable[[int], None] = lambda _: None) -> None:
        self._ahead, self.sending = ahead, sending
        self._changed = threading.Condition()
        self._head: Optional[Tuple[str, List[Tuple[str, str]]]] = None
        self._chunks: Deque[bytes] = deque()
        self._size = 0
        self._begun = self._missed = self._ready = self._ended = self._left = False
        self._error: Optional[BaseException] = None

    # --- the main thread ---

    def begin(self) -> bool:
        """Begin with it, as its turn has come; False where it has missed it (`await_turn`)."""
        with self._changed:
            self._begun = not self._missed
            self._changed.notify_all()
            return self._begun

    def start(self, status: str, headers: List[Tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        """Take the head: WSGI's `start_response`."""
        with self._changed:
            if exc_info and self._ready:
                raise exc_info[1]
            self._head = (status, list(headers))
        return self.write

    @property
    def length(self) -> float:
        """Bytes of the body as its head says; infinite where it does not, as of an answer that is streamed."""
        headers = self._head[1] if self._head is not None else []
        found = [value for name, value in headers if name.lower() == "content-length"]
        return int(found[0]) if found and found[0].isdecimal() else float("inf")

    def write(self, chunk: bytes) -> None:
        """Take a chunk; wait while the client is far behind.

        Raises:
            LeftError: nobody takes it any more.
        """
        if not chunk:
            return
        with self._changed:
            self._ready = True
            self._changed.notify_all()
            while self._size >= self._ahead and not self._left:
                # Not for ever: SIGTERM is set to restart a wait without an end (`SyncWorker.init_signals`).
                self._changed.wait(1.0)
            if self._left:
                raise LeftError
            self._chunks.append(chunk)
            self._size += len(chunk)
            self._changed.notify_all()

    def end(self, error: Optional[BaseException] = None, body: bytes = b"") -> None:
        """Take the end, and what comes before it."""
        with self._changed:
            if body:
                self._chunks.append(body)
            self._error, self._ended, self._ready = error, True, True
            self._changed.notify_all()

    # --- the client's thread ---

    def await_turn(self, seconds: float) -> bool:
        """Wait until it is begun; False where it is not after so long, and never will be."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._begun or self._ended, seconds):
                self._missed = True
            return not self._missed

    def head(self) -> Tuple[str, List[Tuple[str, str]]]:
        """Return status and headers, when the first chunk or the end is there.

        Raises:
            BaseException: what ended it before.
        """
        with self._changed:
            while not self._ready:
                self._changed.wait()
            if not self._chunks:
                self._raise_error()
            if self._head is None:
                raise RuntimeError("the application did not start an answer")
            return self._head

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._changed:
                while not self._chunks and not self._ended:
                    self._changed.wait()
                if not self._chunks:
                    self._raise_error()
                    return
                chunk = self._chunks.popleft()
                if not self._ended:
                    self._size -= len(chunk)
                    self._changed.notify_all()
            self.sending(len(chunk))
            yield chunk

    def close(self) -> None:
        """Let the main thread go: what it has left to say is for nobody."""
        with self._changed:
            self._left = True
            self._chunks.clear()
            self._changed.notify_all()

    def _raise_error(self) -> None:
        if isinstance(self._error, Exception):
            raise self._error
        if self._error is not None:
            raise EndedError("scoring was ended") from self._error


class Room:
    """Room for bodies that wait. When it is full, the first that needs more may go on, and all others wait for it."""

    def __init__(self, size: int = ROOM) -> None:
        self._free = size
        self._changed = threading.Condition()
        self._first: Optional[object] = None
        #: How many wait for room.
        self.waiting = 0

    def take(self, owner: object, size: int) -> None:
        """Take room, when there is some."""
        with self._changed:
            self.waiting += 1
            while self._free < size and self._first not in (None, owner):
                self._changed.wait()
            self.waiting -= 1
            if self._free < size:
                self._first = owner
            self._free -= size

    def give_back(self, owner: object, size: int) -> None:
        """Give all back that an owner took."""
        with self._changed:
            self._free += size
            if self._first is owner:
                self._first = None
            self._changed.notify_all()
