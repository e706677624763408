"""The locked environment of a spec on this machine: which it is, and where it is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from packager.environments.create import Machine, create, is_complete
from packager.environments.declaration import read_environment
from packager.environments.files import read_conda, read_locked
from packager.environments.kept import PREFIXES, hold, used
from packager.environments.status import require_fresh
from packager.environments.wanted import Wanted, make_wanted, native_platform
from packager.pipeline import machine_channel_mirrors
from packager.spec.load import SpecFile
from packager.store import default_root


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


class Prefix(NamedTuple):
    """The folder of an environment, and what keeps `store gc` from it (`kept.hold`); None outside of the cache."""

    path: Path
    held: int | None


def kept(wanted: Wanted, here: Machine, *, prefix: Path | None = None, say: Callable[[str], None]) -> Prefix:
    """Return an environment in packager's cache, one for each lock, or at `prefix`; it is made where it is not there.

    Raises:
        ContextError, LockError, TemporaryError: see `packager.environments.create.create`.
    """
    path = prefix or here.cache / PREFIXES / wanted.key
    held = hold(path) if prefix is None else None
    if not is_complete(path, wanted):
        create(wanted, path, here, say=say)
    used([path])
    return Prefix(path, held)
