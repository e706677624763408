"""Whether a builder can run programs of a platform: asked before a build, which else would end in its first step."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable

from packager.images.failures import no_emulation
from packager.targets import machine

_PLATFORMS = re.compile(r"^[ \t]*Platforms:[ \t]*(\S.*)$", re.MULTILINE)


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
    if known and _short(platform) not in known:
        raise no_emulation(platform, f"it runs {', '.join(known)}")


def runnable(text: str) -> tuple[str, ...]:
    """Return the platforms that `docker buildx inspect` lists, of all nodes; none where a builder is asleep. Pure.

    A `*` marks what a user has set (docker/buildx, commands/inspect.go).
    """
    named = (each.strip().rstrip("*") for found in _PLATFORMS.findall(text) for each in found.split(","))
    return tuple(dict.fromkeys(_short(each) for each in named if each))


def _short(platform: str) -> str:
    # containerd's `platforms.Normalize`: v8 is what arm64 means.
    return platform.removesuffix("/v8")


def _inspect(builder: str | None) -> str:
    command = ["docker", "buildx", "inspect", *([builder] if builder else [])]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
