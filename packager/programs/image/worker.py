"""gunicorn's worker of the image: the synchronous one, whose health answers while it scores.

It differs from gunicorn's `SyncWorker`, which the inference server would use, in one thing: connections are accepted
and served by threads, and only `/score` is handed to the main thread (see `scoring.py`). Handling of a connection,
the signals, the exit codes and the heartbeat are those of `SyncWorker`: a request that is scored for longer than
WORKER_TIMEOUT ends the worker, and SIGTERM lets requests in flight finish.

What it costs, seen on a busy machine with two processors: 1.2 ms a request where `SyncWorker` takes 0.7 ms (the median
with one client, and a `run()` that does nothing).
"""

from __future__ import annotations

import os
import queue
import selectors
import signal
import threading
import time
from contextlib import suppress
from typing import Any, Callable, Dict

from gunicorn import util
from gunicorn.http.errors import ParseException
from gunicorn.workers.sync import SyncWorker

from packager.programs.image.scoring import WAITING, App, Client, Scoring, body_limit

#: Connections at a time; more wait in the listener's backlog. Those beyond `WAITING` are for all but /score.
CONNECTIONS = WAITING + 32
#: Threads that wait for a connection.
SPARE = 16
#: Seconds: for a request's head; without a byte of a body or an answer; and for a head that a stopping worker awaits.
HEAD_TIME, SILENCE, LINGER = 30.0, 60.0, 2.0
#: Seconds by which a worker that scores lets idle ones go first, for each request that waits; and at most.
COURTESY, MOST_COURTESY = 0.05, 0.5
#: Bytes a second below which a client is taken for stuck.
SLOWEST = 1024
#: Seconds for which a block of a body may stand still while others wait for the room that it takes; and for which a
#: connection may send no whole head while there is none free for others.
STALL, HURRY = 5.0, 1.0

_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}


class Connection(Client):
    """A client's connection; after `deadline` (monotonic seconds) it is closed."""

    def __init__(self, sock: Any, silence: float, whole_body: float) -> None:
        self.sock, self.deadline = sock, time.monotonic() + HEAD_TIME
        self.began = False
        self._silence, self._whole_body = silence, whole_body
        self._reading = 0.0
        self._since: float | None = None

    def reading(self) -> None:
        """A block of the body is awaited: a while for each, and a limit for all together."""
        now = time.monotonic()
        self.began, self._since = True, now
        self.deadline = now + min(self._silence, self._whole_body - self._reading)

    def waiting(self) -> None:
        """It is our turn."""
        if self._since is not None:
            self._reading += time.monotonic() - self._since
        self.began, self._since, self.deadline = True, None, float("inf")

    def sending(self, size: int) -> None:
        """A chunk of the answer is sent."""
        self.deadline = time.monotonic() + self._silence + size / SLOWEST

    def stalls(self, now: float) -> bool:
        """Whether a block of its body has been awaited for long."""
        return self._since is not None and now - self._since > STALL

    def close(self) -> None:
        """Wake the thread that reads from it or writes to it."""
        with suppress(OSError):
            self.sock.shutdown(2)


class Crew:
    """Threads that do what is handed to them: as many as are needed at a time, and a few that wait for more."""

    def __init__(self, kept: int = SPARE) -> None:
        self._kept, self._spare = kept, 0
        self._lock = threading.Lock()
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def do(self, task: Callable[[], None]) -> None:
        """Let a thread do it now.

        Raises:
            RuntimeError: the machine gives no more threads.
        """
        with self._lock:
            spare = self._spare > 0
            self._spare -= spare
        if spare:
            self._tasks.put(task)
        else:
            threading.Thread(target=self._work, args=(task,), daemon=True).start()

    def _work(self, task: Callable[[], None]) -> None:
        while True:
            task()
            with self._lock:
                if self._spare >= self._kept:
                    return
                self._spare += 1
            task = self._tasks.get()


class Worker(SyncWorker):  # type: ignore[misc]
    """The worker; `gunicorn` makes it, and calls `run` after the user's `init()`."""

    wsgi: App
    alive: bool
    _aborted = False

    def load_wsgi(self) -> None:
        """Load the inference server, and put the queue around it."""
        super().load_wsgi()
        self._local = threading.local()
        self._connections: Dict[int, Connection] = {}
        self._crew = Crew()
        self.scoring = Scoring(
            self.wsgi,
            client=lambda: self._local.connection,
            started=self.notify,
            broken=(ParseException,),
            largest=body_limit(os.environ),
        )
        self.wsgi = self.scoring

    def run(self) -> None:
        """Serve until the end."""
        for listener in self.sockets:
            listener.setblocking(False)
        threading.Thread(target=self._front, name="front", daemon=True).start()
        self.scoring.work()
        # Answers that are ready are still on their way.
        end = time.monotonic() + (1.0 if self._aborted else self.cfg.graceful_timeout)
        while self._connections and time.monotonic() < end:
            time.sleep(0.01)

    def handle_abort(self, sig: int, frame: Any) -> None:
        """WORKER_TIMEOUT: end what is scored, and score no more."""
        self._aborted = True
        self.scoring.abort()
        super().handle_abort(sig, frame)

    # --- the thread in front ---

    def _front(self) -> None:
        # Signals are the main thread's: run() is interrupted by one. Threads started here inherit it.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _FAULTS)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self.PIPE[0], selectors.EVENT_READ)
                for listener in self.sockets:
                    selector.register(listener, selectors.EVENT_READ)
                while self.alive:
                    self._look(selector)
                    if not self.is_parent_alive():
                        break
            self._finish()
        except BaseException:
            self.log.exception("the thread that accepts connections failed")
        finally:
            self.alive = False
            self.scoring.stop()

    def _look(self, selector: selectors.BaseSelector) -> None:
        self._heartbeat()
        full = len(self._connections) >= CONNECTIONS
        if full:
            self._evict()
            time.sleep(0.02)
        ready = [key.fileobj for key, _ in selector.select(0 if full else 1.0)]
        if self.PIPE[0] in ready:
            with suppress(OSError):
                os.read(self.PIPE[0], 4096)
            self.scoring.wake()
            time.sleep(0.01)
        if full:
            return
        load = self.scoring.load
        if load and self.cfg.workers > 1:
            self.scoring.wait_until_idle(min(load * COURTESY, MOST_COURTESY))
        for listener in self.sockets:
            if listener in ready:
                self._accept(listener)

    def _heartbeat(self) -> None:
        # While a request is scored, there is none: so the arbiter notices one that takes too long.
        if not self.scoring.busy:
            self.notify()
        now = time.monotonic()
        for connection in list(self._connections.values()):
            if connection.deadline < now or (self.scoring.crowded and connection.stalls(now)):
                connection.close()

    def _evict(self) -> None:
        """Close the connection that has been sending its head for the longest: a probe may be knocking."""
        waiting = [each for each in list(self._connections.values()) if not each.began]
        oldest = min(waiting, key=lambda each: each.deadline, default=None)
        if oldest is not None and oldest.deadline < time.monotonic() + HEAD_TIME - HURRY:
            oldest.close()

    def _accept(self, listener: Any) -> bool:
        try:
            sock, address = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            # Too many open files, most likely: those that are served will close theirs.
            self.log.warning("a connection cannot be accepted: %s", error)
            time.sleep(0.1)
            return False
        sock.setblocking(True)
        util.close_on_exec(sock)
        whole = float(self.cfg.timeout) or float("inf")
        connection = Connection(sock, min(SILENCE, whole / 2), max(whole, SILENCE))
        self._connections[id(connection)] = connection
        try:
            self._crew.do(lambda: self._serve(connection, listener, sock, address))
        except RuntimeError as error:
            self.log.warning("no thread for a connection: %s", error)
            util.write_error(sock, 503, "Service Unavailable", "")
            util.close(sock)
            del self._connections[id(connection)]
        return True

    def _serve(self, connection: Connection, listener: Any, sock: Any, address: Any) -> None:
        self._local.connection = connection
        try:
            self.handle(listener, sock, address)
        finally:
            del self._connections[id(connection)]

    def _finish(self) -> None:
        """Take in what knocked before the end, and wait for what is in flight."""
        for listener in () if self._aborted else self.sockets:
            while len(self._connections) < CONNECTIONS and self._accept(listener):
                pass
        now = time.monotonic()
        linger, end = now + LINGER, now + self.cfg.graceful_timeout
        while self._connections and time.monotonic() < end:
            for connection in list(self._connections.values()):
                if not connection.began:
                    connection.deadline = min(connection.deadline, linger)
            self._heartbeat()
            time.sleep(0.02)
