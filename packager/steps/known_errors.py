"""What `check` calls an error, told at every build; that there is none is remembered for the same inputs.

To look takes a quarter of a build that has nothing to do, most of it to import the rules.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path

from packager.environments.locks.status import TargetInputs
from packager.finding import Finding
from packager.plan.plan import Plan
from packager.resources import own_stamp
from packager.spec.model import canonical
from packager.steps.reporting import Reporter
from packager.storage.memory import Memory


def known_errors(inputs: TargetInputs, plan: Plan, reporter: Reporter) -> tuple[Finding, ...]:
    """Return `packager.steps.check.errors_known`, whose rules are not even imported where it is known to find nothing.

    Args:
        inputs: of the target.
        plan: of one of its images.
        reporter: is told what takes long.

    Raises:
        ContextError: a model cannot be read.
    """
    memory, key = Memory("no-errors"), _key(inputs, plan)
    if memory.recall(key) is not None:
        return ()
    from packager.extensions import CHECKS, extensions
    from packager.steps.check import errors_known

    found = errors_known(inputs, plan, reporter)
    # What a company's own checks look at is not known.
    if not found and not extensions(CHECKS):
        memory.remember(b"", key)
    return found


def _key(inputs: TargetInputs, plan: Plan) -> str:
    """Return what changes with all that the rules look at; of files that are packaged, the plan has the digests."""
    document = inputs.spec_file.document
    # A check that is installed, or an entry point that goes, changes the folder that has the packages.
    places: list[str | Path] = [*sys.path, Memory("facts").folder]
    asked = [own_stamp(), os.path.abspath(document.path), *map(_changed, places)]
    values = [document.data, document.lines, inputs.environment, inputs.target, plan]
    return hashlib.sha256(canonical([asked, values])).hexdigest()


def _changed(folder: str | Path) -> int:
    """Return when something was added to a folder or removed, in nanoseconds; 0 where there is none."""
    with suppress(OSError):
        return os.stat(folder).st_mtime_ns
    return 0
