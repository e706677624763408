"""What a program that runs in an environment of this machine is given."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from packager.environments.locked import LockedPlatform
from packager.errors import PackagerError


def environment_of(locked: LockedPlatform, prefix: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables for a program that runs in an environment. Pure."""
    prefix = Path(os.path.abspath(prefix))
    # Of other environments, from whose shell this may have been called.
    dropped = ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYTHONHOME")
    found = {name: value for name, value in environ.items() if name not in dropped}
    found["CONDA_PREFIX" if locked.conda else "VIRTUAL_ENV"] = str(prefix)
    return {**found, **locked.variables, "PATH": f"{prefix}/bin:{environ.get('PATH', os.defpath)}"}


def require_program(name: str, environ: Mapping[str, str]) -> str:
    """Return the path of a program that is to run in an environment.

    Raises:
        PackagerError: PATH has none of that name.
    """
    found = shutil.which(name, path=environ.get("PATH"))
    if found is None:
        raise PackagerError(f"there is no program {name!r}, in the environment or on PATH")
    return found
