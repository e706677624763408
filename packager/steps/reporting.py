"""What a step tells while it works: the command line prints it, the Python API is silent."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Hears what a step does."""

    def step(self, text: str) -> None:
        """Hear what is being done now, or was done."""
        ...

    def detail(self, text: str) -> None:
        """Hear what only matters when looking closely."""
        ...

    def warn(self, text: str) -> None:
        """Hear what may be wrong."""
        ...


class Silent:
    """Says nothing."""

    def step(self, text: str) -> None:
        """Say nothing."""

    def detail(self, text: str) -> None:
        """Say nothing."""

    def warn(self, text: str) -> None:
        """Say nothing."""


SILENT = Silent()
