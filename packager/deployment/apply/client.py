"""A platform's own client, run as a process: its progress is passed on, and its end is ours to judge."""

from __future__ import annotations

import errno
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from packager.errors import EngineError, PackagerError, TemporaryError, UsageError
from packager.interruption import terminated_as_interrupted

Say = Callable[[str], None]

#: Lines of what a client wrote that an error shows.
SHOWN = 12
#: Seconds that a service which is not well has to end before it is killed.
PATIENCE = 10
#: Characters of what a client wrote that are kept.
_KEPT = 1 << 20

#: Colours and cursor movements (ECMA-48), which some write whatever they write to.
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")

_PASSING = re.compile(
    r"i/o timeout|TLS handshake timeout|connection refused|connection reset|no such host|network is unreachable"
    r"|unable to connect to the server|was refused|\bEOF\b|temporary failure|timed out"
    r"|\b50[234]\b|\b429\b|too ?many ?requests",
    re.IGNORECASE,
)


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """How a client ended.

    Attributes:
        code: its exit code.
        out: what it wrote to standard output; all that it wrote where its progress was shown.
        error: what it wrote to standard error.
    """

    code: int
    out: str
    error: str = ""

    @property
    def well(self) -> bool:
        """It did what it was asked."""
        return self.code == 0

    @property
    def reason(self) -> str:
        """The last line that it wrote, by which it most often says why it failed."""
        lines = [line.strip() for line in (self.error or self.out).splitlines() if line.strip()]
        return lines[-1].removeprefix("error: ").removeprefix("ERROR: ") if lines else f"exit code {self.code}"


class Client:
    """A program that speaks to a platform.

    Args:
        words: that every command of it starts with: `docker`, `compose`.
        install: what to do where it is not there.
    """

    def __init__(self, *words: str, install: str) -> None:
        self._words, self._install = words, install

    @property
    def name(self) -> str:
        """What it is called."""
        return " ".join(self._words)

    def ask(self, *words: str, timeout: float = 60.0, folder: Path | None = None, stdin: str = "") -> Said:
        """Run a command to its end, and show nothing of it.

        Args:
            words: of the command.
            timeout: seconds.
            folder: that it runs in.
            stdin: what it reads.

        Raises:
            EngineError: there is no such program.
            TemporaryError: it took longer.
        """
        command = [*self._words, *words]
        try:
            done = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                cwd=folder,
                check=False,
            )
        except FileNotFoundError:
            raise self.missing() from None
        except subprocess.TimeoutExpired:
            raise TemporaryError(
                f"{' '.join(command[:4])} … did not end within {timeout:g} s",
                remedy="try again; look whether it answers",
            ) from None
        return Said(code=done.returncode, out=_plain(done.stdout), error=_plain(done.stderr))

    def run(self, *words: str, say: Say, folder: Path | None = None) -> Said:
        """Run a command to its end, and pass each line that it writes on.

        Args:
            words: of the command.
            say: hears the lines.
            folder: that it runs in.

        Raises:
            EngineError: there is no such program.
            KeyboardInterrupt: after the command was ended.
        """
        kept: list[str] = []
        with self.running(*words, folder=folder) as process:
            assert process.stdout is not None
            for raw in process.stdout:
                line = _plain(raw).rstrip()
                if line:
                    say(f"  {line.strip()}")
                    kept.append(line)
            return Said(code=process.wait(), out="\n".join(kept)[-_KEPT:])

    @contextmanager
    def running(self, *words: str, folder: Path | None = None) -> Iterator[subprocess.Popen[str]]:
        """Run a command for as long as the block takes; its standard error is in its standard output.

        Raises:
            EngineError: there is no such program.
        """
        with terminated_as_interrupted():
            try:
                process = subprocess.Popen(
                    [*self._words, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    cwd=folder,
                )
            except FileNotFoundError:
                raise self.missing() from None
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.terminate()
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(10)
                    process.kill()
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()

    def missing(self) -> EngineError:
        """Return the error for a program that is not there."""
        return EngineError(f"{self._words[0]} is not installed here", remedy=self._install)

    def refused(self, said: Said, what: str, remedy: str = "") -> PackagerError:
        """Return the error for a command that failed: one that may pass where it speaks of the network.

        Args:
            said: how it ended.
            what: it was to do, in words: `apply the files`.
            remedy: what to do about it, where that is known.
        """
        lines = [line for line in (said.error or said.out).splitlines() if line.strip()][-SHOWN:]
        text = "\n".join(f"    {line}" for line in lines) or f"    (exit code {said.code}, and no word)"
        if _PASSING.search("\n".join(lines)):
            return TemporaryError(f"{self.name} could not {what}:\n{text}", remedy=remedy or "try again")
        return EngineError(f"{self.name} could not {what}:\n{text}", remedy=remedy or "see what it says above")


def _plain(text: str) -> str:
    return _CONTROL.sub("", text).replace("\r\n", "\n").replace("\r", "\n")


def version_of(text: str) -> tuple[int, ...]:
    """Return the numbers of a version in a text (`v2.26.1-4` → 2, 26, 1); empty where there is none. Pure."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(each) for each in found.groups() if each) if found else ()


def require_free_port(address: str, remedy: str) -> None:
    """Refuse a port of this machine on which somebody listens.

    Args:
        address: `HOST:PORT`; what is none is let be.
        remedy: how to choose another.

    Raises:
        UsageError: it is taken.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 1 << 16:
        return
    family = socket.AF_INET6 if ":" in host.strip("[]") else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        # What closed a moment ago is no reason to wait.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host.strip("[]").replace("*", ""), int(port)))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UsageError(f"port {port} is taken on this machine", remedy=remedy) from None
