"""The solves of one `lock`: which targets need one, which share one, and all of them side by side.

conda's half comes first, once for all targets that ask the same of it; pip's half is solved around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from packager.environments.child_processes import Stoppable
from packager.environments.conda import CondaRequest, Provided, SolvedConda, provided_by
from packager.environments.declare.requirement import canonical_name
from packager.environments.lock import LockedPackage, LockRequest
from packager.environments.locks.files import merge
from packager.environments.locks.status import Held
from packager.environments.solve.conda import CondaSolver
from packager.environments.solve.pip import Solved, Solver, Upgrade
from packager.errors import PackagerError
from packager.progress import in_thread, working
from packager.spec.model import canonical

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

#: Solves at once: each keeps about one core and a few connections busy.
PARALLEL = 2

_Found = TypeVar("_Found")


class Solvers(msgspec.Struct, frozen=True, kw_only=True):
    """What finds the packages.

    Attributes:
        pip: pip's half.
        conda: conda's half; None where there is none to be asked.
        offline: neither may ask the network.
    """

    pip: Solver
    conda: CondaSolver | None
    offline: bool


class SolvedTarget(msgspec.Struct, frozen=True, kw_only=True):
    """The packages of a target.

    Attributes:
        packages: pip's half.
        conda: conda's half; None for an environment of pip alone.
        kept: both are as they were locked.
        notes: what the solver decided beside the requirements, for people.
    """

    packages: tuple[LockedPackage, ...]
    conda: SolvedConda | None = None
    kept: bool = False
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many packages there are, of both halves."""
        conda = self.conda.packages if self.conda else ()
        # Of several platforms, each has its own file of a package.
        return len({each.name for each in self.packages}) + len({each.name for each in conda})


def solve_targets(
    wanted: Mapping[str, LockRequest],
    held: Mapping[str, Held],
    solvers: Solvers,
    upgrade: Upgrade,
    report: Callable[[str], None],
    preferences: Mapping[str, str | None],
) -> dict[str, SolvedTarget]:
    """Return the packages of each target: one solve for all targets that ask for the same.

    Args:
        wanted: target → what is asked.
        held: target → what is on disk.
        solvers: find the packages.
        upgrade: which versions may move although they still fit.
        report: told what is being done.
        preferences: target → text of a requirements file whose versions are taken where they fit and nothing is held.
    """
    if not upgrade and all(held[name].fits(request) for name, request in wanted.items()):
        # The usual case, with as little as possible: not even the conda packages are read.
        return {name: SolvedTarget(packages=held[name].packages, kept=True) for name in wanted}
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(max_workers=PARALLEL)
    try:
        halves = _conda_halves(pool, wanted, held, solvers, upgrade, report)
        return _pip_halves(pool, wanted, held, solvers, upgrade, report, preferences, halves)
    except BaseException:
        # Ctrl-C, or a platform that has no solution: nobody waits for the others.
        running: tuple[object, ...] = (solvers.pip, solvers.conda)
        for solver in running:
            if isinstance(solver, Stoppable):
                solver.stop()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _groups(keys: Mapping[str, bytes]) -> list[list[str]]:
    """Return the names that have equal keys together, in their order."""
    groups: dict[bytes, list[str]] = {}
    for name, key in keys.items():
        groups.setdefault(key, []).append(name)
    return list(groups.values())


def _named(target: str, work: Callable[[], _Found]) -> Callable[[], _Found]:
    """Return work whose errors name the target."""

    def run() -> _Found:
        try:
            return work()
        except PackagerError as error:
            raise type(error)(f"target {target!r}: {error.message}", where=error.where, remedy=error.remedy) from None

    return run


# --- conda ------------------------------------------------------------------------------------------------------------


def _conda_halves(
    pool: ThreadPoolExecutor,
    wanted: Mapping[str, LockRequest],
    held: Mapping[str, Held],
    solvers: Solvers,
    upgrade: Upgrade,
    report: Callable[[str], None],
) -> dict[str, SolvedConda]:
    """Return the conda half of each target that has one."""
    found: dict[str, SolvedConda] = {}
    solving: dict[str, Future[SolvedConda]] = {}
    asked = {name: each.conda for name, each in wanted.items() if not isinstance(each.conda, UnsetType)}
    for names in _groups({name: canonical(request) for name, request in asked.items()}):
        freed = conda_upgrade(upgrade, [held[name] for name in names])
        fitting = [name for name in names if held[name].conda_fits(wanted[name]) and not freed]
        if fitting:
            # A target that fits lends its packages to a new one that asks for the same; each keeps its own.
            found.update({name: held[name if name in fitting else fitting[0]].solved_conda() for name in names})
            continue
        # The one that was locked before goes first, for its versions are to stay.
        first = next((name for name in names if held[name].conda_text is not None), names[0])
        work = _conda_work(first, asked[first], held[first], solvers, freed, report)
        solving.update(dict.fromkeys(names, pool.submit(in_thread(work))))
    found.update({name: future.result() for name, future in solving.items()})
    return found


def _conda_work(
    target: str,
    request: CondaRequest,
    held: Held,
    solvers: Solvers,
    upgrade: Upgrade,
    report: Callable[[str], None],
) -> Callable[[], SolvedConda]:
    before = held.locked.request.conda if held.locked is not None else UNSET

    def work() -> SolvedConda:
        assert solvers.conda is not None, "given where conda is asked"
        report(f"solving {target} for {', '.join(request.virtual_packages)}: conda packages")
        known = None if isinstance(before, UnsetType) else before
        with working(f"solving conda packages of {target}"):
            return solvers.conda.solve(request, held.conda_packages(), upgrade, solvers.offline, known)

    return _named(target, work)


def conda_upgrade(upgrade: Upgrade, held: Iterable[Held]) -> Upgrade:
    """Return what of an upgrade concerns conda's half: of names, those that it holds or brings for PyPI's."""
    if not upgrade.names:
        return upgrade
    found: set[str] = set()
    for each in held:
        names = {canonical_name(package.name) for package in each.conda_packages()}
        if each.locked is not None and not isinstance(each.locked.conda, UnsetType):
            brought = each.locked.conda.provides
            names |= {canonical_name(brought[name]) for name in upgrade.names if name in brought}
            found |= {canonical_name(brought[name]) for name in upgrade.names if name in brought}
        found |= names & set(upgrade.names)
    return Upgrade(names=tuple(sorted(found)))


# --- pip --------------------------------------------------------------------------------------------------------------


def _pip_halves(
    pool: ThreadPoolExecutor,
    wanted: Mapping[str, LockRequest],
    held: Mapping[str, Held],
    solvers: Solvers,
    upgrade: Upgrade,
    report: Callable[[str], None],
    preferences: Mapping[str, str | None],
    halves: Mapping[str, SolvedConda],
) -> dict[str, SolvedTarget]:
    result: dict[str, SolvedTarget] = {}
    solving: dict[str, dict[str, Future[Solved]]] = {}
    # Targets that ask the same for one platform share its solve, whatever other platforms they have.
    shared: dict[bytes, Future[Solved]] = {}
    for names in _groups({name: _pip_key(request, halves.get(name)) for name, request in wanted.items()}):
        fitting = [name for name in names if held[name].fits(wanted[name]) and not upgrade]
        if fitting:
            for name in names:
                packages = held[name if name in fitting else fitting[0]].packages
                result[name] = SolvedTarget(packages=packages, conda=halves.get(name), kept=name in fitting)
            continue
        first = next((name for name in names if held[name].text is not None), names[0])
        preferred = held[first].text if held[first].text is not None else preferences.get(first)
        jobs = {}
        for platform in wanted[first].platforms:
            key = _platform_key(wanted[first], platform, halves.get(first), preferred)
            if key not in shared:
                work = _pip_work(first, wanted[first], platform, halves.get(first), preferred, solvers, upgrade, report)
                shared[key] = pool.submit(in_thread(work))
            jobs[platform] = shared[key]
        solving.update(dict.fromkeys(names, jobs))
    for name, jobs in solving.items():
        packages = merge({platform: future.result().packages for platform, future in jobs.items()})
        notes = dict.fromkeys(note for future in jobs.values() for note in future.result().notes)
        result[name] = SolvedTarget(packages=packages, conda=halves.get(name), notes=tuple(notes))
    return {name: result[name] for name in wanted}


def _pip_key(request: LockRequest, conda: SolvedConda | None) -> bytes:
    return canonical([msgspec.structs.replace(request, base="", installer=UNSET), conda])


def _platform_key(request: LockRequest, platform: str, conda: SolvedConda | None, preferred: str | None) -> bytes:
    """Return what a solve for one platform depends on."""
    alone = msgspec.structs.replace(request, platforms={platform: request.platforms[platform]})
    return canonical([_pip_key(alone, conda).decode(), preferred])


def _pip_work(
    target: str,
    request: LockRequest,
    platform: str,
    conda: SolvedConda | None,
    preferred: str | None,
    solvers: Solvers,
    upgrade: Upgrade,
    report: Callable[[str], None],
) -> Callable[[], Solved]:
    given: Provided | None = provided_by(conda, platform) if conda else None

    def work() -> Solved:
        report(f"solving {target} for {platform}, Python {given.python if given else request.python}")
        with working(f"solving {target} for {platform}"):
            return solvers.pip.solve(request, platform, preferred, upgrade, solvers.offline, given)

    return _named(target, work)
