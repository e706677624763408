"""LockRequest → exact packages, by uv: the step that needs the network."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import UnsetType

from packager.environments.conda import Provided, minor
from packager.environments.lock import LockedPackage, LockRequest, PackageSources
from packager.environments.locks.files import parse_requirements
from packager.environments.uv import Uv, uv_version
from packager.errors import LockError
from packager.scratch import scratch
from packager.targets import machine

#: Name of the file in which uv answers, and finds what was locked before.
_ANSWER = "pylock.solved.toml"
#: Name of the file in which uv is told of indexes for single packages.
_PROJECT = "pyproject.toml"


class Upgrade(msgspec.Struct, frozen=True, kw_only=True):
    """Which versions may move although they still fit.

    Attributes:
        all: every package's.
        names: those of these packages, normalised.
    """

    all: bool = False
    names: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.all or bool(self.names)


class Solver(Protocol):
    """Finds the packages that fit a request on one platform."""

    def solve(
        self,
        request: LockRequest,
        platform: str,
        preferences: str | None,
        upgrade: Upgrade,
        offline: bool,
        provided: Provided | None = None,
    ) -> tuple[LockedPackage, ...]:
        """Return the packages for one platform, sorted by name, `platforms` left empty.

        Args:
            request: what is asked.
            platform: one of the request's.
            preferences: the text of the requirements file so far, whose versions stay where they still fit.
            upgrade: which of them may move all the same.
            offline: take only what is cached.
            provided: what conda brings, which is neither solved nor in the result; None where there is no conda.

        Raises:
            LockError: no packages fit.
            TemporaryError: the index does not answer.
        """
        ...


class UvSolver:
    """Solves with uv.

    Args:
        root: where uv looks for uv.toml and pyproject.toml, there and in the parents: the folder of the spec.
        environ: the environment variables of the machine.
    """

    def __init__(self, root: Path, environ: Mapping[str, str] | None = None) -> None:
        self._uv = Uv(root, dict(os.environ if environ is None else environ))

    def solve(
        self,
        request: LockRequest,
        platform: str,
        preferences: str | None,
        upgrade: Upgrade,
        offline: bool,
        provided: Provided | None = None,
    ) -> tuple[LockedPackage, ...]:
        """See `Solver.solve`.

        Raises:
            LockError: no packages fit; with uv's explanation, shortened.
            TemporaryError: the index does not answer.
            PackagerError: uv is missing.
        """
        # Imported here, because most runs of `packager lock` find nothing to solve.

        from packager.environments.solve.pylock import format_preferences, parse_pylock

        if provided:
            request = msgspec.structs.replace(request, python=provided.python)
        with scratch("packager-lock-") as name:
            folder = Path(name)
            allowed = _allowed(request, platform, provided)
            preferred = _preferred(preferences, platform, request)
            if preferred:
                # uv takes the file that it is to write for what was locked before, as pip-compile does.
                (folder / _ANSWER).write_text(format_preferences(preferred), "utf-8")
            text = solve_text(self._uv, request, platform, folder, upgrade=upgrade, offline=offline, provided=provided)
        return parse_pylock(
            text,
            python=minor(request.python),
            tags=request.platforms[platform],
            without=provided.versions if provided else (),
            allowed=allowed,
        )

    def stop(self) -> None:
        """End all solves under way, which then raise, and refuse new ones."""
        self._uv.stop()


def solve_text(
    uv: Uv,
    request: LockRequest,
    platform: str,
    folder: Path,
    *,
    upgrade: Upgrade,
    offline: bool,
    provided: Provided | None = None,
    dependencies: bool = True,
) -> str:
    """Return the pylock.toml with which uv answers a request.

    Args:
        uv: is asked.
        request: what is asked.
        platform: one of the request's.
        folder: for what uv reads and writes.
        upgrade: which versions of the answer before this one, if the folder holds it, may move.
        offline: take only what is cached.
        provided: what conda brings; None where there is no conda.
        dependencies: solve for those, too.

    Raises:
        LockError: no packages fit.
        TemporaryError: the index does not answer.
        PackagerError: uv is missing.
    """
    _write_inputs(folder, request, platform, provided)
    words = arguments(request, platform, upgrade, offline, folder)
    words += ["--overrides", str(folder / "overrides.in")] if provided else []
    words += [] if dependencies else ["--no-deps"]
    sources = _sources(request)
    words += ["--default-index", sources.default] if sources.default else []
    ended = uv.run(words, find_links=folder / "stubs" if provided else None, indexes=sources.indexes)
    if ended.code != 0:
        from packager.environments.uv_errors import explain

        raise explain(ended.errors, platform=platform, python=request.python, hide=str(folder))
    return (folder / _ANSWER).read_text("utf-8")


def _write_inputs(folder: Path, request: LockRequest, platform: str, provided: Provided | None) -> None:
    texts = {"requirements": list(request.requirements), "constraints": list(request.constraints)}
    if provided:
        from packager.environments.solve.pip_around_conda import check_direct, constraints, overrides, write_stubs

        check_direct([*request.requirements, *request.constraints], provided, platform)
        write_stubs(provided, folder / "stubs")
        texts["constraints"] += constraints(provided)
        texts["overrides"] = overrides(provided)
    for name, lines in texts.items():
        (folder / f"{name}.in").write_text("\n".join([*lines, ""]), "utf-8")
    sources = _sources(request)
    if sources.packages:
        (folder / _PROJECT).write_text(project_text(request.requirements, sources), "utf-8")


def _sources(request: LockRequest) -> PackageSources:
    return PackageSources() if isinstance(request.sources, UnsetType) else request.sources


def project_text(requirements: Iterable[str], sources: PackageSources) -> str:
    """Return a pyproject.toml that asks for packages from their indexes: uv is told in no other way. Pure."""
    lines = ["[project]", 'name = "packager-request"', 'version = "0"', "dependencies = ["]
    lines += [*(f"    {_toml(each)}," for each in requirements), "]", "[tool.uv.sources]"]
    indexes: dict[str, str] = {}
    for package, places in sources.packages.items():
        entries = []
        for place in places:
            index, _, marker = place.partition(" ; ")
            name, _, url = index.partition("=")
            indexes[name] = url
            entries.append(f"{{ index = {_toml(name)}" + (f", marker = {_toml(marker)} }}" if marker else " }"))
        lines.append(f"{_toml(package)} = [{', '.join(entries)}]")
    for name, url in indexes.items():
        lines += ["[[tool.uv.index]]", f"name = {_toml(name)}", f"url = {_toml(url)}", "explicit = true"]
    return "\n".join([*lines, ""])


def _toml(text: str) -> str:
    # A JSON text is a TOML text, but for DEL, which no requirement may hold.
    return msgspec.json.encode(text).decode()


def arguments(request: LockRequest, platform: str, upgrade: Upgrade, offline: bool, folder: Path) -> list[str]:
    """Return uv's arguments for one solve; `folder` holds requirements.in and constraints.in, and gets the answer."""
    asked = _PROJECT if _sources(request).packages else "requirements.in"
    words = ["pip", "compile", str(folder / asked), "--constraints", str(folder / "constraints.in")]
    words += ["--output-file", str(folder / _ANSWER), "--format", "pylock.toml"]
    words += ["--python-version", request.python, "--python-platform", request.platforms[platform]]
    words += ["--no-header", "--quiet", "--only-binary", ":all:"]
    # Together with `--only-binary :all:`, uv reads this as the exceptions: these come from an sdist, and only these.
    for name in request.build_from_source:
        words += ["--no-binary", name]
    if not request.build_from_source:
        # Nothing is run, so any interpreter will do: looking for one of the right version would take 0.7 s.
        words += ["--python", sys.executable]
    if upgrade.all:
        words.append("--upgrade")
    for name in upgrade.names:
        words += ["--upgrade-package", name]
    return [*words, "--offline"] if offline else words


def _allowed(request: LockRequest, platform: str, provided: Provided | None) -> dict[str, frozenset[str]]:
    """Return package → the sha256 that the hashes of the environment admit on a platform.

    Raises:
        LockError: conda brings one of these packages, and so another file.
    """
    if isinstance(request.hashes, UnsetType):
        return {}
    from packaging.requirements import Requirement

    python = minor(request.python)
    # What markers ask (PEP 508), as it is in every image; the machine that locks may be another.
    words = {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": machine(platform),
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    found: dict[str, frozenset[str]] = {}
    for line, digests in request.hashes.items():
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate(words):
            continue
        if provided and requirement.name in provided.versions:
            raise LockError(
                f"conda brings {requirement.name}, and the hashes of `{line}` name other files",
                remedy="remove these hashes, or the package of conda",
            )
        found[requirement.name] = found.get(requirement.name, frozenset(digests)) & frozenset(digests)
    return found


def _preferred(text: str | None, platform: str, request: LockRequest) -> list[LockedPackage]:
    try:
        packages = parse_requirements(text or "", request.platforms)
    except LockError:
        return []  # a file that was broken by hand is no reason not to write it anew
    return [package for package in packages if not package.platforms or platform in package.platforms]


def tool_versions(*more: str) -> dict[str, str]:
    """Return the versions of what solves, for `packager.lock`; `more` names installed projects beside uv."""
    from importlib.metadata import PackageNotFoundError, version

    from packager import __version__

    found = {"packager": __version__, "uv": uv_version()}
    for name in more:
        # Of a solver that is no project of ours, nothing is known.
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
