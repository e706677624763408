"""The other end of `worker.py`: starts it, asks it, and ends it. On the machine where the worker runs.

Standard library only, so that it can be sent to another machine as it is.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

#: Seconds between two looks at whether a silent worker is still there.
_LOOK = 1.0
_PIECE = 1 << 20


class LostError(Exception):
    """A worker was silent for too long, or ended."""


class Pipe:
    """A worker, in a session of its own, so that it is ended with all that it started.

    Args:
        words: the program and its arguments.
        environ: all of its environment variables.
        folder: it works in.
        log: path of the file that gets what the script writes.
        end: is called once it was killed, for what a kill does not reach.
    """

    #: A message may be sent while another one is not answered yet.
    ahead = True

    def __init__(
        self,
        words: Sequence[str],
        environ: Mapping[str, str],
        folder: str,
        log: str,
        end: Callable[[], None] = lambda: None,
    ) -> None:
        self._end, self._left, self._doing = end, b"", ""
        #: Who asks has it: only then nobody closes what is read from.
        self._asking = threading.Lock()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._process = subprocess.Popen(
                words,
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=descriptor,
                start_new_session=True,
                bufsize=0,
            )
        finally:
            os.close(descriptor)
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send it a message; one more than it has answered may wait, where it is shorter than what a pipe takes.

        Raises:
            LostError: it has ended.
        """
        self._doing = {"start": "init()", "stop": "shutdown()"}.get(message["do"], "run()")
        with self._asking:
            self._write(json.dumps(message).encode() + b"\n")

    def receive(self, timeout: float) -> tuple[dict[str, Any], bytes]:
        """Return its answer to the first message that it has not answered, and the bytes that come with it.

        Args:
            timeout: seconds that it may be silent.

        Raises:
            LostError: it was silent for longer, or ended; `kill` it then.
        """
        with self._asking:
            while True:
                answer = json.loads(self._until_line(timeout))
                if "alive" not in answer:
                    return answer, self._exactly(answer.get("bytes", 0), timeout)

    def kill(self) -> None:
        """End it at once, and all that it started; from any thread."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._end()
        with self._asking:
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            # A pipe without a buffer may take less than all of it.
            left = memoryview(data)
            while left:
                left = left[self._process.stdin.write(left) or 0 :]
        except (OSError, ValueError):  # it is gone, or was closed
            raise LostError(self._why()) from None

    def _until_line(self, timeout: float) -> bytes:
        while b"\n" not in self._left:
            self._left += self._piece(timeout)
        line, _, self._left = self._left.partition(b"\n")
        return line

    def _exactly(self, size: int, timeout: float) -> bytes:
        pieces, have = [self._left], len(self._left)
        while have < size:
            pieces.append(self._piece(timeout))
            have += len(pieces[-1])
        data = b"".join(pieces)
        self._left = data[size:]
        return data[:size]

    def _piece(self, timeout: float) -> bytes:
        """Return what it wrote; children of the script may hold its end of the pipe when it is gone."""
        end = time.monotonic() + timeout
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        while True:
            wait = min(end - time.monotonic(), _LOOK)
            if wait <= 0:
                raise LostError(f"{self._doing} took longer than {timeout:g} s")
            if poll.poll(wait * 1000):
                piece = os.read(self._out, _PIECE)
                if not piece:
                    raise LostError(self._why())
                return piece
            if self._process.poll() is not None and not poll.poll(0):
                raise LostError(self._why())

    def _why(self) -> str:
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "the worker closed its output"
        # Of a container, the shell's way of telling a signal.
        number = -code if code < 0 else code - 128
        if 0 < number < signal.NSIG:
            name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
            return f"the worker was ended by signal {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        return f"the worker ended by itself with exit code {code}"
