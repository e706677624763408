"""Workers, as the pool asks them: on this machine, or wherever else somebody can start a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from packager.errors import ContextError
from packager.programs.batch.pipe import LostError, Pipe
from packager.resources import program

__all__ = ["LostError", "Program", "Start", "Worker", "start_here"]


class Worker(Protocol):
    """A worker that was started.

    Attributes:
        ahead: a short message may be sent while another one is not answered yet.
    """

    ahead: bool

    def send(self, message: Mapping[str, Any]) -> None:
        """Send it a message.

        Raises:
            LostError: it has ended.
        """

    def receive(self, timeout: float) -> tuple[dict[str, Any], bytes]:
        """Return its answer to the first message that it has not answered, and the bytes that come with it.

        Raises:
            LostError: it was silent for so many seconds, or ended.
        """

    def kill(self) -> None:
        """End it at once."""


#: Starts the worker of a number, from 0.
Start = Callable[[int], Worker]


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker is started on the machine that has it.

    Attributes:
        words: the program and its arguments; `{worker}` stands for what no other worker has, `{program}` for the folder
            of `worker.py`.
        environ: all of its environment variables.
        folder: it works in.
        script: the entry script, relative to the app's folder, or absolute; empty for that of the package.
        end: words that end what a kill of the process does not reach; none where it reaches all.
    """

    words: tuple[str, ...]
    environ: dict[str, str]
    folder: str
    script: str
    end: tuple[str, ...] = ()


def start_here(described: Program, logs: Path) -> Start:
    """Return what starts workers on this machine.

    Args:
        described: how.
        logs: folder that gets what scripts write, a file for each worker.
    """
    started = 0

    def start(number: int) -> Worker:
        nonlocal started
        started += 1
        # A container that is being removed still has its name.
        names = {"{worker}": f"{number}-{started}", "{program}": str(program("batch"))}
        words = [named(each, names) for each in described.words]
        end = [named(each, names) for each in described.end]
        log = str(logs / f"worker-{number}.log")
        try:
            return Pipe(words, described.environ, described.folder, log, end=lambda: _run(end))
        except OSError as error:
            raise ContextError(f"{words[0]} cannot be started: {error.strerror}") from None

    return start


def named(word: str, names: Mapping[str, str]) -> str:
    """Return a word with names in the place of what stands for them."""
    for name, value in names.items():
        word = word.replace(name, value)
    return word


def _run(words: list[str]) -> None:
    if words:
        import subprocess

        subprocess.run(words, check=False, stdin=subprocess.DEVNULL, capture_output=True)
