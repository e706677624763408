"""Byte-compilation of an environment: files that Python need not check against their sources (PEP 552).

Only an interpreter of the image's own minor version may do it: another one's files would not be read. Their bytes
depend on the patch version, too (of 3,566 files of a scikit-learn environment, 3.13.0 and 3.13.5 write 1,183
differently), so it belongs to what names the environment, and compiling is for those who ask for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packager.contract import ENVIRONMENT_PREFIX
from packager.environments.uv import Uv
from packager.errors import LockError, PackagerError
from packager.laying.recipe import Interpreter
from packager.laying.venv import site_of


def find_interpreter(minor: str, environ: Mapping[str, str] | None = None) -> Interpreter | None:
    """Return a CPython of this machine of a minor version: this very one, or one that uv finds; none is downloaded."""
    environ = dict(os.environ if environ is None else environ)
    if f"{sys.version_info[0]}.{sys.version_info[1]}" == minor and sys.implementation.name == "cpython":
        return Interpreter(path=sys.executable, version=".".join(map(str, sys.version_info[:3])))
    words = ["python", "find", "--no-python-downloads", "--no-project", "--system", f"cpython@{minor}"]
    try:
        ended = Uv(Path(), environ).run(words)
    except PackagerError:
        return None
    path = ended.output.strip() if ended.code == 0 else ""
    version = _version(path, environ) if path else ""
    return Interpreter(path=path, version=version) if version.startswith(f"{minor}.") else None


def require_interpreter(minor: str, environ: Mapping[str, str] | None = None) -> Interpreter:
    """Return what `find_interpreter` does.

    Raises:
        LockError: there is none. Not silently without: the same inputs would give different digests on different
            machines.
    """
    found = find_interpreter(minor, environ)
    if found is None:
        raise LockError(
            f"byte-compilation needs CPython {minor} on this machine",
            remedy=f"install it (`uv python install {minor}`), or build without byte-compilation",
        )
    return found


def _version(path: str, environ: Mapping[str, str]) -> str:
    """Return the version that an interpreter says it is; empty where it says none."""
    command = [path, "-I", "-c", "import platform; print(platform.python_version())"]
    try:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def compile_environment(folder: Path, minor: str, interpreter: Interpreter) -> None:
    """Write the `__pycache__` folders of an environment; its files name the place that they will have in the image.

    Each top entry of site-packages has a process of its own: what a compiled file's bytes are depends on what else the
    process has compiled, so they must not depend on how many run at once. Files that are not valid are left out, as
    pip does.
    """
    site = folder / site_of(minor)
    entries = sorted(name for name in os.listdir(site) if _has_source(site / name))
    # No setting of this machine: PYTHONOPTIMIZE or PYTHONPYCACHEPREFIX would give other files, or none.
    environ = {"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}

    def run(name: str) -> None:
        command = [interpreter.path, "-S", "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash"]
        command += ["-s", str(folder), "-p", ENVIRONMENT_PREFIX, str(site / name)]
        subprocess.run(command, env=environ, cwd="/", capture_output=True, check=False)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for _ in pool.map(run, entries):
            pass


def _has_source(path: Path) -> bool:
    if path.is_file():
        return path.suffix == ".py"
    return any(name.endswith(".py") for _, _, files in os.walk(path) for name in files)
