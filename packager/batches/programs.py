"""How the worker is started: in the locked environment of this machine, or in a container of an image."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from packager.batches.workers import Program
from packager.contract import ENVIRONMENT_PREFIX
from packager.errors import UsageError
from packager.serving.hosts.docker.container import HARDENED
from packager.serving.hosts.docker.image import ImagePackage
from packager.serving.hosts.docker.left_behind import OWNER, owner
from packager.serving.hosts.process.backend import Backend
from packager.serving.hosts.process.package import LocalPackage
from packager.serving.service import Mounted

#: Folder of a container that has `worker.py`.
_THERE = "/opt/packager-batch"

#: Sets of texts are in the same order in each worker.
_SAME_HASHES = {"PYTHONHASHSEED": "0"}


def in_environment(package: LocalPackage, folder: Path, env: Mapping[str, str]) -> Program:
    """Lay a package out, and return how its worker is started in its locked environment.

    Args:
        package: it.
        folder: for its app and links to its models; it is made.
        env: the user's variables.

    Raises:
        ContextError: a file changed meanwhile, or the disk is full.
    """
    backend = Backend(folder)
    backend.lay_out(package)
    launch = backend.launch(package)
    return Program(
        words=(f"{launch.prefix}/bin/python", "{program}/worker.py"),
        environ={**_SAME_HASHES, **launch.environ, **env},
        folder=launch.folder,
        script="",
    )


def inside(environ: Mapping[str, str], script: str, env: Mapping[str, str]) -> Program:
    """Return how a worker is started in the image that this process is in: a task of a job, with packager added to it.

    Args:
        environ: this process's variables, the image's among them.
        script: another entry script than the image's, relative to the app's folder; empty for the image's.
        env: the user's variables.

    Raises:
        UsageError: this is no image of packager's.
    """
    root, python = environ.get("AML_APP_ROOT", ""), Path(ENVIRONMENT_PREFIX, "bin/python")
    if not root or not python.exists():
        raise UsageError(
            f"this is no image of packager's: there is no {python if root else 'AML_APP_ROOT'}",
            remedy="leave --inside out, or run it in a container of the image",
        )
    return Program(
        words=(str(python), "{program}/worker.py"),
        environ={**environ, **_SAME_HASHES, **env},
        folder=root,
        script=script,
    )


def in_container(
    image: ImagePackage,
    script: str,
    seen: Sequence[Path],
    env: Mapping[str, str],
    environ: Mapping[str, str],
    devices: Sequence[str] = (),
    *,
    gpus: bool = False,
) -> Program:
    """Return how a worker is started in a container of its own, which sees the inputs where they are here.

    It runs as in production, but for the user: whoever reads the inputs here does so there.

    Args:
        image: it.
        script: another entry script than the image's, relative to the app's folder; empty for the image's.
        seen: folders of this machine that have the inputs.
        env: the user's variables; their values are in no command line.
        environ: this process's variables, for Docker's client.
        devices: files of devices.
        gpus: give it all GPUs.

    Raises:
        UsageError: the path of a folder has a comma, which Docker's option does not take.
    """
    name = f"packager-batch-{secrets.token_hex(4)}-{{worker}}"
    mounts = (
        *(Mounted(folder=each, path=str(each)) for each in seen),
        *(Mounted(folder=each.folder, path=each.path) for each in image.mounts),
    )
    words = [
        *("docker", "run", "--rm", "--interactive", "--name", name, "--label", f"{OWNER}={owner()}"),
        *("--read-only", *(f"--tmpfs={path}" for path in HARDENED["tmpfs"])),
        *(f"--cap-drop={each}" for each in HARDENED["cap_drop"]),
        *(f"--security-opt={each}" for each in HARDENED["security_opt"]),
        f"--pids-limit={HARDENED['pids_limit']}",
        f"--user={os.getuid()}:{os.getgid()}",
        f"--mount=type=bind,source={{program}},target={_THERE},readonly",
        *(_mount(each) for each in mounts),
        *(f"--device={each}:{each}:rwm" for each in devices),
        *(("--gpus=all",) if gpus else ()),
        *(f"--env={each}" for each in (*_SAME_HASHES, *env)),
        *("--entrypoint=python", image.title, f"{_THERE}/worker.py"),
    ]
    variables = {**environ, **_SAME_HASHES, **env}
    return Program(
        words=tuple(words), environ=variables, folder="/", script=script, end=("docker", "rm", "--force", name)
    )


def _mount(mounted: Mounted) -> str:
    if "," in f"{mounted.folder}{mounted.path}":
        raise UsageError(
            f"a container cannot see {mounted.folder}: Docker takes no comma in a path",
            remedy="rename the folder, or leave --docker out",
        )
    return f"--mount=type=bind,source={mounted.folder},target={mounted.path},readonly"
