"""The locked environment of a spec on this machine: which it is, and where it is kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from packager.environments.channel_mirrors import channel_mirrors
from packager.environments.lock import LockRequest
from packager.environments.locked import LockedPlatform
from packager.environments.locks.status import read_inputs
from packager.errors import UsageError
from packager.laying.create import Machine, create, environment_key, is_complete
from packager.laying.kinds import PREFIXES, used
from packager.spec.load import SpecFile
from packager.storage.locks import hold
from packager.storage.models import default_root
from packager.targets import machine


def native_platform(request: LockRequest, target: str, asked: str | None = None) -> str:
    """Return the locked platform that this machine is.

    Raises:
        UsageError: another one is asked for, or this machine's is not locked.
    """
    own = os.uname().machine if sys.platform == "linux" else ""
    found = [platform for platform in request.platforms if machine(platform) == own]
    if asked is not None and asked not in found:
        raise UsageError(
            f"{asked} is not this machine's platform{'' if asked in request.platforms else ', nor locked'}",
            remedy="build an image for it (`packager build --platform`), and run that",
        )
    if not found:
        raise UsageError(
            f"the target {target!r} is locked for {', '.join(request.platforms)}, and this machine is "
            f"{sys.platform} on {os.uname().machine}",
            remedy=f"name its platform under `targets: {{{target}: {{platforms: […]}}}}` and run `packager lock`",
        )
    return asked or found[0]


def native_environment(spec_file: SpecFile, target: str, platform: str | None = None) -> tuple[LockedPlatform, Machine]:
    """Return what a target's lock holds for this machine.

    Raises:
        LockError: the lock is missing, stale, or was edited by hand.
        UsageError: it is not locked for this machine's platform, or another one is asked for.
    """
    inputs = read_inputs(spec_file, target)
    locked = inputs.locked(native_platform(inputs.lock.locked.request, target, platform))
    mirrors = channel_mirrors(inputs.spec_file.spec.conda.channel_mirrors, os.environ)
    return locked, Machine(root=spec_file.root, cache=default_root().parent, environ=dict(os.environ), mirrors=mirrors)


def kept_environment(locked: LockedPlatform, machine: Machine, *, say: Callable[[str], None]) -> tuple[Path, int]:
    """Return the folder of an environment, one for each lock; it is made where it is not there yet.

    With it comes a descriptor that keeps `store gc` from it, as long as this process or one that inherits it runs.

    Raises:
        ContextError, LockError, TemporaryError: see `packager.laying.create.create`.
    """
    prefix = machine.cache / PREFIXES / environment_key(locked)
    descriptor = hold(prefix)
    if not is_complete(prefix, locked):
        create(locked, prefix, machine, say=say)
    used([prefix])
    return prefix, descriptor
