"""How far long work is: whoever works tells it here, and whoever asked for it hears it.

Where nobody listens it costs nothing, and nobody does unless asked to: the command line listens for every verb, the
Python API is silent. A program of yours hears it so:

    from packager.progress import listening

    with listening(listener):  # an object with the methods of `Listener`
        packager.build(spec_file, push=True)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, Literal, Protocol, TypeVar

import msgspec

Unit = Literal["bytes", "items"]
Result = TypeVar("Result")


class Work(msgspec.Struct, frozen=True, eq=False):
    """A piece of work that may take long; two of the same title are two.

    Attributes:
        title: for people: `packing model weights`.
        total: how much there is to do; None where nobody knows.
        unit: of the total.
    """

    title: str
    total: int | None = None
    unit: Unit = "bytes"


class Listener(Protocol):
    """Hears of work, from any thread, several at a time. What it raises ends the work."""

    def begin(self, work: Work) -> None:
        """Hear that work begins."""
        ...

    def advance(self, work: Work, count: int) -> None:
        """Hear that so much more is done; what was done in vain counts, too: it may become more than the total."""
        ...

    def end(self, work: Work) -> None:
        """Hear that work ended, well or not."""
        ...


#: Says that so many bytes, or items, more are done; from any thread.
Advance = Callable[[int], None]

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)
#: Counts what this thread reads and copies.
_READ: ContextVar[Advance | None] = ContextVar("read", default=None)


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Let a listener hear of the work of the block, in this thread and those that it starts; None hears nothing."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def is_heard() -> bool:
    """Whether anybody listens: what is only worked out to be told is not worth it otherwise."""
    return _LISTENER.get() is not None


@contextmanager
def working(title: str, total: int | None = None, unit: Unit = "bytes") -> Iterator[Advance]:
    """Tell that the block is a piece of work; give what says how far it is.

    Args:
        title: for people.
        total: how much there is to do; None where nobody knows.
        unit: of the total.
    """
    listener = _LISTENER.get()
    if listener is None:
        yield _unheard
        return
    work = Work(title, total, unit)
    listener.begin(work)
    try:
        yield lambda count: listener.advance(work, count)
    finally:
        listener.end(work)


@contextmanager
def reading(title: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Tell as `working` does, and count the bytes that this thread reads or copies (`packager.storage.reading`).

    Args:
        title: for people.
        total: bytes.

    Yields:
        what says that the work has come to so many bytes: of what is remembered, nothing is read.
    """
    if not is_heard():
        yield _unheard
        return
    done = 0
    with working(title, total) as advance:

        def read(count: int) -> None:
            nonlocal done
            done += count
            advance(count)

        token = _READ.set(read)
        try:
            yield lambda reached: read(reached - done) if reached > done else None
        finally:
            _READ.reset(token)


def count_read(count: int) -> None:
    """Say that this thread has read or copied so many bytes."""
    if (read := _READ.get()) is not None:
        read(count)


def in_thread(act: Callable[..., Result]) -> Callable[..., Result]:
    """Return a function for one call in another thread, where what listens here shall listen, too."""
    context = copy_context()

    def run(*args: Any) -> Result:
        return context.run(act, *args)

    return run


def _unheard(_count: int) -> None:
    pass
