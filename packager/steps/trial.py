"""Starting what a lock holds: the server, the script's modules and its `init()`, in the locked environment, here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from packager.errors import LockError, ServiceError, UsageError
from packager.spec.load import SpecFile
from packager.steps.reporting import SILENT, Reporter
from packager.steps.run import RunWish, start
from packager.steps.selection import select_targets

__all__ = ["Trial", "require_started", "try_start"]


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """How the start of one target went.

    Attributes:
        target: its name.
        outcome: `started`; `failed`; `untried` where this machine cannot: another platform, or no such Python.
        message: why not; with the last lines of the log where it failed.
        remedy: what to do then.
    """

    target: str
    outcome: Literal["started", "failed", "untried"]
    message: str = ""
    remedy: str | None = None


def try_start(spec_file: SpecFile, *, timeout: float = 120.0, reporter: Reporter = SILENT) -> tuple[Trial, ...]:
    """Start the package of each target without Docker until it answers, end it, and tell how it went.

    The script's code runs, as it does in the image; nothing else of packager does that to package it.

    Args:
        spec_file: the spec; its lock is fresh.
        timeout: seconds until each must answer.
        reporter: is told what is done.

    Raises:
        ContextError: a file is missing, or the entry script cannot start.
        TemporaryError: the package index does not answer.
    """
    return tuple(_try(spec_file, name, timeout, reporter) for name in select_targets(spec_file))


def _try(spec_file: SpecFile, target: str, timeout: float, reporter: Reporter) -> Trial:
    wish = RunWish(docker=False, target=target, publish="free", devices=False, timeout=timeout)
    try:
        with start(wish, spec_file, reporter=reporter):
            pass
    except ServiceError as error:
        return Trial(target=target, outcome="failed", message=error.message, remedy=error.remedy)
    except (LockError, UsageError) as error:
        return Trial(target=target, outcome="untried", message=error.message, remedy=error.remedy)
    reporter.step(f"{target}: started, and init() returned")
    return Trial(target=target, outcome="started")


def require_started(trials: Iterable[Trial], reporter: Reporter = SILENT) -> None:
    """Refuse what did not start; what could not be tried is a warning.

    Raises:
        ServiceError: of the first target that failed.
    """
    for each in trials:
        if each.outcome == "untried":
            reporter.warn(f"the target {each.target!r} was not started: {each.message}")
        elif each.outcome == "failed":
            raise ServiceError(
                f"the lock of the target {each.target!r} is written, and does not start: {each.message}",
                remedy=each.remedy,
            )
