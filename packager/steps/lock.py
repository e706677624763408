"""The step `lock`: the environments of a spec solved, and the lock written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from packager.environments.channel_mirrors import channel_mirrors
from packager.environments.declare.requirement import canonical_name
from packager.environments.locks.status import lock_status, read_inputs, stale
from packager.environments.locks.update import LockResult, Move, update_lock
from packager.environments.solve.conda import CondaSolver, RattlerSolver
from packager.environments.solve.pip import Upgrade, UvSolver
from packager.reference import Reference
from packager.registry.mirrors import registry_mirrors
from packager.spec.load import SpecFile
from packager.steps.reporting import SILENT, Reporter

__all__ = ["LockResult", "Move", "Upgrade", "lock", "lock_status", "stale"]


def lock(
    spec_file: SpecFile,
    *,
    upgrade: bool | tuple[str, ...] = False,
    upgrade_base: bool = False,
    offline: bool = False,
    conda: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> LockResult:
    """Solve the environment of every target, and write the lock; nothing where nothing changed.

    Args:
        spec_file: the spec.
        upgrade: True for all packages, or the names of some.
        upgrade_base: resolve a base without a digest anew.
        offline: use only what uv and rattler have in their caches.
        conda: a conda, mamba or micromamba that solves conda's half by conda-lock; rattler does where None.
        reporter: is told what is done.

    Raises:
        SpecError: the spec's environment, targets or base are not usable.
        UsageError: a package to upgrade is not locked.
        LockError: no solution, or a package without a wheel. Nothing on disk has changed then.
        RegistryError: the registry refuses the base.
        TemporaryError: an index, a channel or a registry is out of reach.
    """
    mirrors = registry_mirrors(spec_file.spec.registry_mirrors)

    def resolve(reference: Reference) -> str:
        from packager.registry.resolve import resolve_digest

        return resolve_digest(reference, mirrors)

    names = tuple(sorted(set(map(canonical_name, upgrade)))) if isinstance(upgrade, tuple) else ()
    result = update_lock(
        spec_file,
        solver=UvSolver(spec_file.root),
        conda=_conda_solver(spec_file, conda),
        resolve_base=resolve,
        upgrade=Upgrade(all=upgrade is True, names=names),
        upgrade_base=upgrade_base,
        offline=offline,
        report=reporter.step,
    )
    moved = tuple(name for name, changes in result.changes.items() if changes)
    return msgspec.structs.replace(result, notes=tuple(dict.fromkeys((*result.notes, *_failing(spec_file, moved)))))


def _failing(spec_file: SpecFile, targets: Iterable[str]) -> Iterator[str]:
    """Yield what the wheels of new locks tell of packages whose import fails: those that this machine has."""
    for name in targets:
        from packager.checks.packaged import make_looker

        inputs = read_inputs(spec_file, name)
        looker = make_looker(inputs.spec_file, offline=True, say=lambda _: None)
        requirements = (*inputs.environment.requirements, *inputs.environment.constraints)
        for platform in inputs.platforms:
            for each in looker.failing_known(inputs.locked(platform), requirements):
                yield f"{each.message} ({each.remedy})"


def _conda_solver(spec_file: SpecFile, executable: str | Path | None) -> CondaSolver:
    mirrors = channel_mirrors(spec_file.spec.conda.channel_mirrors, os.environ)
    if executable is None:
        return RattlerSolver(spec_file.root, mirrors)
    from packager.environments.solve.conda_lock import CondaLockSolver

    return CondaLockSolver(str(executable), mirrors)
