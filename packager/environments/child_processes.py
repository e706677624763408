"""Child processes that end when nobody waits for them any more: at Ctrl-C, or when another solve has failed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

from packager.errors import LockError

if TYPE_CHECKING:
    import subprocess


@runtime_checkable
class Stoppable(Protocol):
    """A solver whose work under way can be ended from another thread (Ctrl-C, or another platform has failed)."""

    def stop(self) -> None:
        """End all solves under way, which then raise, and refuse new ones."""
        ...


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What a child process has left.

    Attributes:
        code: its exit code; the negative number of the signal that ended it.
        output: its standard output. What is no UTF-8 is replaced, here and below.
        errors: its standard error.
    """

    code: int
    output: str
    errors: str


class Children:
    """Child processes, which can be ended from another thread."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._stopped = False

    def run(self, command: Sequence[str], stdin: bytes = b"", *, cwd: Path, environ: Mapping[str, str]) -> Ended:
        """Run a command to its end; an exception meanwhile, such as Ctrl-C, ends it and all that it has started.

        Args:
            command: program and arguments.
            stdin: what it reads.
            cwd: its folder.
            environ: all its environment variables.

        Raises:
            LockError: it was stopped.
            FileNotFoundError: there is no such program.
        """
        # Imported here, because most runs of `packager lock` find nothing to solve.
        import subprocess

        with self._guard:
            if self._stopped:
                raise LockError("the solve was stopped")
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # A group of its own, so that what it starts ends with it.
                process_group=0,
            )
            self._running.add(process)
        with process:
            try:
                output, errors = process.communicate(stdin)
            except BaseException:
                _end(process)
                process.wait()  # `with` does not, after a Ctrl-C
                raise
            finally:
                with self._guard:
                    self._running.discard(process)
        if self._stopped:
            raise LockError("the solve was stopped")
        return Ended(
            code=process.returncode, output=output.decode(errors="replace"), errors=errors.decode(errors="replace")
        )

    def stop(self) -> None:
        """End all children, and start none any more."""
        with self._guard:
            self._stopped = True
            for process in self._running:
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        # It may end by itself in between.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
