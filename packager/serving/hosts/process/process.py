"""Processes that outlive us: known again by number, time of start and boot, so that a recycled number is never hit."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

#: Seconds between two looks at an ending process.
_PAUSE = 0.05
#: Looks at the variables of a process that shows none.
_NEW = 10

_PROC = Path("/proc")


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process of this machine.

    Attributes:
        pid: its number.
        started: ticks of the clock since boot (`proc(5)`, field 22 of `stat`).
        boot: of the machine, as the kernel names it.
    """

    pid: int
    started: int
    boot: str

    @property
    def running(self) -> bool:
        """It is this very process, and it runs."""
        return self.of_this_boot and _started(self.pid) == self.started

    @property
    def of_this_boot(self) -> bool:
        """The machine was not started anew since."""
        return self.boot == _boot()

    def send(self, number: int) -> None:
        """Send it a signal; one that is gone is no error."""
        with suppress(ProcessLookupError):
            # What the descriptor names cannot become another process between the look and the signal.
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.running:
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)

    def stop(self, grace: float) -> None:
        """Let it end by SIGTERM, and end it after some seconds by SIGKILL."""
        self.send(signal.SIGTERM)
        if not self.wait(grace):
            self.send(signal.SIGKILL)
            self.wait(grace)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; return whether it came in time."""
        end = time.monotonic() + seconds
        while self.running:
            if time.monotonic() > end:
                return False
            time.sleep(_PAUSE)
        return True

    def variables(self) -> dict[str, str]:
        """Return the environment variables that it was started with; empty when it is gone."""
        data = b""
        # A new program is running, as the kernel tells it, a moment before its variables can be read.
        for _ in range(_NEW):
            try:
                data = (_PROC / str(self.pid) / "environ").read_bytes()
            except OSError:
                return {}
            if data or not self.running:
                break
            time.sleep(_PAUSE)
        pairs = (os.fsdecode(each).partition("=") for each in data.split(b"\0") if each)
        return {name: value for name, _, value in pairs} if self.running else {}

    def age(self) -> float:
        """Seconds since it was started."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        return max(now - self.started / os.sysconf("SC_CLK_TCK"), 0.0)


def start(
    words: Sequence[str], *, environ: dict[str, str], folder: Path, log: BinaryIO, descriptors: tuple[int, ...]
) -> Process:
    """Start a program in a session of its own, so that no terminal ends it.

    Args:
        words: the program, and its arguments.
        environ: all of its environment variables.
        folder: it works in.
        log: gets what it writes.
        descriptors: that it inherits, under their numbers.
    """
    child = subprocess.Popen(
        words,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        pass_fds=descriptors,
        start_new_session=True,
    )
    # It is meant to be left running: Popen would warn of that. Whoever waits looks at /proc.
    child.returncode = 0
    return Process(pid=child.pid, started=_started(child.pid) or 0, boot=_boot())


def this_process() -> Process:
    """Return the process that asks.

    Raises:
        OSError: the system does not tell (it is no Linux).
    """
    return Process(pid=os.getpid(), started=_started(os.getpid()) or 0, boot=_boot())


def _started(pid: int) -> int | None:
    """Return when a process was started; None where there is none, or it has ended and nobody has asked how."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # where it is our own child
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _boot() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
