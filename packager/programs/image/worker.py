"""gunicorn's worker of the image: the synchronous one, whose health answers while it scores.

Handling of a connection, the signals, the exit codes and the heartbeat are those of gunicorn's `SyncWorker`, which the
inference server would use: a request that is scored for longer than WORKER_TIMEOUT ends the worker, and SIGTERM lets
requests in flight finish. What differs is who does it.

- The main thread accepts, and answers what has arrived whole, without waiting for any client (`arrival.py`). As long as
  requests are short and clients prompt, it does all there is to do, and a request costs what it costs `SyncWorker`.
- A request that arrives slowly, or is large, gets a thread, which hands it to the main thread when it is there in full
  (`scoring.py`).
- The thread in front watches whether the main thread still looks for what arrives. When it has not for `PATIENCE`, as
  it scores, the thread accepts in its place: `/score` waits for its turn, all else is answered at once.
"""

from __future__ import annotations

import os
import queue
import selectors
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Callable, Dict

from gunicorn import util
from gunicorn.http.errors import ParseException
from gunicorn.workers.sync import SyncWorker

from packager.programs.image.answer import Answer
from packager.programs.image.arrival import BLOCK, NOW, Begun, Whole, arrived
from packager.programs.image.loading import load_telemetry
from packager.programs.image.scoring import WAITING, App, Client, Scoring, body_limit
from packager.programs.image.turns import longest_wait, standing, waited

#: Connections at a time; more wait in the listener's backlog. Those beyond `WAITING` are for all but /score.
CONNECTIONS = WAITING + 32
#: Threads that wait for a connection.
SPARE = 16
#: Seconds: for a request's head; without a byte of a body or an answer; and for a head that a stopping worker awaits.
HEAD_TIME, SILENCE, LINGER = 30.0, 60.0, 2.0
#: Seconds by which a worker that scores lets idle ones go first, for each request that waits; and at most.
COURTESY, MOST_COURTESY = 0.05, 0.5
#: Seconds that connections stand in the kernel's queue for the sake of that: then a worker that goes from request to
#: request takes some of all that do, at least so many, and after twice that one that is held up by a single one.
STOOD, SHARE = 0.5, 2
#: Bytes a second below which a client is taken for stuck.
SLOWEST = 1024
#: Seconds for which a block of a body may stand still while others wait for the room that it takes, and bytes a second
#: that a body has to arrive with then; and for which a connection may send no whole head while there is none free.
STALL, PACE, HURRY = 1.0, 1 << 20, 1.0
#: Seconds after which a request that has not arrived whole gets a thread; and for which the main thread may not look
#: for what arrives before the thread in front does.
PART, PATIENCE = 0.25, 0.02
#: Seconds between two heartbeats, at least; the main thread tells of every request.
BEAT = 0.3
#: How requests begin that the main thread answers before those that wait for their turn.
AT_ONCE = (b"GET / ", b"GET /swagger.json")
#: Seconds for which the main thread may keep Python's lock while the thread in front waits for it.
SWITCH = 0.001

_SIGNALS = signal.valid_signals() - {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}


class Connection(Client):
    """A client's connection; after `deadline` (monotonic seconds) it is closed."""

    def __init__(self, sock: Any, silence: float, whole_body: float, listener: Any = None, address: Any = None) -> None:
        self.sock, self.listener, self.address = sock, listener, address
        self.accepted = time.monotonic()
        self.deadline = self.accepted + HEAD_TIME
        self.began = False
        #: What has arrived, and is not yet anyone's.
        self.data = b""
        self._silence, self._whole_body = silence, whole_body
        self._reading, self._blocks = 0.0, 0
        self._since: float | None = None

    def reading(self) -> None:
        """A block of the body is awaited: a while for each, and a limit for all together."""
        now = time.monotonic()
        self._blocks += self.began
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
        """Whether a block of its body has been awaited for long, or all of them together."""
        if self._since is None:
            return False
        awaited = now - self._since
        return awaited > STALL or self._reading + awaited > STALL + self._blocks * BLOCK / PACE

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
            # Signals are the main thread's: run() is interrupted by one. A thread inherits what is blocked.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            try:
                threading.Thread(target=self._work, args=(task,), daemon=True).start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

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
        load_telemetry()
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
            longest=longest_wait(os.environ),
        )
        self.wsgi = self.scoring
        self._main = threading.get_ident()

    def run(self) -> None:
        """Serve until the end."""
        self._open()
        self._crew.do(self._front)
        self.scoring.work(self._look)
        # Answers that are ready are still on their way.
        end = time.monotonic() + (1.0 if self._aborted else self.cfg.graceful_timeout)
        while self._connections and time.monotonic() < end:
            time.sleep(0.01)

    def handle_abort(self, sig: int, frame: Any) -> None:
        """WORKER_TIMEOUT: end what is scored, and score no more."""
        self._aborted = True
        self.scoring.abort()
        super().handle_abort(sig, frame)

    def _open(self) -> None:
        #: Whoever has it accepts connections and collects what arrives.
        self._door = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._bell, self._ring = socket.socketpair()
        for each in (*self.sockets, self._bell, self._ring):
            each.setblocking(False)
        for watched in (self.PIPE[0], self._bell, *self.sockets):
            self._selector.register(watched, selectors.EVENT_READ)
        self._beaten = self._collected = self._looked = 0.0
        #: Connections of which the selector tells when more arrives, the oldest first.
        self._parts: Dict[int, Connection] = {}
        #: How often the main thread has looked; whether it waits for something, and whether it wants the door back.
        self._looks, self._waits, self._wanted = 0, False, False
        self.scoring.call = self._call
        whole = float(self.cfg.timeout) or float("inf")
        self._times = min(SILENCE, whole / 2), max(whole, SILENCE)
        # What TLS hides cannot be looked at, nor what is no HTTP.
        plain = getattr(self.cfg, "protocol", "http") == "http" and self.cfg.proxy_protocol in (False, "off")
        self._collects = plain and not self.cfg.is_ssl

    # --- the main thread ---

    def _look(self, wait: bool) -> bool:
        """Look for what has arrived; False where the thread in front does."""
        self._looked = time.monotonic()
        if not self.alive:
            self._call(always=True)
            return False
        if not self._door.acquire(blocking=False):
            self._wanted = True
            if wait:
                self._call(always=True)
            return False
        try:
            self._looks += 1
            self._waits = wait
            # What others have put meanwhile is seen here, or they see that this waits.
            if wait or self.cfg.workers == 1 or self._looked - self._collected > STOOD:
                self._collect(1.0 if wait and not self.scoring.load else 0.0)
        finally:
            self._waits = False
            self._door.release()
        return True

    def _call(self, always: bool = False) -> None:
        """Wake whoever waits for what arrives."""
        if always or self._waits:
            with suppress(OSError):
                self._ring.send(b"!")

    def _answer(self, connection: Connection) -> None:
        """Answer a request that has arrived whole, waiting for nobody."""

        def late(answer: Answer) -> None:
            answer.sending = connection.sending
            self._hire(connection, lambda: self._send(connection, answer))

        whole = Whole(connection.sock, connection.data, late, lambda: self._forget(connection))
        try:
            self.handle(connection.listener, whole, connection.address)
        finally:
            whole.close()

    def _send(self, connection: Connection, answer: Answer) -> None:
        try:
            for chunk in answer:
                connection.sock.sendall(chunk)
        except OSError:
            answer.close()
        finally:
            util.close(connection.sock)
            self._forget(connection)

    # --- whoever has the door ---

    def _collect(self, timeout: float) -> None:
        """Accept connections, and hand on those that are whole or need a thread."""
        self._collected = time.monotonic()
        full = len(self._connections) >= CONNECTIONS
        if full:
            self._evict()
            if timeout:
                time.sleep(0.02)
        wait = 0.0 if full else min(timeout, PART) if self._parts else timeout
        for key, _ in self._selector.select(wait):
            if key.data is not None:
                self._receive(key.data)
            elif key.fileobj == self.PIPE[0]:
                with suppress(OSError):
                    os.read(self.PIPE[0], 4096)
                self.scoring.wake()
            elif key.fileobj is self._bell:
                with suppress(OSError):
                    self._bell.recv(4096)
            elif not full:
                self._accept_all(key.fileobj)
        late = time.monotonic() - PART
        while self._parts:
            oldest = next(iter(self._parts.values()))
            if oldest.accepted > late:
                break
            self._part(oldest)
            self._serve_apart(oldest)

    def _accept_all(self, listener: Any) -> None:
        # Where several workers could take a connection, each takes what it can do next; but who asks for its health, or
        # waits no longer than it is said, may be among those that stand in the queue.
        load, longest, stood, share = self.scoring.load, self.scoring.longest or 60.0, 0.0, CONNECTIONS
        if self.cfg.workers > 1:
            if load and threading.get_ident() != self._main:
                self.scoring.wait_until_idle(min(load * COURTESY, MOST_COURTESY, longest / 4))
            held_up = time.monotonic() - self._looked > STOOD / 2
            stood = min(2 * STOOD if held_up else STOOD, longest / 2)
            # In parts, so that others have as many: what one has taken no other can do.
            part = self.cfg.workers * (1 if self.scoring.longest else 2 if held_up else 4)
            share = max(SHARE, standing(listener) // part)
        while self._accept(listener) >= stood and share > 1 and len(self._connections) < CONNECTIONS:
            share -= 1

    def _accept(self, listener: Any) -> float:
        """Accept a connection; return for how many seconds it stood in the queue, or -1 where none does."""
        try:
            sock, address = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return -1.0
        except OSError as error:
            # Too many open files, most likely: those that are served will close theirs.
            self.log.warning("a connection cannot be accepted: %s", error)
            time.sleep(0.1)
            return -1.0
        stood = waited(sock) if self.cfg.workers > 1 else 0.0
        connection = Connection(sock, *self._times, listener, address)
        self._connections[id(connection)] = connection
        if self._collects:
            self._receive(connection)
        else:
            self._serve_apart(connection)
        return stood

    def _receive(self, connection: Connection) -> None:
        """Take what has arrived of a request."""
        try:
            data = connection.sock.recv(BLOCK, NOW)
        except BlockingIOError:
            data = None
        except OSError:
            data = b""
        if data:
            connection.data += data
        state = arrived(connection.data) if data is None or data else "other"
        known = connection.sock.fileno() in self._parts
        if state == "part":
            if not known:
                self._parts[connection.sock.fileno()] = connection
                self._selector.register(connection.sock, selectors.EVENT_READ, connection)
            return
        if known:
            self._part(connection)
        main = threading.get_ident() == self._main
        if state == "whole":
            connection.waiting()
            if main and connection.data.startswith(AT_ONCE):
                self._answer(connection)
                return
            # What the server takes for /score has the word in it; all else is answered while another is scored.
            scores = b"score" in connection.data[: connection.data.find(b"\r\n")]
            if (main or scores) and self.scoring.put(lambda: self._answer(connection)):
                return
        self._serve_apart(connection)

    def _part(self, connection: Connection) -> None:
        del self._parts[connection.sock.fileno()]
        self._selector.unregister(connection.sock)

    def _serve_apart(self, connection: Connection) -> None:
        """Let a thread handle it, which may wait."""
        self._hire(connection, lambda: self._serve(connection))

    def _hire(self, connection: Connection, task: Callable[[], None]) -> None:
        try:
            self._crew.do(task)
        except RuntimeError as error:
            self.log.warning("no thread for a connection: %s", error)
            with suppress(OSError):
                util.write_error(connection.sock, 503, "Service Unavailable", "")
            util.close(connection.sock)
            self._forget(connection)

    def _serve(self, connection: Connection) -> None:
        self._local.connection = connection
        sock = Begun(connection.sock, connection.data) if connection.data else connection.sock
        connection.data = b""
        try:
            self.handle(connection.listener, sock, connection.address)
        finally:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        self._connections.pop(id(connection), None)

    def _evict(self) -> None:
        """Close the connection that has been sending its head for the longest: a probe may be knocking."""
        waiting = [each for each in list(self._connections.values()) if not each.began]
        oldest = min(waiting, key=lambda each: each.deadline, default=None)
        if oldest is not None and oldest.deadline < time.monotonic() + HEAD_TIME - HURRY:
            oldest.close()

    # --- the thread in front ---

    def _front(self) -> None:
        try:
            with selectors.DefaultSelector() as watch:
                watch.register(self._selector, selectors.EVENT_READ)
                while self.alive:
                    if time.monotonic() - self._beaten > BEAT:
                        self._heartbeat()
                        if not self.is_parent_alive():
                            break
                    self._watch(watch)
            self._finish()
        except BaseException:
            self.log.exception("the thread that accepts connections failed")
        finally:
            self.alive = False
            self.scoring.stop()
            self._call(always=True)

    def _watch(self, watch: selectors.BaseSelector) -> None:
        if not watch.select(1.0):
            return
        looks = self._looks
        time.sleep(PATIENCE)
        self._wanted = False
        if looks != self._looks or not self.scoring.busy or not self._door.acquire(blocking=False):
            return
        before = sys.getswitchinterval()
        sys.setswitchinterval(min(before, SWITCH))
        try:
            while self.alive and not self._wanted:
                self._heartbeat()
                self._collect(1.0)
        finally:
            sys.setswitchinterval(before)
            self._door.release()
            self.scoring.wake()

    def _heartbeat(self) -> None:
        # While a request is scored, there is none: so the arbiter notices one that takes too long.
        if not self.scoring.busy:
            self.notify()
        self._beaten = now = time.monotonic()
        for connection in list(self._connections.values()):
            if connection.deadline < now or (self.scoring.crowded and connection.stalls(now)):
                connection.close()

    def _finish(self) -> None:
        """Take in what knocked before the end, and wait for what is in flight."""
        with self._door:
            for listener in self.sockets:
                self._selector.unregister(listener)
                while not self._aborted and len(self._connections) < CONNECTIONS and self._accept(listener) >= 0:
                    pass
            now = time.monotonic()
            linger, end = now + LINGER, now + self.cfg.graceful_timeout
            while self._connections and time.monotonic() < end:
                for connection in list(self._connections.values()):
                    if not connection.began:
                        connection.deadline = min(connection.deadline, linger)
                self._heartbeat()
                self._collect(0.02)
