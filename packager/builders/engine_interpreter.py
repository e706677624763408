"""The interpreter of an image, run by the engine where this machine cannot: macOS, a base of one foreign platform.

The container has the environment's folder at its own place, and no network. An engine elsewhere (DOCKER_HOST) sees no
folder of this machine: the probe finds that out before anything is compiled.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from packager.laying.recipe import Interpreter
from packager.plan.plan import Base
from packager.progress import working
from packager.resources import program

#: Seconds for the probe's container, which an engine may have to emulate; the base may be pulled before.
_TIMEOUT = 120
#: Variables by which Docker's client finds engine and credentials; an interpreter is given no others of this machine.
_CLIENT = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
_PROBE = "import sys, tempfile; tempfile.TemporaryFile(dir=sys.argv[1]); print('%d.%d.%d' % sys.version_info[:3])"


def engine_interpreter(base: Base, python: str, version: str, prefix: Path, home: str = "") -> Interpreter | None:
    """Return an interpreter in a container of a base; None where no engine runs it, or it is of another version.

    Args:
        base: the image.
        python: path of the program in the container.
        version: that it must have, in full.
        prefix: folder that it reads and writes.
        home: PYTHONHOME, where the program is not the base's.
    """
    if base.archived:
        return None  # no engine knows its name
    image = base.digest if base.local else base.source
    with working("byte-compiling in a container of the base"):
        for user in _users():
            found = Interpreter(
                command=("docker", *_run(image, prefix, user, home, python)),
                variables={name: os.environ[name] for name in _CLIENT if name in os.environ},
            )
            if _probed(found, prefix) == version:
                return found
    return None


def _users() -> Iterator[tuple[str, ...]]:
    # In an engine without root, the container's root is the user, and any other user is nobody.
    yield ("--user", f"{os.getuid()}:{os.getgid()}")
    yield ()


def _run(image: str, prefix: Path, user: tuple[str, ...], home: str, python: str) -> tuple[str, ...]:
    programs = program("stage/compile.py").parent
    # `--mount` refuses a folder that is not there, where `--volume` makes one.
    mounts = (f"type=bind,source={prefix},target={prefix}", f"type=bind,source={programs},target={programs},readonly")
    variables = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", **({"PYTHONHOME": home} if home else {})}
    return (
        *("run", "--rm", "--interactive", "--quiet", "--network=none", "--cap-drop=ALL"),
        *("--security-opt=no-new-privileges", *user, "--workdir=/"),
        *(word for each in mounts for word in ("--mount", each)),
        *(word for name, value in variables.items() for word in ("--env", f"{name}={value}")),
        *("--entrypoint", python, image),
    )


def _probed(interpreter: Interpreter, prefix: Path) -> str:
    """Return the version of an interpreter that can write into a folder; empty where it cannot, or does not run."""
    command = [*interpreter.command, "-S", "-s", "-B", "-W", "ignore", "-c", _PROBE, str(prefix)]
    try:
        done = subprocess.run(
            command, env=interpreter.variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=_TIMEOUT,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
