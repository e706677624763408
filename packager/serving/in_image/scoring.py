"""Requests to `/score`, one after the other in the main thread; all others beside them, each in its own thread.

The inference server interrupts `run()` by a signal when it takes too long, and scripts written for Azure ML do not
expect two calls at once: so `run()` stays in the main thread. The threads of the connections read a request's body to
its end before it waits for its turn, and pass the answer on, so that no slow client occupies the scoring.
"""

from __future__ import annotations

import io
import json
import queue
import threading
from collections import deque
from contextlib import suppress
from typing import Any, Callable, Deque, Dict, Iterable, Iterator, List, Literal, Optional, Tuple, Type, Union

# Spelled as Python 3.9 can evaluate them.
Environ = Dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

#: Bytes of a body that are read at a time.
BLOCK = 64 * 1024
#: Bytes of bodies that wait for their turn, all together; one that is larger still fits alone.
ROOM = 64 << 20
#: Bytes of an answer that may wait for its client before the main thread does.
AHEAD = 8 << 20
#: Requests that wait for their turn; one more is told to come again.
WAITING = 480


class LeftError(Exception):
    """The client of the answer is gone."""


class EndedError(Exception):
    """Scoring ended by what is no ordinary exception (`sys.exit()`, or the worker's time-out)."""


class Refused(Exception):  # noqa: N818
    """The request is answered without scoring it: status line, message, seconds after which it may come again."""

    def __init__(self, status: str, message: str, retry_after: Optional[int] = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after


def refuse(start_response: StartResponse, refused: Refused) -> List[bytes]:
    """Answer in the form of the inference server's own errors."""
    body = json.dumps({"message": refused.message}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if refused.retry_after is not None:
        headers.append(("Retry-After", str(refused.retry_after)))
    start_response(refused.status, headers)
    return [body]


class Answer:
    """An answer on its way from the main thread to the client's: its head, then its chunks, then its end."""

    def __init__(self, ahead: int = AHEAD, sending: Callable[[int], None] = lambda _: None) -> None:
        self._ahead, self._sending = ahead, sending
        self._changed = threading.Condition()
        self._head: Optional[Tuple[str, List[Tuple[str, str]]]] = None
        self._chunks: Deque[bytes] = deque()
        self._size = 0
        self._ready = self._ended = self._left = False
        self._error: Optional[BaseException] = None

    # --- the main thread ---

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
            self._sending(len(chunk))
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

    def take(self, owner: object, size: int) -> None:
        """Take room, when there is some."""
        with self._changed:
            while self._free < size and self._first not in (None, owner):
                self._changed.wait()
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


class Client:
    """What the connection of a request is told; the worker makes it close connections that get stuck."""

    def reading(self) -> None:
        """A block of the body is awaited."""

    def waiting(self) -> None:
        """It is our turn."""

    def sending(self, size: int) -> None:
        """A chunk of the answer is sent."""


class Scoring:
    """A WSGI application around the inference server's.

    Args:
        app: the inference server.
        client: gives the connection of this thread.
        started: is told in the main thread when a request's turn has come.
        broken: exceptions by which reading a body says that the client sent nonsense.
    """

    def __init__(
        self,
        app: App,
        *,
        client: Callable[[], Client] = Client,
        started: Callable[[], None] = lambda: None,
        broken: Tuple[Type[Exception], ...] = (),
        limit: int = WAITING,
    ) -> None:
        self._app, self._client, self._started, self._broken = app, client, started, broken
        #: None ends the work, False only wakes it.
        self._jobs: queue.SimpleQueue[Union[Tuple[Environ, Answer], Literal[False], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._limit, self._load, self._ended = limit, 0, False
        self._idle = threading.Event()
        self._idle.set()
        self._room = Room()
        #: A request is being scored.
        self.busy = False

    # --- the threads of the connections ---

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        # What the server takes for /score has the word in it, however many slashes surround it.
        if "score" not in environ.get("PATH_INFO", ""):
            self._client().waiting()
            return self._app(environ, start_response)
        client, answer = self._client(), None
        held = 0
        try:
            body = io.BytesIO()
            for block in self._blocks(environ, client):
                self._room.take(body, len(block))
                held += len(block)
                body.write(block)
            client.waiting()
            # What was read in full needs no counting of its length; the server would copy it once more.
            environ["wsgi.input"], environ["wsgi.input_terminated"] = io.BytesIO(body.getvalue()), True
            answer = self._submit(environ, client)
            start_response(*answer.head())
            return answer
        except Refused as refused:
            return refuse(start_response, refused)
        except BaseException:
            if answer is not None:
                answer.close()
            raise
        finally:
            if held:
                self._room.give_back(body, held)

    def _blocks(self, environ: Environ, client: Client) -> Iterator[bytes]:
        length = environ.get("CONTENT_LENGTH") or None
        left = int(length) if length is not None else None
        if left is None and not environ.get("wsgi.input_terminated"):
            return
        source = environ["wsgi.input"]
        while left is None or left:
            client.reading()
            try:
                block = source.read(BLOCK if left is None else min(left, BLOCK))
            except self._broken:
                raise Refused("400 Bad Request", "The body of the request is not what its headers say.") from None
            if not block:
                break
            left = None if left is None else left - len(block)
            yield block
        if left:
            raise Refused("400 Bad Request", "The body of the request is shorter than its headers say.")

    def _submit(self, environ: Environ, client: Client) -> Answer:
        answer = Answer(sending=client.sending)
        with self._lock:
            if self._ended:
                raise Refused("503 Service Unavailable", "The worker is ending.", retry_after=1)
            if self._load > self._limit:
                raise Refused("503 Service Unavailable", "Too many requests are waiting.", retry_after=1)
            self._load += 1
            self._idle.clear()
            self._jobs.put((environ, answer))
        return answer

    # --- the worker's own thread ---

    @property
    def load(self) -> int:
        """The number of requests that wait or are being scored."""
        return self._load

    def wait_until_idle(self, seconds: float) -> None:
        """Return when nothing waits and nothing is scored, or after some time."""
        self._idle.wait(seconds)

    def stop(self) -> None:
        """Let `work` return when it has done what waits."""
        self._jobs.put(None)

    def wake(self) -> None:
        """Let the main thread look up: what Python does on a signal waits until it does."""
        self._jobs.put(False)

    def abort(self) -> None:
        """Let `work` return before it begins another; what waits is told to come again. Signal handlers may call it."""
        self._ended = True
        self._jobs.put(None)

    # --- the main thread ---

    def work(self) -> None:
        """Score what comes, until `stop` or `abort`."""
        while not self._ended:
            job = self._jobs.get()
            if job is False:
                continue
            if job is None:
                break
            self.busy = True
            self._started()
            try:
                self._score(*job)
            finally:
                self.busy = False
                with self._lock:
                    self._load -= 1
                    if not self._load:
                        self._idle.set()
        self._drop()

    def _score(self, environ: Environ, answer: Answer) -> None:
        try:
            result = self._app(environ, answer.start)
            body = b""
            try:
                if answer.length <= AHEAD:
                    body = b"".join(result)
                else:
                    for chunk in result:
                        answer.write(chunk)
            finally:
                close = getattr(result, "close", None)
                if close is not None:
                    close()
        except LeftError:
            answer.end()
        # `sys.exit()` in a script is an answer 500 to the server's own worker, too, and no end of the worker.
        except BaseException as error:
            answer.end(error)
        else:
            answer.end(body=body)

    def _drop(self) -> None:
        with self._lock:
            self._ended = True
        with suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job:
                    job[1].end(Refused("503 Service Unavailable", "The worker is ending.", retry_after=1))
