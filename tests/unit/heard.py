"""A listener that keeps what it hears."""

from __future__ import annotations

import threading

from packager.progress import Work


class Heard:
    """Keeps titles, totals and what was done of the work that ended, in the order of its ends; fails at what is odd."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.running: dict[Work, int] = {}
        self.told: list[tuple[str, int | None, int]] = []

    @property
    def titles(self) -> list[str]:
        """Of the work that ended."""
        return [title for title, _, _ in self.told]

    def begin(self, work: Work) -> None:
        """See `Listener`."""
        with self._lock:
            assert work not in self.running
            self.running[work] = 0

    def advance(self, work: Work, count: int) -> None:
        """See `Listener`."""
        with self._lock:
            self.running[work] += count

    def end(self, work: Work) -> None:
        """See `Listener`."""
        with self._lock:
            self.told.append((work.title, work.total, self.running.pop(work)))
