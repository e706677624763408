"""A child process whose messages are shown while it runs, and remembered for the error that may follow."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from packager.interruption import terminated_as_interrupted

#: Bytes of output that are remembered. The block that BuildKit writes at the end of a failed build repeats the failed
#: step's log, which can be thousands of lines on a terminal.
REMEMBERED = 512 * 1024

#: ECMA-48 control sequences (colours, cursor movements), which programs write to terminals.
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")

_SIGNALS = ((signal.SIGINT, 15.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """How a child process ended.

    Attributes:
        code: its exit code; negative: the number of the signal that ended it.
        lines: the last of what it wrote, without control sequences and trailing space.
    """

    code: int
    lines: tuple[str, ...]


def show_on_stderr(chunk: bytes) -> None:
    """Write bytes to standard error as they are."""
    stream = getattr(sys.stderr, "buffer", None)
    if stream is None:  # a test or an application put a text-only stream in its place
        sys.stderr.write(chunk.decode(errors="replace"))
        sys.stderr.flush()
        return
    stream.write(chunk)
    stream.flush()


def run_shown(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    show: Callable[[bytes], None] | None,
    terminal: bool,
) -> Finished:
    """Run a command to its end, passing on what it writes to standard error; its standard output is dropped.

    The child gets a process group of its own, so that signals reach it once, from here, and it is always awaited.

    Args:
        command: program and arguments.
        environ: its whole environment.
        show: gets each piece of its standard error; None shows nothing.
        terminal: give it a terminal to write to (of the size of ours), so that it draws its progress.

    Raises:
        FileNotFoundError: there is no such program.
        KeyboardInterrupt: after the child was interrupted and has ended.
    """
    ours, theirs = os.openpty() if terminal else os.pipe()
    with terminated_as_interrupted():
        try:
            if terminal:
                _copy_window_size(ours)
            process = _start(command, environ, theirs)
            try:
                output = _follow(ours, show, terminal)
                return Finished(code=process.wait(), lines=plain_lines(output.decode(errors="replace")))
            except BaseException:
                _stop(process, ours, show)
                raise
        finally:
            os.close(ours)


def _start(command: Sequence[str], environ: Mapping[str, str], stderr: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, env=environ, process_group=0
        )
    finally:
        os.close(stderr)


def _follow(output: int, show: Callable[[bytes], None] | None, terminal: bool) -> bytes:
    """Read to the end, and return the last part."""
    kept = bytearray()
    while chunk := _read(output):
        if terminal:
            _copy_window_size(output)
        if show is not None:
            show(chunk)
        kept += chunk
        del kept[:-REMEMBERED]
    return bytes(kept)


def plain_lines(text: str) -> tuple[str, ...]:
    """Return the lines of a text meant for a terminal: no control sequences, no trailing space."""
    return tuple(line.rstrip() for line in _CONTROL.sub("", text).replace("\r\n", "\n").split("\n"))


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # EIO: how Linux ends the reading of a terminal whose last writer closed it
        return b""


def _copy_window_size(terminal: int) -> None:
    """Give the terminal the size of ours; repeated, because a window can be resized at any time."""
    import fcntl
    import termios

    try:
        size = fcntl.ioctl(sys.stderr.fileno(), termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
    except (OSError, ValueError):  # standard error is no terminal, or has no descriptor
        pass


def _stop(process: subprocess.Popen[bytes], output: int, show: Callable[[bytes], None] | None) -> None:
    """End the child's process group, politely first, and wait for it. A second Ctrl-C ends the politeness."""
    for number, seconds in _SIGNALS:
        try:
            os.killpg(process.pid, number)
            if _ends_within(process, output, seconds, show):
                return
        except ProcessLookupError:
            process.wait()
            return
        except KeyboardInterrupt:
            continue


def _ends_within(
    process: subprocess.Popen[bytes], output: int, seconds: float, show: Callable[[bytes], None] | None
) -> bool:
    """Wait for the end of the child. Its output is read on: a full pipe would keep it, and it mends the terminal."""
    end = time.monotonic() + seconds
    while process.poll() is None:
        if time.monotonic() > end:
            return False
        if not select.select([output], [], [], 0.05)[0]:
            continue
        chunk = _read(output)
        if not chunk:
            time.sleep(0.05)  # closed: select would answer at once for ever
        elif show is not None:
            with suppress(OSError):  # the reader of our standard error may be what went away
                show(chunk)
    return True
