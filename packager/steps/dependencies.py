"""The steps `tree` and `why`: who needs whom in a locked environment, and how large each is."""

from __future__ import annotations

import difflib

from msgspec import UnsetType

from packager.environments.declare.import_names import PACKAGES
from packager.environments.declare.requirement import canonical_name
from packager.environments.dependencies import Dependencies, Need, Package, dependencies
from packager.environments.locks.status import TargetInputs, read_inputs
from packager.errors import UsageError
from packager.laying.package_facts import conda_facts, wheel_facts
from packager.laying.wheels import Source
from packager.spec.load import SpecFile
from packager.steps.registered import with_registered
from packager.steps.reporting import SILENT, Reporter
from packager.steps.selection import select_targets
from packager.storage.memory import cache_root

__all__ = ["Dependencies", "Need", "Package", "find_package", "looked_into", "tree", "why"]


def tree(
    spec_file: SpecFile,
    *,
    target: str | None = None,
    platform: str | None = None,
    offline: bool = False,
    reporter: Reporter = SILENT,
) -> tuple[Dependencies, ...]:
    """Return who needs whom in the locked environment of each target, with sizes and licences.

    Packages are looked into once on a machine; what uv's cache lacks is fetched for it.

    Args:
        spec_file: the spec.
        target: one of its targets; all where None.
        platform: OCI os/arch; each target's first where None.
        offline: fetch nothing: packages that are not here have neither size nor needs.
        reporter: is told what takes long.

    Raises:
        UsageError, SpecError: no such target or platform.
        LockError: the lock is missing, stale or edited; a wheel is not what was locked.
        TemporaryError: the index does not answer.
    """
    spec_file = with_registered(spec_file, say=reporter.step, models=False)
    return tuple(
        looked_into(read_inputs(spec_file, name), platform, offline=offline, reporter=reporter)
        for name in select_targets(spec_file, target)
    )


def why(
    spec_file: SpecFile,
    package: str,
    *,
    target: str | None = None,
    platform: str | None = None,
    offline: bool = False,
    reporter: Reporter = SILENT,
) -> tuple[tuple[Dependencies, Package], ...]:
    """Return a package of the locked environments that have it, each with who needs whom there.

    Args:
        spec_file: the spec.
        package: its name, or that of its import (`sklearn`).
        target: see `tree`, as the others.
        platform: see there.
        offline: see there.
        reporter: see there.

    Raises:
        UsageError: no environment has it.
        SpecError, LockError, TemporaryError: see `tree`.
    """
    environments = tree(spec_file, target=target, platform=platform, offline=offline, reporter=reporter)
    found = [(each, its) for each in environments if (its := find_package(each, package)) is not None]
    if not found:
        names = sorted({name for each in environments for name in each.packages})
        close = difflib.get_close_matches(canonical_name(package), names, n=3)
        where = f"target {environments[0].target}" if len(environments) == 1 else "any target"
        raise UsageError(
            f"{package!r} is not in the lock of {where}",
            remedy=f"did you mean {', '.join(close)}?" if close else "`packager tree` shows what is",
        )
    return tuple(found)


def find_package(environment: Dependencies, name: str) -> Package | None:
    """Return a package by its name, in any spelling, or by that of its import; None where there is none."""
    wanted = (name, canonical_name(name), PACKAGES.get(name, ""))
    return next((environment.packages[each] for each in wanted if each in environment.packages), None)


def looked_into(
    inputs: TargetInputs, platform: str | None = None, *, offline: bool, reporter: Reporter = SILENT
) -> Dependencies:
    """Return who needs whom in the environment of a target whose lock is fresh.

    Args:
        inputs: of the target.
        platform: OCI os/arch; its first where None.
        offline: fetch nothing.
        reporter: is told what takes long.

    Raises:
        SpecError, LockError, TemporaryError: see `tree`.
    """
    locked, request, cache = inputs.locked(platform), inputs.lock.locked, cache_root()
    source = Source.of(inputs.spec_file.root)
    facts = wheel_facts(locked, source, cache, fetch=False)
    missing = len(locked.packages) - len(facts.keys() | set(locked.from_source))
    if missing and not offline:
        reporter.step(f"looking into {missing} packages (uv fetches them once)")
        facts = wheel_facts(locked, source, cache, fetch=True)
    conda = request.request.conda
    return dependencies(
        locked,
        inputs.environment.requirements,
        facts,
        conda_specs=() if isinstance(conda, UnsetType) else conda.specs,
        conda_facts=conda_facts(locked.conda_packages, locked.subdir, cache),
        provides={} if isinstance(request.conda, UnsetType) else request.conda.provides,
    )
