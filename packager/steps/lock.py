"""The step `lock`: the environments of a spec solved, and the lock written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from packager.environments.channel_mirrors import channel_mirrors
from packager.environments.declare.requirement import canonical_name
from packager.environments.lock import Lock
from packager.environments.locks.files import read_lock
from packager.environments.locks.status import lock_status as status_of
from packager.environments.locks.status import read_inputs, stale
from packager.environments.locks.update import LockResult, Move, update_lock
from packager.environments.solve.conda import CondaSolver, RattlerSolver
from packager.environments.solve.pip import Upgrade, UvSolver
from packager.errors import LockError, PackagerError
from packager.reference import Reference
from packager.registry.mirrors import registry_mirrors
from packager.spec.load import SpecFile
from packager.steps.registered import newer, pin, placed, unneeded, unpinned, with_registered
from packager.steps.reporting import SILENT, Reporter
from packager.steps.workspace_of import WorkspaceOf

__all__ = ["LockResult", "Move", "Upgrade", "lock", "lock_status", "newer_models", "stale"]


def lock(
    spec_file: SpecFile,
    *,
    upgrade: bool | tuple[str, ...] = False,
    upgrade_base: bool = False,
    upgrade_models: bool | tuple[str, ...] = False,
    offline: bool = False,
    conda: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> LockResult:
    """Solve the environment of every target, and write the lock; nothing where nothing changed.

    Args:
        spec_file: the spec.
        upgrade: True for all packages, or the names of some.
        upgrade_base: resolve a base without a digest anew.
        upgrade_models: True takes the latest of all that is registered and has no version in the spec; or the names of
            some, each with the version that it is to take (`sklearn_mnist:3`) where that is not the latest.
        offline: use only what uv and rattler have in their caches.
        conda: a conda, mamba or micromamba that solves conda's half by conda-lock; rattler does where None.
        reporter: is told what is done.

    Raises:
        SpecError: the spec's environment, targets or base are not usable.
        UsageError: a package to upgrade is not locked; a model to upgrade is not one that may move.
        NotRegisteredError: the workspace has not what the spec names.
        LockError: no solution, or a package without a wheel. Nothing on disk has changed then.
        RegistryError: the registry refuses the base.
        TemporaryError: an index, a channel or a registry is out of reach.
    """
    mirrors = registry_mirrors(spec_file.spec.registry_mirrors)

    def resolve(reference: Reference) -> str:
        from packager.registry.resolve import resolve_digest

        try:
            return resolve_digest(reference, mirrors)
        except PackagerError as error:
            raise _unresolved(error, reference, spec_file) from None

    names = tuple(sorted(set(map(canonical_name, upgrade)))) if isinstance(upgrade, tuple) else ()
    before = (read_lock(spec_file) or Lock()).pins
    with WorkspaceOf(spec_file) as workspace:
        pins = pin(spec_file, before, workspace, upgrade=upgrade_models, offline=offline)
        if pins:
            spec_file = placed(spec_file, pins, workspace, say=reporter.step, models=False)
    result = update_lock(
        spec_file,
        solver=UvSolver(spec_file.root),
        conda=_conda_solver(spec_file, conda),
        resolve_base=resolve,
        upgrade=Upgrade(all=upgrade is True, names=names),
        upgrade_base=upgrade_base,
        offline=offline,
        report=reporter.step,
        registered=pins,
    )
    moved = tuple(name for name, changes in result.changes.items() if changes)
    return msgspec.structs.replace(result, notes=tuple(dict.fromkeys((*result.notes, *_failing(spec_file, moved)))))


def lock_status(spec_file: SpecFile, *, reporter: Reporter = SILENT) -> dict[str, tuple[str, ...]]:
    """Return for each target what changed since the lock was made, a line each; empty where it is fresh.

    Args:
        spec_file: the spec.
        reporter: is told what of the registered is fetched: what a model tells of its environment is in its files.

    Raises:
        SpecError: the environment cannot be read.
        LockError: `packager.lock` cannot be read.
        ContextError, RegistryError, TemporaryError: what is registered is not to be had.
    """
    lock = read_lock(spec_file)
    names = spec_file.spec.target_names
    if reasons := unpinned(spec_file, lock):
        return dict.fromkeys(names, reasons)
    status = status_of(with_registered(spec_file, say=reporter.step, models=False))
    more = unneeded(spec_file, lock)
    return {name: (*reasons, *more) if name in names else reasons for name, reasons in status.items()}


def newer_models(spec_file: SpecFile) -> tuple[str, ...]:
    """Return what of the registered has a newer version than the one that is locked and may move, a line each.

    Raises:
        PackagerError: the workspace cannot be read.
    """
    with WorkspaceOf(spec_file) as workspace:
        return tuple(newer(spec_file, read_lock(spec_file), workspace))


def _unresolved(error: PackagerError, reference: Reference, spec_file: SpecFile) -> PackagerError:
    """Return the error of an image that its registry does not give, with what of it is known here.

    No lock names an image that only this machine's engine has: nobody else could build from that lock.
    """
    from packager.engine.api import inspect_local

    fields = {"base": spec_file.spec.base, "conda.installer_base": spec_file.spec.conda.installer_base}
    for name in spec_file.spec.target_names:
        fields[f"targets.{name}.base"] = spec_file.spec.target_options(name).base
    field = next((each for each, text in fields.items() if text and _is_named(text, reference)), None)
    if field is None:
        return error
    where, named = spec_file.document.at(field), str(fields[field])
    local = None
    if field != "conda.installer_base":
        with suppress(PackagerError):
            local = inspect_local(named)
    if local is None:
        instead = "what this machine's engine has, or an archive, is given as --base REF or PACKAGER_BASE"
        remedy = f"check `{field}`: a lock names what a registry has; {instead}; {error.remedy or 'try again'}"
        return type(error)(error.message, where=where, remedy=remedy)
    return LockError(
        f"the engine has {named}, and no lock can name it, for others have no such image; {error.message}",
        where=where,
        remedy=f"take `{field}` out of the spec and build with --base {named} (or PACKAGER_BASE={named}); or push the "
        "image to a registry, and name it as it is called there",
    )


def _is_named(text: str, reference: Reference) -> bool:
    try:
        named = Reference.parse(text)
    except PackagerError:
        return False
    return named.with_tag(named.tag or "latest") == reference


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
