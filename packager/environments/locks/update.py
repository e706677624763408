"""Bringing a lock up to date: what changed is solved anew, what has not is kept, and the files are written together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from packager.environments.conda import SUBDIRS, CondaRequest, LockedConda
from packager.environments.declare.environment import Environment, read_environments
from packager.environments.declare.requirement import canonical_name
from packager.environments.lock import Lock, LockedTarget, LockRequest, Move, Registered, conda_moves, moves
from packager.environments.locks.conda_file import conda_lock_path, format_conda_lock, lock_folder
from packager.environments.locks.files import (
    digest_of,
    format_lock,
    format_requirements,
    read_file,
    read_lock,
    requirements_path,
)
from packager.environments.locks.images import ResolveBase, base_of, installer_of, moved_images, pin_images
from packager.environments.locks.status import Held, LoadTarget, edited, hold, requests
from packager.environments.locks.writing import write_files
from packager.environments.solve.conda import CondaSolver
from packager.environments.solve.pip import Solver, Upgrade, tool_versions
from packager.environments.solve.targets import SolvedTarget, Solvers, solve_targets
from packager.errors import PackagerError, UsageError
from packager.revision import lock_time
from packager.spec.load import SpecFile
from packager.spec.model import canonical

__all__ = ["LockResult", "Move", "update_lock"]


class LockResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `lock` did.

    Attributes:
        lock: as it is on disk now.
        changed: whether anything that an image is made of is other than before.
        changes: target → its packages that moved, sorted by name, conda's first.
        counts: target → how many packages it has, where they were solved.
        bases: target → its base so far (`None` when it is new) and now, where they differ.
        installers: the same of the image of the stage that installs conda packages.
        written: the files that were written, relative to the folder of the spec.
        notes: what was passed over or decided, for people; empty where nothing was solved.
        pins: what the spec names of a workspace → its version so far and now, where they differ.
    """

    lock: Lock
    changed: bool
    changes: dict[str, tuple[Move, ...]]
    counts: dict[str, int] = {}
    bases: dict[str, tuple[str | None, str]]
    installers: dict[str, tuple[str | None, str]] = {}
    written: tuple[str, ...]
    notes: tuple[str, ...] = ()
    pins: dict[str, tuple[str | None, str | None]] = {}


def _silent(_text: str) -> None:
    pass


def update_lock(
    spec_file: SpecFile,
    *,
    solver: Solver,
    resolve_base: ResolveBase,
    conda: CondaSolver | None = None,
    upgrade: Upgrade | None = None,
    upgrade_base: bool = False,
    offline: bool = False,
    report: Callable[[str], None] = _silent,
    load: LoadTarget | None = None,
    now: Callable[[], datetime] = lock_time,
    registered: Registered | None = None,
) -> LockResult:
    """Bring the lock up to date with the spec; nothing changed: no solve, no network, and no file is written.

    Args:
        spec_file: the spec.
        solver: finds pip's packages.
        resolve_base: finds the digest of an image that is given by its tag; mirrors are its business.
        conda: finds conda's packages; without it, an environment that asks for some is an error.
        upgrade: which versions may move although they still fit.
        upgrade_base: resolve the spec's own base, and its own image of the installer, again.
        offline: neither index, channel nor registry may be asked.
        report: told what is being done.
        load: gives a target by its name; those beside the spec and ours where None.
        now: the time that the lock gets where what images are made of changed.
        registered: what the spec names of a workspace, pinned.

    Raises:
        SpecError: the spec's environment, targets or base are not usable.
        UsageError: a package to upgrade is not locked.
        LockError: no packages fit, or the lock is damaged. Nothing on disk has changed then.
        TemporaryError: index, channel or registry do not answer. Nothing on disk has changed then.
        RegistryError: the registry refuses the base. Nothing on disk has changed then.
    """
    environments = read_environments(spec_file)
    if conda is None and any(each.conda is not None for each in environments.values()):
        raise PackagerError("there is no solver for conda packages")
    wanted = requests(spec_file, environments, load)
    before = read_lock(spec_file) or Lock()
    held = {name: hold(spec_file, before.targets.get(name)) for name in wanted}
    upgrade = upgrade or Upgrade()
    _check_names(upgrade, held)
    # The images first: they take a moment, and an error in them should not come after a long solve.
    images = pin_images(wanted, held, resolve_base, upgrade_base, offline, report)
    solvers = Solvers(pip=solver, conda=conda, offline=offline)
    solved = solve_targets(wanted, held, solvers, upgrade, report, _preferences(environments, held))
    texts: dict[str, str] = {}
    targets = {}
    for name, request in wanted.items():
        targets[name], files = _locked(
            name, request, images, held[name], solved[name], tuple(environments[name].inputs), spec_file.lock_path.name
        )
        texts.update(files)
    fresh = all(each.kept for each in solved.values())
    tools = before.tools if fresh else _tools(environments, conda)
    inputs = {path: digest for each in environments.values() for path, digest in each.inputs.items()}
    changed = targets != before.targets or (registered or Registered()) != before.pins
    after = Lock(
        inputs=dict(sorted(inputs.items())),
        targets=targets,
        tools=tools,
        changed=now() if changed else before.changed,
        registered=registered or UNSET,
    )
    return LockResult(
        lock=after,
        changed=changed,
        changes={name: _moves(held[name], solved[name]) for name in wanted},
        counts={name: each.count for name, each in solved.items() if not each.kept},
        bases=moved_images(before.targets, targets, base_of),
        installers=moved_images(before.targets, targets, installer_of),
        written=_write(spec_file, before, after, texts),
        notes=() if fresh else (*_edited(held, solved), *_notes(environments, solved)),
        pins=_moved_pins(before.pins, after.pins),
    )


def _moved_pins(before: Registered, after: Registered) -> dict[str, tuple[str | None, str | None]]:
    """Return what of the pinned moved: what the spec names → version so far and now, None where there is none."""
    old, new = ({**each.models, **each.environments} for each in (before, after))
    return {
        name: tuple(str(each[name].version) if name in each else None for each in (old, new))  # type: ignore[misc]
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    }


def _preferences(environments: Mapping[str, Environment], held: Mapping[str, Held]) -> dict[str, str | None]:
    """Return, of targets that were never locked, the versions of the curated environment that they stand on."""
    found = {}
    for name, environment in environments.items():
        if environment.curated is not None and held[name].text is None:
            from packager.environments.declare.curated import preferences

            found[name] = preferences(environment.curated, name)
    return found


def _tools(environments: Mapping[str, Environment], conda: CondaSolver | None) -> dict[str, str]:
    asked = any(each.conda is not None for each in environments.values())
    return tool_versions(*(conda.tools if asked and conda is not None else ()))


def _locked(
    name: str,
    request: LockRequest,
    images: Mapping[str, str],
    held: Held,
    solved: SolvedTarget,
    sources: tuple[str, ...],
    lock: str,
) -> tuple[LockedTarget, dict[str, str]]:
    """Return a target's part of the lock, and the texts of its files by path."""
    # The bytes on disk stay, even where a later version of packager would write them in another way.
    same = held.text is not None and held.fits(request) and held.packages == solved.packages
    text = held.text if same and held.text is not None else format_requirements(solved.packages)
    files = {requirements_path(name, lock): text}
    conda: LockedConda | UnsetType = UNSET
    if not isinstance(request.conda, UnsetType):
        assert isinstance(request.installer, str), "asked for with conda"
        conda_text, provides = _conda_half(request.conda, held, solved, sources, lock)
        files[conda_lock_path(name, lock)] = conda_text
        conda = LockedConda(
            file=conda_lock_path(name, lock),
            digest=digest_of(conda_text),
            installer=images[request.installer],
            provides=provides,
        )
    locked = LockedTarget(
        request=request,
        base=images[request.base],
        requirements=requirements_path(name, lock),
        digest=digest_of(text),
        conda=conda,
    )
    return locked, files


def _conda_half(
    request: CondaRequest, held: Held, solved: SolvedTarget, sources: tuple[str, ...], lock: str
) -> tuple[str, dict[str, str]]:
    known = held.locked.conda if held.locked is not None else UNSET
    if solved.kept and not isinstance(known, UnsetType) and held.conda_text is not None:
        return held.conda_text, known.provides
    assert solved.conda is not None, "solved or kept"
    hashes = {
        SUBDIRS[platform]: hashlib.sha256(canonical([request.specs, request.channels, virtual])).hexdigest()
        for platform, virtual in request.virtual_packages.items()
    }
    up = "../" * (lock_folder(lock).count("/") + 1)
    text = format_conda_lock(
        solved.conda.packages,
        channels=request.channels,
        content_hashes=hashes,
        sources=[f"{up}{each}" for each in sources if each.endswith((".yml", ".yaml"))],
    )
    return text, solved.conda.provides


def _moves(held: Held, solved: SolvedTarget) -> tuple[Move, ...]:
    if solved.kept:
        return ()
    before, after = held.conda_packages(), solved.conda.packages if solved.conda else ()
    return (*conda_moves(before, after), *moves(held.packages, solved.packages))


def _notes(environments: Mapping[str, Environment], solved: Mapping[str, SolvedTarget]) -> tuple[str, ...]:
    from packager.environments.declare.requirement import INFERENCE_SERVER
    from packager.environments.solve.pip_around_conda import notes

    found = dict.fromkeys(text for each in environments.values() for text in each.notes)
    for name, each in solved.items():
        asked = [line for line in environments[name].requirements if line != INFERENCE_SERVER]
        if each.conda is not None:
            found.update(dict.fromkeys(notes(asked, each.conda.provides)))
        found.update(dict.fromkeys(each.notes))
    return tuple(found)


def _edited(held: Mapping[str, Held], solved: Mapping[str, SolvedTarget]) -> tuple[str, ...]:
    """Return what became of locks that somebody edited: a line for each, with how to have the newest again."""
    found = []
    for name, each in held.items():
        if each.locked is None or each.text is None or not edited(each.locked, each.text):
            continue
        # A version that was written by hand has the hashes of another one.
        kept = [move.name for move in _moves(each, solved[name]) if move.before == move.after]
        said = "its versions stay where they fit"
        if kept:
            names = ", ".join(kept)
            said = f"{names} as it is written there (`packager lock --upgrade {' '.join(kept)}` takes the newest)"
        found.append(f"{each.locked.requirements} was edited by hand: {said}")
    return tuple(found)


def _check_names(upgrade: Upgrade, held: Mapping[str, Held]) -> None:
    if not upgrade.names:
        return
    known: set[str] = set()
    for each in held.values():
        known.update(package.name for package in each.packages)
        known.update(canonical_name(package.name) for package in each.conda_packages())
        if each.locked is not None and not isinstance(each.locked.conda, UnsetType):
            known.update(each.locked.conda.provides)
    for name in upgrade.names:
        if known and name not in known:
            raise UsageError(f"cannot upgrade {name!r}: it is not in the lock", remedy="check the name")


# --- files ------------------------------------------------------------------------------------------------------------


def _write(spec_file: SpecFile, before: Lock, after: Lock, texts: Mapping[str, str]) -> tuple[str, ...]:
    """Write what differs from what is on disk; `packager.lock` last, for it vouches for the others."""
    files = {**texts, spec_file.lock_path.name: format_lock(after)}
    differing = {path: text for path, text in files.items() if read_file(spec_file.root / path) != text}
    write_files(spec_file.root, differing)
    for locked in before.targets.values():
        # The files of a target, or of a conda half, that is gone go too, unless someone has made them theirs.
        ours = {locked.requirements: locked.digest}
        if not isinstance(locked.conda, UnsetType):
            ours[locked.conda.file] = locked.conda.digest
        for path, digest in ours.items():
            if path not in files and digest_of(read_file(spec_file.root / path) or "") == digest:
                (spec_file.root / path).unlink()
    return tuple(differing)
