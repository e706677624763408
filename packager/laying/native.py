"""The locked environment of a spec on this machine: which it is, and where it is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from packager.environments.declare.environment import read_environment
from packager.environments.locks.files import read_conda, read_locked
from packager.environments.locks.status import require_fresh
from packager.laying.create import Machine, create, is_complete
from packager.laying.kinds import PREFIXES, used
from packager.laying.programs import Wanted, make_wanted, native_platform
from packager.pipeline import machine_channel_mirrors
from packager.spec.load import SpecFile
from packager.storage.locks import hold
from packager.storage.models import default_root


def wanted_here(spec_file: SpecFile, target: str, platform: str | None = None) -> tuple[Wanted, Machine]:
    """Return the part of a target's lock that is for this machine.

    Raises:
        LockError: the lock is missing, stale, or was edited by hand.
        UsageError: it is not locked for this machine's platform, or another one is asked for.
    """
    environment = read_environment(spec_file.for_target(target))
    require_fresh(spec_file, target, environment=environment)
    locked, packages, _ = read_locked(spec_file, target)
    conda, _ = read_conda(spec_file, locked)
    chosen = native_platform(locked, target, platform)
    wanted = make_wanted(locked, target, chosen, conda, packages, environment.variables)
    mirrors = {**spec_file.spec.conda.channel_mirrors, **machine_channel_mirrors()}
    cache = default_root().parent
    return wanted, Machine(root=spec_file.root, cache=cache, environ=dict(os.environ), mirrors=mirrors)


def kept(wanted: Wanted, here: Machine, *, say: Callable[[str], None]) -> tuple[Path, int]:
    """Return the folder of an environment, one for each lock; it is made where it is not there yet.

    With it comes a descriptor that keeps `store gc` from it, as long as this process or one that inherits it runs.

    Raises:
        ContextError, LockError, TemporaryError: see `packager.laying.create.create`.
    """
    prefix = here.cache / PREFIXES / wanted.key
    held = hold(prefix)
    if not is_complete(prefix, wanted):
        create(wanted, prefix, here, say=say)
    used([prefix])
    return prefix, held
