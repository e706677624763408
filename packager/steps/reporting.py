"""What a step tells while it works: the command line prints it, the Python API logs it."""

from __future__ import annotations

import logging
from typing import Protocol

LOG = logging.getLogger("packager")
# Who configures no logging hears nothing: without a handler, Python writes warnings to standard error.
LOG.addHandler(logging.NullHandler())


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
    """Says nothing to people: programs that ask for it hear it from the logger `packager`."""

    def step(self, text: str) -> None:
        """Log what is done (INFO)."""
        LOG.info(text)

    def detail(self, text: str) -> None:
        """Log what only matters when looking closely (DEBUG)."""
        LOG.debug(text)

    def warn(self, text: str) -> None:
        """Log what may be wrong (WARNING)."""
        LOG.warning(text)


SILENT = Silent()
