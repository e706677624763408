"""What the services of this machine are made of, by the labels of what they run."""

from __future__ import annotations

from collections.abc import Callable

from packager.errors import EngineError
from packager.serving.hosts.choose import ENGINE, PROCESSES

Labelled = tuple[str, dict[str, str]]


def labels_of_services(say: Callable[[str], None]) -> tuple[Labelled, ...]:
    """Return the labels of all that services run, or would by a rollback, each with the service's name.

    Args:
        say: is told that the engine's are not looked at, where there is no engine.
    """
    found = PROCESSES.labels()
    try:
        return (*found, *ENGINE.labels())
    except EngineError as error:
        say(f"services on the engine are not looked at: {error.message}")
        return found
