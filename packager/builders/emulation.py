"""Whether BuildKit can build for a platform, asked before it does.

Without emulation the build would end in its first step. On a base for one platform alone it would not end at all:
BuildKit takes what there is, and says that the image is for the platform that was asked (seen with Docker 26.1).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from packager.builders.base import describe_base
from packager.engine.api import ask, look_at_engine, require_local, runnable
from packager.engine.failures import no_emulation
from packager.errors import PackagerError
from packager.oci.parse import WrongPlatformError, normal, wrong_platform
from packager.plan.plan import Base
from packager.targets import machine


def require_runnable(
    platform: str,
    builder: str | None = None,
    *,
    here: str = os.uname().machine,
    inspect: Callable[[str | None], str] | None = None,
) -> None:
    """Refuse a platform whose programs a builder says that it cannot run.

    Args:
        platform: OCI os/arch.
        builder: name of a buildx builder; the current one where None.
        here: what `platform.machine()` says on this machine, whose own platform is never asked for.
        inspect: gives what `docker buildx inspect` prints; empty where it fails, for the build will tell why.

    Raises:
        EngineError: with how to register emulation.
    """
    if machine(platform) == here:
        return
    known = runnable((inspect or _inspect)(builder))
    if known and _short(platform) not in map(_short, known):
        raise no_emulation(platform, f"it runs {', '.join(known)}")


def require_platform(base: Base, platform: str, *, here: str = os.uname().machine) -> None:
    """Refuse a base that is for other platforms.

    A base at a registry is asked for only where the platform is not this machine's: behind a mirror that only the
    engine knows, that takes a while, and comes to nothing.

    Raises:
        RegistryError: with the platforms that there are.
        EngineError: the base is an engine's, and it does not answer.
    """
    if base.local:
        found = require_local(base.source).platform
        if normal(found)[:2] != normal(platform)[:2] and not look_at_engine().containerd_store:
            raise wrong_platform(f"the base {base.reference}", platform, [found])
        return
    if machine(platform) == here:
        return
    try:
        describe_base(base, platform)
    except WrongPlatformError:
        raise
    except PackagerError:
        # The engine may reach what we do not; if not, it says so itself.
        return


def _short(platform: str) -> str:
    # containerd's `platforms.Normalize`: v8 is what arm64 means.
    return platform.removesuffix("/v8")


def _inspect(builder: str | None) -> str:
    return ask("docker", "buildx", "inspect", *([builder] if builder else [])) or ""
