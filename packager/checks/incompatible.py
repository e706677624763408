"""Whether what is locked runs together, by the rules that `lock` solves with: a lock may be older than a rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from packager.finding import Finding
from packager.plan.plan import Plan


def check_incompatible(plan: Plan, requirements: Iterable[str]) -> Iterator[Finding]:
    """Yield an error for each rule that the locked packages break.

    Args:
        plan: of the target.
        requirements: what the user asks for, constraints among them; normal forms.
    """
    # Imported late: the rules are read from a file.
    from packager.environments.solve.incompatibilities import asked_besides, pinned_names

    environment = plan.environment
    locked = {each.name: each.version for each in environment.packages}
    given = {each.name: each.version for each in environment.conda_packages}
    pinned = pinned_names(requirements)
    for each in asked_besides(locked, given=given, python=environment.locked.python, pinned=pinned):
        there = {**given, **locked}.get(each.name)
        has = f"the lock has {each.name} {there}" if there else f"the lock has no {each.name}"
        yield Finding(
            rule="packages-incompatible",
            severity="error",
            message=f"{each.package} {each.version} {each.because}; {has}",
            file=f"locks/{plan.target}.requirements.txt",
            remedy=f"packager lock --upgrade {each.name if there else each.package}: it asks for {each.requirement}",
        )
