"""The step `export`: a target's lock, fresh and untouched, as the text of another tool's format."""

from __future__ import annotations

from packager.environments.locks.formats import environment_yml, explicit, requirements
from packager.environments.locks.status import read_inputs
from packager.errors import UsageError
from packager.spec.load import SpecFile
from packager.steps.registered import with_registered
from packager.storage.files import write_text

__all__ = ["FORMATS", "export", "write_text"]

#: What `export` knows.
FORMATS = ("conda-lock", "explicit", "requirements", "pylock", "environment-yml")


def export(
    spec_file: SpecFile, form: str, target: str = "cpu", platform: str | None = None, *, offline: bool = False
) -> str:
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
    inputs = read_inputs(with_registered(spec_file, models=False), target)
    lock = inputs.lock
    if not lock.conda_text and form in ("conda-lock", "explicit"):
        raise UsageError(
            f"the environment has no conda packages, and {form!r} holds no other kind",
            remedy="use --format requirements, pylock or environment-yml",
        )
    chosen, platforms = platform or inputs.platforms[0], lock.locked.request.platforms
    if chosen not in platforms:
        raise UsageError(f"target {target!r} is not locked for {chosen}", remedy=f"locked: {', '.join(platforms)}")
    if form == "conda-lock":
        return lock.conda_text
    if form == "requirements" and platform is None:
        return lock.requirements
    locked = inputs.locked(chosen)
    if form == "pylock":
        from packager.environments.solve.pylock_export import make_pylock

        return make_pylock(locked, root=spec_file.root, offline=offline)
    if form == "environment-yml":
        return environment_yml(locked, spec_file.spec.name)
    return explicit(locked) if form == "explicit" else requirements(locked)
