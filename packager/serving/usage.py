"""What a running service uses of processors and memory, whichever counters tell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

#: Seconds between two looks at memory, where no counter keeps its peak. A look costs the engine some milliseconds.
_PAUSE = 0.25


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a service has used so far, and uses now.

    Attributes:
        cpu: seconds of processors since it was started.
        memory: bytes now, without files that the kernel keeps only because there is room.
        cache: bytes of those files.
        peak: bytes at most since it was started, with such files; None where no counter keeps it.
    """

    cpu: float
    memory: int
    cache: int = 0
    peak: int | None = None


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine has: processors, and bytes of memory."""

    cpus: int
    memory: int


class Most:
    """The most memory of several looks."""

    def __init__(self) -> None:
        self._memory = self._cache = 0
        self._peak: int | None = None
        self._looks = 0

    def see(self, usage: Usage | None) -> None:
        """Take what a look told; None tells nothing."""
        if usage is not None:
            self._looks += 1
            self._memory = max(self._memory, usage.memory)
            self._cache = max(self._cache, usage.cache)
            self._peak = usage.peak if usage.peak is not None else self._peak

    @property
    def memory(self) -> int | None:
        """Bytes; None where no look told any.

        A peak counts files that are kept because there is room: no more of them than were seen are taken off.
        """
        if not self._looks:
            return None
        return max(self._memory, (self._peak or 0) - self._cache)


@contextmanager
def watching(look: Callable[[], Usage | None], most: Most) -> Iterator[None]:
    """Look again and again during the block, where no counter keeps the peak of memory.

    Args:
        look: at what is used now.
        most: takes it.
    """
    first = look()
    most.see(first)
    if first is None or first.peak is not None:
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_PAUSE):
            most.see(look())

    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
