"""LockRequest → exact packages, by uv: the step that needs the network."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

from packager.environments.conda import Around, minor
from packager.environments.lock import LockedPackage, LockRequest
from packager.environments.locks.files import parse_requirements
from packager.errors import LockError, PackagerError

if TYPE_CHECKING:
    import subprocess

# uv knows nothing of pip's settings; people who sit behind a company's index have often set only these.
# ours → (pip's, further names of uv's own that go before it). Sources: pip's documentation, "Configuration", and uv's,
# "Environment variables". pip separates several by spaces, as UV_INDEX and UV_INSECURE_HOST do.
_FROM_PIP = {
    "UV_DEFAULT_INDEX": ("PIP_INDEX_URL", ("UV_INDEX_URL",)),
    "UV_INDEX": ("PIP_EXTRA_INDEX_URL", ("UV_EXTRA_INDEX_URL",)),
    "UV_FIND_LINKS": ("PIP_FIND_LINKS", ()),
    "UV_INSECURE_HOST": ("PIP_TRUSTED_HOST", ()),
    "SSL_CERT_FILE": ("PIP_CERT", ()),
}
# These would choose another interpreter than the one given, or contradict it.
_DROPPED = ("UV_PYTHON", "UV_SYSTEM_PYTHON")


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
        around: Around | None = None,
    ) -> tuple[LockedPackage, ...]:
        """Return the packages for one platform, sorted by name, `platforms` left empty.

        Args:
            request: what is asked.
            platform: one of the request's.
            preferences: the text of the requirements file so far, whose versions stay where they still fit.
            upgrade: which of them may move all the same.
            offline: take only what is cached.
            around: what conda brings, which is neither solved nor in the result; None where there is no conda.

        Raises:
            LockError: no packages fit.
            TemporaryError: the index does not answer.
        """
        ...


@runtime_checkable
class Stoppable(Protocol):
    """A solver whose work under way can be ended from another thread (Ctrl-C, or another platform has failed)."""

    def stop(self) -> None:
        """End all solves under way, which then raise, and refuse new ones."""
        ...


class UvSolver:
    """Solves with the uv binary that the PyPI package `uv` brings.

    The settings of the machine are uv's own (`UV_*`, uv.toml, netrc, keyring) and, where uv has none, pip's
    environment variables.

    Args:
        root: where uv looks for uv.toml and pyproject.toml, there and in the parents: the folder of the spec.
        environ: the environment variables of the machine.
    """

    def __init__(self, root: Path, environ: Mapping[str, str] | None = None) -> None:
        self._root = root
        self._environ = dict(os.environ if environ is None else environ)
        self._running: set[subprocess.Popen[str]] = set()
        self._guard = threading.Lock()
        self._stopped = False

    def solve(
        self,
        request: LockRequest,
        platform: str,
        preferences: str | None,
        upgrade: Upgrade,
        offline: bool,
        around: Around | None = None,
    ) -> tuple[LockedPackage, ...]:
        """See `Solver.solve`.

        Raises:
            LockError: no packages fit; with uv's explanation, shortened.
            TemporaryError: the index does not answer.
            PackagerError: uv is missing.
        """
        # Imported here, because most runs of `packager lock` find nothing to solve.
        import tempfile

        from packager.environments.solve.pylock import format_preferences, parse_pylock
        from packager.environments.uv_errors import explain

        uv = find_uv()
        python = around.python if around else request.python
        with tempfile.TemporaryDirectory(prefix="packager-lock-") as name:
            folder = Path(name)
            answer = folder / "pylock.solved.toml"
            _write_inputs(folder, request, platform, around)
            preferred = _preferred(preferences, platform, request)
            if preferred:
                # uv takes the file that it is to write for what was locked before, as pip-compile does.
                answer.write_text(format_preferences(preferred), "utf-8")
            asked = msgspec.structs.replace(request, python=python)
            command = [uv, *arguments(asked, platform, upgrade, offline, folder), *switches(self._environ)]
            if around:
                command += ["--overrides", str(folder / "overrides.in")]
            code, stderr = self._run(command, folder / "stubs" if around else None)
            if code != 0:
                raise explain(stderr, platform=platform, python=python, hide=name)
            return parse_pylock(
                answer.read_text("utf-8"),
                python=minor(python),
                tags=request.platforms[platform],
                without=around.provided if around else (),
            )

    def stop(self) -> None:
        """End all solves under way, which then raise, and refuse new ones."""
        with self._guard:
            self._stopped = True
            for process in self._running:
                _end(process)

    def _run(self, command: list[str], stubs: Path | None) -> tuple[int, str]:
        import subprocess

        with self._guard:
            if self._stopped:
                raise LockError("the solve was stopped")
            process = subprocess.Popen(
                command,
                cwd=self._root,
                env=_with_stubs(uv_environment(self._environ), stubs),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                # A group of its own: with uv, the builds that it has started end too.
                process_group=0,
            )
            self._running.add(process)
        with process:
            try:
                _, stderr = process.communicate()
            finally:
                _end(process)
                with self._guard:
                    self._running.discard(process)
        if process.returncode < 0:
            name = signal.Signals(-process.returncode).name
            raise PackagerError(f"uv was ended by {name}", remedy="look for a memory limit, and try again")
        return process.returncode, stderr


def _write_inputs(folder: Path, request: LockRequest, platform: str, around: Around | None) -> None:
    texts = {"requirements": list(request.requirements), "constraints": list(request.constraints)}
    if around:
        from packager.environments.solve.pip_around_conda import check_direct, constraints, overrides, write_stubs

        check_direct([*request.requirements, *request.constraints], around, platform)
        write_stubs(around, folder / "stubs")
        texts["constraints"] += constraints(around)
        texts["overrides"] = overrides(around)
    for name, lines in texts.items():
        (folder / f"{name}.in").write_text("\n".join([*lines, ""]), "utf-8")


def _with_stubs(environ: dict[str, str], stubs: Path | None) -> dict[str, str]:
    if stubs is not None:
        environ["UV_FIND_LINKS"] = ",".join(filter(None, (environ.get("UV_FIND_LINKS"), str(stubs))))
    return environ


def arguments(request: LockRequest, platform: str, upgrade: Upgrade, offline: bool, folder: Path) -> list[str]:
    """Return uv's arguments for one solve; `folder` holds requirements.in and constraints.in, and gets the answer."""
    words = ["pip", "compile", str(folder / "requirements.in"), "--constraints", str(folder / "constraints.in")]
    words += ["--output-file", str(folder / "pylock.solved.toml"), "--format", "pylock.toml"]
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


def uv_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of uv: that of the machine, pip's settings in uv's words, and nothing interactive."""
    result = {name: value for name, value in environ.items() if name not in _DROPPED}
    for ours, (pips, others) in _FROM_PIP.items():
        if result.get(pips) and not any(result.get(name) for name in (ours, *others)):
            value = result[pips]
            # uv separates these by commas, pip by spaces.
            result[ours] = ",".join(value.split()) if ours == "UV_FIND_LINKS" else value
    # Without it, uv fetches a whole CPython where the machine has no interpreter of the asked version.
    result["UV_PYTHON_DOWNLOADS"] = "never"
    result["NO_COLOR"] = "1"
    return result


def switches(environ: Mapping[str, str]) -> list[str]:
    """Return what pip has as a variable and uv as an option alone."""
    return ["--no-index"] if environ.get("PIP_NO_INDEX", "").lower() in ("1", "true", "yes", "on", "y", "t") else []


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

    found = {"packager": __version__, "uv": version("uv")}
    for name in more:
        # Of a solver that is no project of ours, nothing is known.
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


_FINDING = threading.Lock()


def find_uv() -> str:
    """Return the binary that the PyPI package `uv` brings.

    Raises:
        PackagerError: there is none.
    """
    try:
        # One at a time: `sysconfig`, which this asks, fills its table without a lock until Python 3.12; a second thread
        # would find it half full.
        with _FINDING:
            from uv import find_uv_bin

            return find_uv_bin()
    except (ImportError, FileNotFoundError):
        raise PackagerError("uv is not there", remedy="install it beside packager: pip install uv") from None


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        # It may end by itself in between.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
