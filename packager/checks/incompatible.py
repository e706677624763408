"""Whether what is locked runs together, by the rules that `lock` solves with: a lock may be older than a rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from packager.environments.locked import LockedPlatform
from packager.finding import Finding
from packager.plan.plan import Plan

if TYPE_CHECKING:
    from packager.environments.solve.incompatibilities import Asked


def broken_rules(locked: LockedPlatform, requirements: Iterable[str]) -> tuple[Asked, ...]:
    """Return what the rules ask of a lock that it does not have.

    Args:
        locked: on one platform.
        requirements: what the user asks for, constraints among them; normal forms.
    """
    # Imported late: the rules are read from a file.
    from packager.environments.solve.incompatibilities import asked_besides, pinned_names

    packages = {each.name: each.version for each in locked.packages}
    given = {each.name: each.version for each in locked.conda_packages}
    return asked_besides(packages, given=given, python=locked.python, pinned=pinned_names(requirements))


def check_incompatible(plan: Plan, requirements: Iterable[str]) -> Iterator[Finding]:
    """Yield an error for each rule that the locked packages break.

    Args:
        plan: of the target.
        requirements: what the user asks for, constraints among them; normal forms.
    """
    for each in broken_rules(plan.environment.locked, requirements):
        there = plan.environment.locked.versions.get(each.name)
        has = f"the lock has {each.name} {there}" if there else f"the lock has no {each.name}"
        yield Finding(
            rule="packages-incompatible",
            severity="error",
            message=f"{each.package} {each.version} {each.because}; {has}",
            file=f"locks/{plan.target}.requirements.txt",
            remedy=f"packager lock --upgrade {each.name if there else each.package}: it asks for {each.requirement}",
        )
