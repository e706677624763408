"""What `check` calls an error, told at every build; that there is none is remembered for the same inputs.

To look takes a quarter of a build that has little to do, most of it to import the rules. Those of the environment ask
nothing of the code, so that an edited script is looked at alone.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from packager.environments.locks.status import TargetInputs
from packager.finding import Finding
from packager.plan.plan import Plan
from packager.resources import own_stamp
from packager.spec.model import canonical
from packager.steps.reporting import Reporter
from packager.storage.memory import Memory


def known_errors(inputs: TargetInputs, plan: Plan, reporter: Reporter) -> tuple[Finding, ...]:
    """Return the errors of a target that can be told at once, without looking into packages that nobody looked into.

    Warnings among them are of modules whose package is known by their name, and not locked.

    Args:
        inputs: of the target.
        plan: of one of its images.
        reporter: is told what takes long.

    Raises:
        ContextError: a model cannot be read.
    """
    document = inputs.spec_file.document
    spec = (os.path.abspath(document.path), document.data, document.lines)
    packages = (inputs.environment, plan.target, plan.environment, plan.config.env)
    # A check that is installed, and an entry point that goes, change the folder that has the packages.
    installed = [*map(_changed, sys.path)]
    found = _remembered((spec, packages, installed), lambda: _of_environment(inputs, plan))
    # Files that are packaged are in the plan by their digests. What was found out of wheels may tell more.
    known = _changed(Memory("facts").folder)
    found += _remembered((spec, plan, known), lambda: _of_code(inputs, plan, reporter))
    return tuple(dict.fromkeys(found))


def _remembered(inputs: Any, look: Callable[[], tuple[list[Finding], bool]]) -> list[Finding]:
    """Return what is found; nothing, without a look, where that is known of the same inputs and this code."""
    memory, key = Memory("no-errors"), hashlib.sha256(canonical([own_stamp(), inputs])).hexdigest()
    if memory.recall(key) is not None:
        return []
    found, decided = look()
    if decided and not found:
        memory.remember(b"", key)
    return found


def _of_environment(inputs: TargetInputs, plan: Plan) -> tuple[list[Finding], bool]:
    """Return errors, and whether the inputs alone decide them: nobody knows what a company's own checks look at."""
    from packager.checks.incompatible import check_incompatible
    from packager.checks.of_extensions import extension_findings
    from packager.checks.serving import check_cors
    from packager.extensions import CHECKS, extensions

    requirements = (*inputs.environment.requirements, *inputs.environment.constraints)
    own = extensions(CHECKS)
    found = [*check_cors(plan), *check_incompatible(plan, requirements), *extension_findings(inputs.spec_file, own)]
    return [finding for finding in found if finding.severity == "error"], not own


def _of_code(inputs: TargetInputs, plan: Plan, reporter: Reporter) -> tuple[list[Finding], bool]:
    from packager.checks.packaged import make_looker

    return [*make_looker(inputs.spec_file, offline=True, say=reporter.detail).errors_known(plan)], True


def _changed(folder: str | Path) -> int:
    """Return when something was added to a folder or removed, in nanoseconds; 0 where there is none."""
    with suppress(OSError):
        return os.stat(folder).st_mtime_ns
    return 0
