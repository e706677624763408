"""Signals that end a process early, all heard alike."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM (a cancelled CI job) and SIGHUP (a closed terminal) like Ctrl-C, so that they too leave nothing.

    Raises:
        KeyboardInterrupt: when one of them comes.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # Python hears signals in the main thread only
        yield
        return
    # One that is ignored, as SIGHUP is by nohup, stays so.
    numbers = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
