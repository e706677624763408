"""The program that `docker buildx` runs, called by itself: `docker` asks its plugins who they are first.

That costs 60 ms of each build. buildx runs by itself, too (docs.docker.com/build/concepts/overview: "standalone"), by
the same configuration, contexts and variables.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from packager.docker_config import config_file, read_config

#: Where plugins are installed on Linux and macOS, besides the user's own folder (docker/cli, cli-plugins/manager).
_FOLDERS = tuple(f"/usr/{each}/docker/cli-plugins" for each in ("local/lib", "local/libexec", "lib", "libexec"))

#: First bytes of programs of Linux and of macOS (for one processor, and for several).
_PROGRAMS = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")


def buildx_words(environ: Mapping[str, str], folders: tuple[str, ...] = _FOLDERS) -> list[str]:
    """Return how buildx is called: by its own program, where `docker` would run just this one; else by `docker`.

    A script in the place of `docker` (podman's, somebody's own) has its reasons, and folders that the configuration
    adds are Docker's to search.

    Args:
        environ: of the build: PATH, DOCKER_CONFIG.
        folders: where plugins are installed on this machine.
    """
    docker = shutil.which("docker", path=environ.get("PATH", os.defpath))
    if docker is not None and _is_program(docker) and b'"cliPluginsExtraDirs"' not in read_config(environ):
        for folder in (config_file(environ).parent / "cli-plugins", *map(Path, folders)):
            plugin = folder / "docker-buildx"
            if plugin.exists():
                return (
                    [str(plugin)] if os.access(plugin, os.X_OK) and _is_program(str(plugin)) else ["docker", "buildx"]
                )
    return ["docker", "buildx"]


def _is_program(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return stream.read(4) in _PROGRAMS
    except OSError:
        return False
