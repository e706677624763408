"""The step `export`: a target's lock, fresh and untouched, as the text of another tool's format."""

from __future__ import annotations

from msgspec import UnsetType

from packager.environments.declare.environment import read_environment
from packager.environments.lock import LockedTarget
from packager.environments.locks.files import read_conda, read_locked
from packager.environments.locks.formats import Locked, environment_yml, explicit, locked_on, requirements
from packager.environments.locks.status import require_fresh
from packager.errors import UsageError
from packager.spec.load import SpecFile
from packager.targets import load_target

#: What `export` knows.
FORMATS = ("conda-lock", "explicit", "requirements", "pylock", "environment-yml")


def export(spec_file: SpecFile, form: str, target: str, platform: str | None = None, *, offline: bool = False) -> str:
    """Return the lock of a target in a format of other tools.

    Args:
        spec_file: the spec.
        form: one of `FORMATS`.
        target: one of the spec's.
        platform: OCI os/arch; the target's first where None, and all of them where the format can hold them
            (`conda-lock`, `requirements`).
        offline: for `pylock`: ask no index.

    Raises:
        LockError: the lock is missing, stale, or was edited by hand.
        UsageError: the format cannot hold this environment, or the target was not locked for the platform.
        TemporaryError: for `pylock`: the index does not answer.
    """
    require_fresh(spec_file, target)
    locked, packages, text = read_locked(spec_file, target)
    if isinstance(locked.conda, UnsetType) and form in ("conda-lock", "explicit"):
        raise UsageError(
            f"the environment has no conda packages, and {form!r} holds no other kind",
            remedy="use --format requirements, pylock or environment-yml",
        )
    conda, conda_text = read_conda(spec_file, locked)
    if form == "conda-lock":
        if platform is not None:
            _platform(spec_file, target, locked, platform)
        return conda_text
    if form == "requirements" and platform is None:
        return text
    chosen = _platform(spec_file, target, locked, platform)
    found = locked_on(
        chosen,
        name=spec_file.spec.name,
        python=locked.request.python,
        channels=() if isinstance(locked.request.conda, UnsetType) else locked.request.conda.channels,
        conda=conda,
        pip=packages,
        variables=read_environment(spec_file.for_target(target)).variables,
    )
    return _pylock(spec_file, locked, found, offline) if form == "pylock" else _WRITERS[form](found)


_WRITERS = {"explicit": explicit, "requirements": requirements, "environment-yml": environment_yml}


def _pylock(spec_file: SpecFile, locked: LockedTarget, found: Locked, offline: bool) -> str:
    from packager.environments.solve.pylock_export import make_pylock

    return make_pylock(
        found.pip,
        python=found.python,
        platform=found.platform,
        tags=locked.request.platforms[found.platform],
        from_source=locked.request.build_from_source,
        root=spec_file.root,
        offline=offline,
    )


def _platform(spec_file: SpecFile, target: str, locked: LockedTarget, platform: str | None) -> str:
    options = spec_file.spec.target_options(target)
    chosen = platform or next(iter(options.platforms or load_target(target, spec_file.templates).platforms))
    if chosen not in locked.request.platforms:
        raise UsageError(
            f"target {target!r} is not locked for {chosen}", remedy=f"locked: {', '.join(locked.request.platforms)}"
        )
    return chosen
