"""The part of a lock that is for this machine, and what a program in its environment is given."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import UnsetType

from packager.environments.conda import CondaPackage, minor
from packager.environments.lock import LockedPackage, LockedTarget
from packager.errors import LockError, PackagerError, UsageError
from packager.spec.model import canonical
from packager.targets import machine

#: Of the way an environment is made; it is in the key of each.
LAYOUT = 1


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """An environment of a lock, for one platform.

    Attributes:
        target: whose.
        platform: OCI os/arch, this machine's.
        python: minor version.
        conda: conda's packages, of this platform; empty for an environment of pip alone.
        packages: pip's, of this platform.
        from_source: names that are built from an sdist.
        variables: environment variables of the environment.
    """

    target: str
    platform: str
    python: str
    conda: tuple[CondaPackage, ...] = ()
    packages: tuple[LockedPackage, ...] = ()
    from_source: tuple[str, ...] = ()
    variables: dict[str, str] = {}

    @property
    def key(self) -> str:
        """32 hex digits of what is laid down; variables do not change it."""
        return hashlib.sha256(canonical((msgspec.structs.replace(self, variables={}), LAYOUT))).hexdigest()[:32]


def native_platform(locked: LockedTarget, target: str, asked: str | None = None) -> str:
    """Return the locked platform that this machine is.

    Raises:
        UsageError: another one is asked for, or this machine's is not locked.
    """
    here = os.uname().machine if sys.platform == "linux" else ""
    found = [each for each in locked.request.platforms if machine(each) == here]
    if asked is not None and asked not in found:
        raise UsageError(
            f"{asked} is not this machine's platform{'' if asked in locked.request.platforms else ', nor locked'}",
            remedy="build an image for it (`packager build --platform`), and run that",
        )
    if not found:
        raise UsageError(
            f"the target {target!r} is locked for {', '.join(locked.request.platforms)}, and this machine is "
            f"{sys.platform} on {os.uname().machine}",
            remedy=f"name its platform under `targets: {{{target}: {{platforms: […]}}}}` and run `packager lock`",
        )
    return asked or found[0]


def make_wanted(
    locked: LockedTarget,
    target: str,
    platform: str,
    conda: tuple[CondaPackage, ...],
    packages: tuple[LockedPackage, ...],
    variables: Mapping[str, str],
) -> Wanted:
    """Return the part of a target's lock that is for one platform. Pure."""
    here = tuple(each for each in conda if each.platform == platform)
    own = next((minor(each.version) for each in here if each.name == "python"), locked.request.python)
    if not isinstance(locked.conda, UnsetType) and not here:
        raise LockError(f"the lock holds no conda packages for {platform}", remedy="run `packager lock`")
    return Wanted(
        target=target,
        platform=platform,
        python=own,
        conda=here,
        packages=tuple(each for each in packages if not each.platforms or platform in each.platforms),
        from_source=locked.request.build_from_source,
        variables=dict(variables),
    )


def environment_of(wanted: Wanted, prefix: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables for a program that runs in an environment. Pure."""
    prefix = Path(os.path.abspath(prefix))
    # Of other environments, from whose shell this may have been called.
    dropped = ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYTHONHOME")
    found = {name: value for name, value in environ.items() if name not in dropped}
    found["CONDA_PREFIX" if wanted.conda else "VIRTUAL_ENV"] = str(prefix)
    return {**found, **wanted.variables, "PATH": f"{prefix}/bin:{environ.get('PATH', os.defpath)}"}


def require_program(name: str, environ: Mapping[str, str]) -> str:
    """Return the path of a program that is to run in an environment.

    Raises:
        PackagerError: PATH has none of that name.
    """
    found = shutil.which(name, path=environ.get("PATH"))
    if found is None:
        raise PackagerError(f"there is no program {name!r}, in the environment or on PATH")
    return found
