"""Requests to `/score`, one after the other in the main thread.

The inference server interrupts `run()` by a signal when it takes too long, and scripts written for Azure ML do not
expect two calls at once: so `run()` stays in the main thread. It answers what has arrived whole by itself (`put`). What
arrives slowly has a thread, which reads the body to its end before it waits for its turn, and passes the answer on: so
no slow client occupies the scoring.
"""

from __future__ import annotations

import io
import json
import queue
import threading
import time
from contextlib import suppress
from typing import Any, Callable, Dict, Iterable, Iterator, List, Literal, Mapping, Optional, Tuple, Type, Union

from packager.programs.image.answer import AHEAD, ROOM, Answer, EndedError, LeftError, Room
from packager.programs.image.arrival import BLOCK, SMALL, Whole
from packager.programs.image.turns import too_late, waited

# Spelled as Python 3.9 can evaluate them.
Environ = Dict[str, Any]
#: What the main thread does.
Job = Callable[[], None]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

#: Requests that wait for their turn; one more is told to come again.
WAITING = 480


#: Variable: bytes that a body may have.
LIMIT = "PACKAGER_MAX_BODY"
LARGEST = 1 << 30
MEMORY_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
#: Seconds for which a body that is too large is read on: closed before, the client would not see the answer.
READ_ON = 5.0
#: Seconds without a byte after which it has been sent.
PAUSE = 0.5


class Refused(Exception):  # noqa: N818
    """The request is answered without scoring it: status line, message, seconds after which it may come again."""

    def __init__(self, status: str, message: str, retry_after: Optional[int] = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after


def body_limit(environ: Mapping[str, str], files: Iterable[str] = MEMORY_FILES) -> int:
    """Return how many bytes a request's body may have.

    Args:
        environ: LIMIT may say it. Else it is an eighth of the container's memory, for server and script hold a body
            several times while they read it, and at most `LARGEST`.
        files: where the kernel says how much memory there is (cgroup 2, cgroup 1).
    """
    asked = environ.get(LIMIT, "")
    if asked.isdecimal():
        return int(asked)
    for each in files:
        with suppress(OSError, ValueError), open(each, encoding="ascii") as file:
            return min(int(file.read()) // 8, LARGEST)
    return LARGEST


def refuse(start_response: StartResponse, refused: Refused) -> List[bytes]:
    """Answer in the form of the inference server's own errors."""
    body = json.dumps({"message": refused.message}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if refused.retry_after is not None:
        headers.append(("Retry-After", str(refused.retry_after)))
    start_response(refused.status, headers)
    return [body]


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
        limit: requests that may wait.
        largest: bytes that a body may have.
        longest: seconds that a request may wait for its turn; None for as long as it takes.
    """

    def __init__(
        self,
        app: App,
        *,
        client: Callable[[], Client] = Client,
        started: Callable[[], None] = lambda: None,
        broken: Tuple[Type[Exception], ...] = (),
        limit: int = WAITING,
        largest: int = LARGEST,
        longest: Optional[float] = None,
    ) -> None:
        self._app, self._client, self._started, self._broken = app, client, started, broken
        #: None ends the work, False only wakes it.
        self._jobs: queue.SimpleQueue[Union[Job, Literal[False], None]] = queue.SimpleQueue()
        self._main = threading.get_ident()
        self._lock = threading.Lock()
        self._limit, self._load, self._ended = limit, 0, False
        self._largest, self.longest = largest, longest
        self._idle = threading.Event()
        self._idle.set()
        # A small container has less room: `largest` follows its memory.
        self._room = Room(min(ROOM, 2 * largest))
        #: A request is being scored.
        self.busy = False
        #: Wakes the main thread where it waits for something else than a job.
        self.call: Callable[[], None] = lambda: None

    # --- the threads of the connections ---

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if threading.get_ident() == self._main:
            return self._at_once(environ, start_response)
        # What the server takes for /score has the word in it, however many slashes surround it.
        if "score" not in environ.get("PATH_INFO", ""):
            self._client().waiting()
            return self._app(environ, start_response)
        client, answer = self._client(), None
        held = size = 0
        try:
            body = io.BytesIO()
            for block in self._blocks(environ, client):
                size += len(block)
                # A small body needs no room: none that stands still keeps it waiting.
                if size > SMALL:
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
            if refused.status.startswith("413"):
                self._read_on(environ, client)
            return refuse(start_response, refused)
        except BaseException:
            if answer is not None:
                answer.close()
            raise
        finally:
            if held:
                self._room.give_back(body, held)

    def _at_once(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request that has arrived whole, in the main thread."""
        if "score" not in environ.get("PATH_INFO", ""):
            return self._app(environ, start_response)
        try:
            if self._ended:
                raise Refused("503 Service Unavailable", "The worker is ending.", retry_after=1)
            sock, length = environ.get("gunicorn.socket"), int(environ.get("CONTENT_LENGTH") or 0)
            self._time_left(sock)
            if isinstance(sock, Whole) and length <= self._largest:
                body = sock.body(length)
            else:
                body = b"".join(self._blocks(environ, Client()))
            environ["wsgi.input"], environ["wsgi.input_terminated"] = io.BytesIO(body), True
            return self._app(environ, start_response)
        except Refused as refused:
            return refuse(start_response, refused)
        except Exception:
            raise
        # `sys.exit()` in a script is an answer 500 to the server's own worker, too, and no end of the worker.
        except BaseException as error:
            raise EndedError("scoring was ended") from error

    def _blocks(self, environ: Environ, client: Client) -> Iterator[bytes]:
        length = environ.get("CONTENT_LENGTH") or None
        left = int(length) if length is not None else None
        if left is None and not environ.get("wsgi.input_terminated"):
            return
        source, size = environ["wsgi.input"], 0
        while left is None or left:
            if max(size, size + (left or 0)) > self._largest:
                raise Refused(
                    "413 Request Entity Too Large", f"The body of the request is larger than {self._largest} bytes."
                )
            client.reading()
            try:
                block = source.read(BLOCK if left is None else min(left, BLOCK))
            except self._broken:
                raise Refused("400 Bad Request", "The body of the request is not what its headers say.") from None
            # Waiting for room is not the client's fault.
            client.waiting()
            if not block:
                break
            left = None if left is None else left - len(block)
            size += len(block)
            yield block
        if left:
            raise Refused("400 Bad Request", "The body of the request is shorter than its headers say.")

    def _read_on(self, environ: Environ, client: Client) -> None:
        """Read what still comes, for a while, and forget it; the connection is closed afterwards."""
        end = time.monotonic() + READ_ON
        client.reading()
        # Past gunicorn, which takes 8 KiB at a time: a client may send hundreds of MB before it looks for an answer.
        sock = environ.get("gunicorn.socket")
        with suppress(OSError, *self._broken):
            if sock is not None:
                sock.settimeout(PAUSE)
            while time.monotonic() < end and (sock.recv(1 << 20) if sock else environ["wsgi.input"].read(BLOCK)):
                pass
        if sock is not None:
            sock.settimeout(None)

    def _time_left(self, sock: Any) -> Optional[float]:
        """Return the seconds for which a request that has arrived may wait on.

        Raises:
            Refused: it has waited for too long.
        """
        if self.longest is None:
            return None
        left = self.longest - waited(sock)
        if left <= 0:
            raise self._late()
        return left

    def _late(self) -> Refused:
        return Refused("503 Service Unavailable", too_late(self.longest or 0.0), retry_after=1)

    def _submit(self, environ: Environ, client: Client) -> Answer:
        answer, left = Answer(sending=client.sending), self._time_left(environ.get("gunicorn.socket"))

        def score() -> None:
            if not answer.begin():
                # Who waited has counted it off, and `work` will.
                with self._lock:
                    self._load += 1
            elif self._ended:
                answer.end(Refused("503 Service Unavailable", "The worker is ending.", retry_after=1))
            else:
                self._score(environ, answer)

        with self._lock:
            if self._ended:
                raise Refused("503 Service Unavailable", "The worker is ending.", retry_after=1)
            if self._load > self._limit:
                raise Refused("503 Service Unavailable", "Too many requests are waiting.", retry_after=1)
            self._add(score)
        self.call()
        if left is not None and not answer.await_turn(left):
            # It stays in the queue, without its body, until the main thread comes to it.
            environ["wsgi.input"] = io.BytesIO()
            self._done()
            raise self._late()
        return answer

    def put(self, job: Job) -> bool:
        """Let the main thread do something in its turn; False where too many requests wait, or none is taken any more.

        Where waiting has a limit, it is taken only if its turn comes at once, for nobody waits with it. What is there
        when scoring ends is done all the same: it has to look whether it still may score.
        """
        with self._lock:
            if self._ended or self._load > (self._limit if self.longest is None else 0):
                return False
            self._add(job)
        return True

    def _add(self, job: Job) -> None:
        self._load += 1
        self._idle.clear()
        self._jobs.put(job)

    # --- the worker's own thread ---

    @property
    def crowded(self) -> bool:
        """Bodies wait for room that others have taken."""
        return self._room.waiting > 0

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

    def work(self, look: Callable[[bool], bool] = lambda _: False) -> None:
        """Score what comes, until `stop` or `abort`.

        Args:
            look: looks for what has arrived, and `put`s it; whether it may wait until something has. It tells whether
                it could look at all: where not, another thread does.
        """
        self._main = threading.get_ident()
        while not self._ended:
            looked = look(not self._load)
            try:
                job = self._jobs.get(not looked)
            except queue.Empty:
                continue
            if job is False:
                continue
            if job is None:
                break
            self.busy = True
            self._started()
            try:
                job()
            finally:
                self.busy = False
                self._done()
        self._drop()

    def _done(self) -> None:
        with self._lock:
            self._load -= 1
            if not self._load:
                self._idle.set()

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
                    job()
                    self._done()
