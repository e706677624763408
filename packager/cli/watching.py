"""Work that takes long, as people see it on standard error: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, Protocol

import msgspec

from packager.progress import Work
from packager.units import human_size, visible

Mode = Literal["auto", "tty", "plain", "quiet"]

#: Seconds that work must have taken to be shown as a bar.
SHORT = 0.5
#: Seconds between two lines of one work: the first ones, and at most.
EVERY, SELDOM = 3.0, 30.0
#: Seconds between two looks: drawing costs a millisecond or two.
LOOK = 0.25


class Seen(msgspec.Struct, frozen=True):
    """How far work is.

    Attributes:
        work: it.
        done: bytes or items.
        seconds: since it began.
    """

    work: Work
    done: int
    seconds: float


class Display(Protocol):
    """Shows work; called by one thread at a time."""

    def show(self, running: Sequence[Seen]) -> None:
        """Show how far work is, all that is running; of nothing, leave nothing behind."""
        ...

    def ended(self, seen: Seen) -> None:
        """Show that work ended, which is shown no more."""
        ...

    def write(self, text: str) -> bool:
        """Write a line of somebody else above what is shown; False where that one can write it itself."""
        ...


class Watch:
    """Listens to work (`packager.progress.Listener`), and has it shown while it runs; any thread may use it.

    Args:
        display: shows it.
        clock: seconds, from whenever.
        look: seconds between two looks; None looks only when `look` is called.
    """

    def __init__(
        self, display: Display, clock: Callable[[], float] = time.monotonic, look: float | None = LOOK
    ) -> None:
        self._display, self._clock, self._pause = display, clock, look
        self._lock = threading.RLock()
        #: Work → bytes or items so far, and when it began.
        self._running: dict[Work, tuple[int, float]] = {}
        self._stop = threading.Event()
        self._looking: threading.Thread | None = None

    def begin(self, work: Work) -> None:
        """See `Listener`."""
        with self._lock:
            self._running[work] = (0, self._clock())
            if self._looking is None and self._pause is not None:
                self._stop = threading.Event()
                self._looking = threading.Thread(target=self._keep_looking, args=(self._stop, self._pause), daemon=True)
                self._looking.start()

    def advance(self, work: Work, count: int) -> None:
        """See `Listener`."""
        with self._lock:
            if work in self._running:
                done, began = self._running[work]
                self._running[work] = (done + count, began)

    def end(self, work: Work) -> None:
        """See `Listener`."""
        with self._lock:
            if work in self._running:
                done, began = self._running.pop(work)
                self._display.ended(Seen(work, done, self._clock() - began))
            last = not self._running
        if last:
            self._rest()

    def look(self) -> None:
        """Show what is running now."""
        with self._lock:
            now = self._clock()
            running = [Seen(work, done, now - began) for work, (done, began) in self._running.items()]
            if running:
                self._display.show(running)

    def write(self, text: str) -> bool:
        """See `Display`."""
        with self._lock:
            return self._display.write(text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        with self._lock:
            self._running.clear()
        self._rest()

    def _rest(self) -> None:
        """Stop looking, unless other work began: a process with a second thread does not fork to share work."""
        with self._lock:
            if self._running:
                return
            self._display.show(())
            self._stop.set()
            looking, self._looking = self._looking, None
        if looking is not None:
            looking.join()

    def _keep_looking(self, stop: threading.Event, pause: float) -> None:
        # Nobody reads standard error any more: whoever writes next from the verb's own thread is told.
        with suppress(OSError):
            while not stop.wait(pause):
                self.look()


class Lines:
    """Lines, for logs: of each work one now and then, ever more seldom, and one at the end of what had one.

    Args:
        say: writes a line.
        every: seconds to the first, and to the second; each later one takes as long as all before it.
    """

    def __init__(self, say: Callable[[str], None], every: float = EVERY) -> None:
        self._say, self._every = say, every
        self._told: dict[Work, float] = {}

    def show(self, running: Sequence[Seen]) -> None:
        """See `Display`."""
        for seen in running:
            told = self._told.get(seen.work, 0.0)
            if seen.seconds - told >= max(self._every, min(told, SELDOM)):
                self._told[seen.work] = seen.seconds
                self._say(f"  {seen.work.title}: {words(seen)}")

    def ended(self, seen: Seen) -> None:
        """See `Display`."""
        if self._told.pop(seen.work, None) is not None:
            self._say(f"  {seen.work.title}: {end_words(seen)}")

    def write(self, _text: str) -> bool:
        """See `Display`."""
        return False


class Bars:
    """Bars on a terminal, by rich; nothing of them stays.

    Args:
        environ: the environment variables.
        short: seconds that work must have taken to have one.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ, short: float = SHORT) -> None:
        self._environ, self._short = environ, short
        self._progress: Any = None
        self._tasks: dict[Work, Any] = {}

    def show(self, running: Sequence[Seen]) -> None:
        """See `Display`."""
        shown = [seen for seen in running if seen.seconds >= self._short]
        if not shown:
            self._close()
            return
        progress = self._opened()
        for seen in shown:
            total = seen.work.total
            done = min(seen.done, total) if total is not None else 0
            if seen.work in self._tasks:
                progress.update(self._tasks[seen.work], completed=done, words=words(seen))
            else:
                title = visible(seen.work.title).replace("\n", " ")
                self._tasks[seen.work] = progress.add_task(title, total=total, completed=done, words=words(seen))
        progress.refresh()

    def ended(self, seen: Seen) -> None:
        """See `Display`."""
        task = self._tasks.pop(seen.work, None)
        if task is not None:
            self._progress.remove_task(task)

    def write(self, text: str) -> bool:
        """See `Display`."""
        if self._progress is None:
            return False
        from rich.text import Text

        self._progress.console.print(Text.from_ansi(text), soft_wrap=True)
        return True

    def _opened(self) -> Any:
        if self._progress is None:
            # Imported late: rich takes longer than most commands.
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn
            from rich.table import Column

            title = TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True))
            said = TextColumn("{task.fields[words]}", markup=False, table_column=Column(no_wrap=True))
            console = Console(
                stderr=True, force_terminal=True, no_color=bool(self._environ.get("NO_COLOR")), highlight=False
            )
            columns = (title, BarColumn(bar_width=24), said)
            self._progress = Progress(*columns, console=console, transient=True, auto_refresh=False, expand=True)
            self._progress.start()
        return self._progress

    def _close(self) -> None:
        progress, self._progress = self._progress, None
        self._tasks.clear()
        if progress is not None:
            progress.stop()


def watch(mode: Mode, say: Callable[[str], None]) -> Watch | None:
    """Return what shows work on standard error; None where it is to be silent.

    Args:
        mode: `auto` draws bars where standard error is a terminal that can.
        say: writes a line.
    """
    if mode == "quiet":
        return None
    able = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return Watch(Bars() if mode == "tty" or (mode == "auto" and able) else Lines(say))


def words(seen: Seen) -> str:
    """Return how far work is: `512.0 MB of 1.1 GB, 128.0 MB/s, 4 s left`; `30 of 200, 9.5/s, 18 s left`."""
    total, unit = seen.work.total, seen.work.unit
    if total is None:
        return f"{human_size(seen.done)}, {_time(seen.seconds)}" if seen.done else _time(seen.seconds)
    if unit == "items":
        parts = [f"{min(seen.done, total)} of {total}"]
    else:
        parts = [f"{human_size(min(seen.done, total))} of {human_size(total)}"]
    if not seen.done or seen.seconds <= 0:
        return parts[0]
    rate, left = seen.done / seen.seconds, total - seen.done
    if left <= 0:
        # Whoever gets it may still be at it.
        return f"{parts[0]}, {_time(seen.seconds)}"
    parts.append(
        f"{human_size(int(rate))}/s" if unit == "bytes" else f"{rate:.3g}/s" if rate < 100 else f"{rate:.0f}/s"
    )
    return ", ".join([*parts, f"{_time(left / rate)} left"])


def end_words(seen: Seen) -> str:
    """Return what is said at the end of work: `1.1 GB in 9 s`."""
    amount = human_size(seen.done) if seen.work.unit == "bytes" else str(seen.done)
    return f"{amount} in {_time(seen.seconds)}" if seen.done else f"{_time(seen.seconds)} in all"


def _time(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
