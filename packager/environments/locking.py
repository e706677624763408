"""The step `lock`: what has changed is solved anew, what has not is kept, and the files are written together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from packager.environments.declaration import read_environment
from packager.environments.files import (
    digest_of,
    format_lock,
    format_requirements,
    read_file,
    read_lock,
    requirements_path,
)
from packager.environments.lock import Lock, LockedPackage, LockedTarget, LockRequest, Move, moves
from packager.environments.solve import Solver, Upgrade, tool_versions
from packager.environments.solve_targets import solve_targets
from packager.environments.status import Held, LoadTarget, hold, lock_status, requests, require_fresh
from packager.environments.writing import write_files
from packager.errors import LockError, UsageError
from packager.images.reference import Reference
from packager.spec.load import SpecFile
from packager.targets import load_target

__all__ = ["LockResult", "Move", "ResolveBase", "Upgrade", "lock", "lock_status", "require_fresh"]

#: Canonical reference with a tag → `sha256:…` at its registry.
ResolveBase = Callable[[Reference], str]


class LockResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `lock` did.

    Attributes:
        lock: as it is on disk now.
        changed: whether anything that an image is made of is other than before.
        changes: target → its packages that moved, sorted by name.
        bases: target → its base so far (`None` when it is new) and now, where they differ.
        written: the files that were written, relative to the folder of the spec.
    """

    lock: Lock
    changed: bool
    changes: dict[str, tuple[Move, ...]]
    bases: dict[str, tuple[str | None, str]]
    written: tuple[str, ...]


def _silent(_text: str) -> None:
    pass


def lock(
    spec_file: SpecFile,
    *,
    solver: Solver,
    resolve_base: ResolveBase,
    upgrade: Upgrade | None = None,
    upgrade_base: bool = False,
    offline: bool = False,
    report: Callable[[str], None] = _silent,
    load: LoadTarget = load_target,
) -> LockResult:
    """Bring the lock up to date with the spec; nothing changed: no solve, no network, and no file is written.

    Args:
        spec_file: the spec.
        solver: finds the packages.
        resolve_base: finds the digest of a base image that is given by its tag; mirrors are its business.
        upgrade: which versions may move although they still fit.
        upgrade_base: resolve the spec's own base again.
        offline: neither index nor registry may be asked.
        report: told what is being done.
        load: gives a target by its name.

    Raises:
        SpecError: the spec's environment, targets or base are not usable.
        UsageError: a package to upgrade is not locked.
        LockError: no packages fit, or the lock is damaged. Nothing on disk has changed then.
        TemporaryError: index or registry do not answer. Nothing on disk has changed then.
        RegistryError: the registry refuses the base. Nothing on disk has changed then.
    """
    environment = read_environment(spec_file)
    wanted = requests(spec_file, environment, load)
    before = read_lock(spec_file) or Lock()
    held = {name: hold(spec_file, before.targets.get(name)) for name in wanted}
    upgrade = upgrade or Upgrade()
    _check_names(upgrade, held)
    # The base first: it takes a moment, and an error in it should not come after a long solve.
    bases = _bases(wanted, held, resolve_base, upgrade_base, offline, report)
    solved = solve_targets(wanted, held, solver, upgrade, offline, report)
    texts = {name: _text(held[name], wanted[name], packages) for name, packages in solved.items()}
    targets = {
        name: LockedTarget(
            request=request, base=bases[name], requirements=requirements_path(name), digest=digest_of(texts[name])
        )
        for name, request in wanted.items()
    }
    fresh = all(held[name].fits(request) for name, request in wanted.items()) and not upgrade
    after = Lock(inputs=environment.inputs, targets=targets, tools=before.tools if fresh else tool_versions())
    return LockResult(
        lock=after,
        changed=after.targets != before.targets,
        changes={name: moves(held[name].packages, solved[name]) for name in wanted},
        bases=_moved_bases(before.targets, targets),
        written=_write(spec_file, before, after, texts),
    )


def _text(held: Held, wanted: LockRequest, packages: tuple[LockedPackage, ...]) -> str:
    # The bytes on disk stay, even where a later version of packager would write them in another way.
    if held.text is not None and held.fits(wanted) and held.packages == packages:
        return held.text
    return format_requirements(packages)


def _check_names(upgrade: Upgrade, held: Mapping[str, Held]) -> None:
    known = {package.name for each in held.values() for package in each.packages}
    for name in upgrade.names:
        if known and name not in known:
            raise UsageError(f"cannot upgrade {name!r}: it is not in the lock", remedy="check the name")


# --- bases ------------------------------------------------------------------------------------------------------------


def _bases(
    wanted: Mapping[str, LockRequest],
    held: Mapping[str, Held],
    resolve: ResolveBase,
    upgrade: bool,
    offline: bool,
    report: Callable[[str], None],
) -> dict[str, str]:
    """Return the pinned base of each target; each tag is asked for once."""
    found: dict[str, str] = {}
    for name, request in wanted.items():
        known = pinned_base(request, held[name].locked, upgrade=upgrade) or found.get(request.base)
        if known is None:
            if offline:
                raise LockError(
                    f"the digest of the base image {request.base} is not known, and --offline asks no registry",
                    remedy="run `packager lock` once with network, or write `base: NAME:TAG@sha256:…`",
                )
            reference = Reference.parse(request.base)
            tagged = reference.with_tag(reference.tag or "latest")
            report(f"resolving the base image {tagged}")
            known = str(tagged.with_digest(resolve(tagged)))
        found[request.base] = known
    return {name: found[request.base] for name, request in wanted.items()}


def pinned_base(request: LockRequest, locked: LockedTarget | None, *, upgrade: bool) -> str | None:
    """Return the base with its digest where no registry needs to be asked: given with one, or locked before. Pure."""
    if Reference.parse(request.base).digest is not None:
        return request.base
    if locked is not None and locked.request.base == request.base and not upgrade:
        return locked.base
    return None


def _moved_bases(
    before: Mapping[str, LockedTarget], after: Mapping[str, LockedTarget]
) -> dict[str, tuple[str | None, str]]:
    pairs = {name: (before[name].base if name in before else None, locked.base) for name, locked in after.items()}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


# --- files ------------------------------------------------------------------------------------------------------------


def _write(spec_file: SpecFile, before: Lock, after: Lock, texts: Mapping[str, str]) -> tuple[str, ...]:
    """Write what differs from what is on disk; `packager.lock` last, for it vouches for the others."""
    files = {requirements_path(name): text for name, text in texts.items()}
    files[spec_file.lock_path.name] = format_lock(after)
    differing = {path: text for path, text in files.items() if read_file(spec_file.root / path) != text}
    write_files(spec_file.root, differing)
    for name, locked in before.targets.items():
        # The file of a target that is gone goes too, unless someone has made it theirs.
        path = spec_file.root / locked.requirements
        if name not in after.targets and digest_of(read_file(path) or "") == locked.digest:
            path.unlink()
    return tuple(differing)
