"""Whether the lock still fits: what changed since it was made, for each target."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from msgspec import UnsetType

from packager.environments.conda import CondaPackage, SolvedConda
from packager.environments.declare.environment import Environment, read_environment, read_environments
from packager.environments.declare.request import make_request
from packager.environments.lock import LockedPackage, LockedTarget, LockRequest, changes
from packager.environments.locked import LockedPlatform
from packager.environments.locks.conda_file import parse_conda_lock
from packager.environments.locks.files import (
    TargetLock,
    digest_of,
    parse_requirements,
    read_file,
    read_lock,
    target_lock,
)
from packager.errors import LockError
from packager.given import find_conflict
from packager.reference import Reference
from packager.spec.load import SpecFile
from packager.spec.model import DEFAULT_PYTHON
from packager.targets import Target, load_target

#: Gives a target by its name; tests have targets of their own.
LoadTarget = Callable[[str], Target]

NO_LOCK = "there is no packager.lock beside the spec"
_REMEDY = "run `packager lock`, and commit its files"


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What is on disk for one target.

    Attributes:
        locked: its part of the lock; `None` where it is new.
        text: of its requirements file; `None` where there is none.
        packages: what that file holds; empty where it was edited into something else.
        conda_text: of its conda-lock file; `None` where there is none.
    """

    locked: LockedTarget | None
    text: str | None
    packages: tuple[LockedPackage, ...]
    conda_text: str | None = None

    def fits(self, wanted: LockRequest) -> bool:
        """Whether the packages are those of an equal request (but for the images), and untouched."""
        return (
            self.locked is not None
            and self.locked.request.same_solve(wanted)
            and not damage(self.locked, self.text, self.conda_text)
        )

    def conda_fits(self, wanted: LockRequest) -> bool:
        """Whether the conda packages are those of an equal request, and untouched, whatever pip's half is."""
        return (
            self.locked is not None
            and not isinstance(wanted.conda, UnsetType)
            and self.locked.request.conda == wanted.conda
            and not _conda_damage(self.locked, self.conda_text)
        )

    def conda_packages(self) -> tuple[CondaPackage, ...]:
        """Return what the conda-lock file holds; nothing where it was edited into something else."""
        # Asked for where something has changed alone: reading YAML takes most of the time of a lock that is unchanged.
        if self.locked is None or self.conda_text is None:
            return ()
        try:
            return parse_conda_lock(self.conda_text, platforms=self.locked.request.platforms)
        except LockError:
            return ()

    def solved_conda(self) -> SolvedConda:
        """Return the conda half as it was solved."""
        assert self.locked is not None
        assert not isinstance(self.locked.conda, UnsetType)
        return SolvedConda(packages=self.conda_packages(), provides=self.locked.conda.provides)


def hold(spec_file: SpecFile, locked: LockedTarget | None) -> Held:
    """Return what is on disk for one target.

    Raises:
        LockError: one of its files cannot be read.
    """
    text, conda_text = file_texts(spec_file, locked)
    try:
        packages = parse_requirements(text or "", locked.request.platforms if locked else ())
    except LockError:
        packages = ()
    return Held(locked=locked, text=text, packages=packages, conda_text=conda_text)


def lock_status(spec_file: SpecFile, *, load: LoadTarget | None = None) -> dict[str, tuple[str, ...]]:
    """Return for each target what changed since the lock was made, a line each; empty where it is fresh.

    Targets that the spec no longer names come last. No network is touched.

    Raises:
        SpecError: the environment cannot be read.
        LockError: `packager.lock` cannot be read.
    """
    wanted = requests(spec_file, read_environments(spec_file), load)
    lock = read_lock(spec_file)
    if lock is None:
        return dict.fromkeys(wanted, (NO_LOCK,))
    found = {
        name: reasons(lock.targets.get(name), request, *file_texts(spec_file, lock.targets.get(name)))
        for name, request in wanted.items()
    }
    gone = {name: ("the spec no longer names this target",) for name in lock.targets if name not in wanted}
    return {**found, **gone}


class TargetInputs(msgspec.Struct, frozen=True, kw_only=True):
    """What one target is made of besides the user's files: read once, for all of its platforms.

    Attributes:
        spec_file: the spec as it is for this target.
        target: the deployment flavour.
        environment: what is asked for.
        lock: what was locked; it is fresh.
        created: when the lock last changed, in seconds since the epoch; None of one that does not say.
    """

    spec_file: SpecFile
    target: Target
    environment: Environment
    lock: TargetLock
    created: int | None = None

    @property
    def platforms(self) -> tuple[str, ...]:
        """Its platforms: those that the spec names, else those that the target has by itself."""
        return self.spec_file.spec.target_options(self.target.name).platforms or self.target.platforms

    def locked(self, platform: str | None = None) -> LockedPlatform:
        """Return what is locked for one platform; the target's first where None.

        Raises:
            SpecError, LockError: see `TargetLock.on`.
        """
        return self.lock.on(platform or self.platforms[0], self.environment.variables)


def read_inputs(spec_file: SpecFile, target: str, *, load: LoadTarget | None = None) -> TargetInputs:
    """Return what a target is made of, where its lock fits the spec.

    Args:
        spec_file: the spec.
        target: one of its targets.
        load: gives a target by its name; those beside the spec and ours where None.

    Raises:
        SpecError: the environment cannot be read, or there is no such target.
        LockError: the lock is missing, stale or edited by hand; the message names each change.
    """
    if target not in (spec_file.whole or spec_file.spec).target_names:
        raise stale({target: ("the spec does not name this target",)})
    own = spec_file.for_target(target)
    flavour = _load(own, target, load)
    environment = read_environment(own)
    request = make_request(own.spec, flavour, environment, at=own.at)
    lock = read_lock(own)
    if lock is None:
        raise stale({target: (NO_LOCK,)})
    locked = lock.targets.get(target)
    text, conda_text = file_texts(own, locked)
    changed = reasons(locked, request, text, conda_text)
    if changed or locked is None:
        raise stale({target: changed})
    return TargetInputs(
        spec_file=own,
        target=flavour,
        environment=environment,
        lock=target_lock(own, target, locked, text or "", conda_text or ""),
        created=lock.created,
    )


def unlocked_inputs(spec_file: SpecFile, target: str, load: LoadTarget | None = None) -> TargetInputs:
    """Return what `read_inputs` does, of a target whose lock is missing or stale: no packages, a base without bytes.

    It is for those who look at all but the packages, and for no image.

    Raises:
        SpecError: see `read_inputs`.
    """
    own = spec_file.for_target(target)
    flavour = _load(own, target, load)
    environment = read_environment(own)
    request = make_request(own.spec, flavour, environment, at=own.at)
    request = msgspec.structs.replace(
        request, python=request.python or DEFAULT_PYTHON, conda=msgspec.UNSET, installer=msgspec.UNSET
    )
    base = Reference.parse(request.base)
    pinned = base if base.digest else base.with_tag(base.tag or "latest").with_digest(f"sha256:{'0' * 64}")
    nothing = LockedTarget(request=request, base=str(pinned), requirements="", digest="")
    lock = TargetLock(target=target, locked=nothing, packages=(), requirements="", conda_packages=(), conda_text="")
    return TargetInputs(spec_file=own, target=flavour, environment=environment, lock=lock)


def stale(changed: dict[str, tuple[str, ...]]) -> LockError:
    """Return the error that names what changed; `changed` holds the targets that are not fresh."""
    lines = [f"  {name}: {line}" for name, reasons in changed.items() for line in reasons]
    return LockError("\n".join(["the lock does not fit the spec:", *lines]), remedy=_REMEDY)


def requests(
    spec_file: SpecFile, environments: Mapping[str, Environment], load: LoadTarget | None
) -> dict[str, LockRequest]:
    """Return what is to be locked for each target of the spec, in its order.

    Raises:
        SpecError: see `make_request`; or a target is unknown.
    """
    return {name: _request(spec_file, name, environments[name], load) for name in spec_file.spec.target_names}


def _request(spec_file: SpecFile, target: str, environment: Environment, load: LoadTarget | None) -> LockRequest:
    own = spec_file.for_target(target)
    return make_request(own.spec, _load(own, target, load), environment, at=own.at)


def _load(spec_file: SpecFile, target: str, load: LoadTarget | None) -> Target:
    return load(target) if load else load_target(target, spec_file.templates, spec_file.at_target(target))


def file_texts(spec_file: SpecFile, locked: LockedTarget | None) -> tuple[str | None, str | None]:
    """Return the texts of a target's requirements file and conda-lock file; `None` where there is none.

    Raises:
        LockError: one cannot be read.
    """
    if locked is None:
        return None, None
    conda = None if isinstance(locked.conda, UnsetType) else read_file(spec_file.root / locked.conda.file)
    return read_file(spec_file.root / locked.requirements), conda


def reasons(
    locked: LockedTarget | None, wanted: LockRequest, text: str | None, conda_text: str | None = None
) -> tuple[str, ...]:
    """Return why a target's lock does not fit, a line each. Pure.

    Args:
        locked: what was locked; `None` where the target is new.
        wanted: what is asked now.
        text: of the requirements file.
        conda_text: of the conda-lock file.
    """
    if locked is None:
        return ("the target is not locked yet",)
    return (*changes(locked.request, wanted), *damage(locked, text, conda_text))


def damage(locked: LockedTarget, text: str | None, conda_text: str | None = None) -> tuple[str, ...]:
    """Return what is wrong with a target's files. Pure."""
    return (*_damage(locked.requirements, locked.digest, text), *_conda_damage(locked, conda_text))


def edited(locked: LockedTarget, text: str) -> bool:
    """Whether somebody wrote other packages into a requirements file; a merge conflict is none. Pure."""
    return digest_of(text) != locked.digest and find_conflict(text) is None


def _conda_damage(locked: LockedTarget, text: str | None) -> tuple[str, ...]:
    if isinstance(locked.conda, UnsetType):
        return ()
    return _damage(locked.conda.file, locked.conda.digest, text)


def _damage(path: str, digest: str, text: str | None) -> tuple[str, ...]:
    if text is None:
        return (f"{path} is missing",)
    if digest_of(text) != digest:
        if (line := find_conflict(text)) is not None:
            return (f"{path} has an unresolved merge conflict in line {line}: take either side of it",)
        return (f"{path} was edited by hand",)
    return ()
