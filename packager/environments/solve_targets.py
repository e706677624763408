"""The solves of one `lock`: which targets need one, which share one, and all of them side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from packager.environments.files import merge
from packager.environments.lock import LockedPackage, LockRequest
from packager.environments.solve import Solver, Stoppable, Upgrade
from packager.environments.status import Held
from packager.errors import PackagerError
from packager.spec.model import canonical

#: Solves at once: each keeps about one core and a few connections busy.
PARALLEL = 2


def solve_targets(
    wanted: Mapping[str, LockRequest],
    held: Mapping[str, Held],
    solver: Solver,
    upgrade: Upgrade,
    offline: bool,
    report: Callable[[str], None],
) -> dict[str, tuple[LockedPackage, ...]]:
    """Return the packages of each target: one solve for all targets that ask for the same."""
    result: dict[str, tuple[LockedPackage, ...]] = {}
    jobs: dict[str, list[str]] = {}
    for names in _groups(wanted):
        fitting = [name for name in names if held[name].fits(wanted[name])]
        if fitting and not upgrade:
            # A target that fits lends its packages to a new one that asks for the same; each keeps its own.
            result.update({name: held[name if name in fitting else fitting[0]].packages for name in names})
        else:
            # The one that was locked before goes first, for its versions are to stay.
            jobs[next((name for name in names if held[name].text is not None), names[0])] = names
    solved = _solve_all([(name, wanted[name]) for name in jobs], held, solver, upgrade, offline, report)
    for name, names in jobs.items():
        result.update(dict.fromkeys(names, solved[name]))
    return result


def _groups(wanted: Mapping[str, LockRequest]) -> list[list[str]]:
    groups: dict[bytes, list[str]] = {}
    for name, request in wanted.items():
        groups.setdefault(canonical(msgspec.structs.replace(request, base="")), []).append(name)
    return list(groups.values())


def _solve_all(
    jobs: list[tuple[str, LockRequest]],
    held: Mapping[str, Held],
    solver: Solver,
    upgrade: Upgrade,
    offline: bool,
    report: Callable[[str], None],
) -> dict[str, tuple[LockedPackage, ...]]:
    if not jobs:
        return {}
    from concurrent.futures import ThreadPoolExecutor

    def work(name: str, request: LockRequest, platform: str) -> tuple[LockedPackage, ...]:
        report(f"solving {name} for {platform}, Python {request.python}")
        try:
            return solver.solve(request, platform, held[name].text, upgrade, offline)
        except PackagerError as error:
            raise type(error)(f"target {name!r}: {error.message}", where=error.where, remedy=error.remedy) from None

    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        futures = {
            name: {platform: pool.submit(work, name, request, platform) for platform in request.platforms}
            for name, request in jobs
        }
        try:
            return {
                name: merge({platform: future.result() for platform, future in each.items()})
                for name, each in futures.items()
            }
        except BaseException:
            # Ctrl-C, or a platform that has no solution: nobody waits for the others.
            if isinstance(solver, Stoppable):
                solver.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
