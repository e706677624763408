"""`--solver conda-lock`: conda, mamba or micromamba solve, driven by conda-lock in a child process.

For those who need exactly these solvers. What conda-lock assumes of machines without being told (glibc 2.28 and, on
every Linux, CUDA 11.4) is given to it in full: the target's virtual packages and no others.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from packager.decoding import convert
from packager.environments.channel_credentials import hide_access, redact, require_access, without_credentials
from packager.environments.channel_mirrors import is_below, urls_to_fetch
from packager.environments.child_processes import Children
from packager.environments.conda import SUBDIRS, CondaPackage, CondaRequest, SolvedConda
from packager.environments.solve.conda import Record, to_solved
from packager.errors import LockError, PackagerError, TemporaryError, UsageError
from packager.scratch import scratch

if TYPE_CHECKING:
    from packager.environments.solve.pip import Upgrade

#: Lines of what conda-lock and conda say that an error repeats.
MAX_LINES = 20

_NETWORK = ("CondaHTTPError", "CondaConnectionError", "Connection", "Could not resolve host", "timed out", "HTTP 5")
_NOISE = ("    Command:", "subprocess.CalledProcessError", "INFO:", "DEBUG:")
_TRACEBACK = re.compile(r"^Traceback \(.*\n(?:[ \t].*\n|\n)*", re.MULTILINE)


class CondaLockSolver:
    """Solves with conda-lock and an executable of conda's family, whose settings and credentials are its own.

    It solves anew each time: versions stay only where the requirements pin them.

    Args:
        executable: conda, mamba or micromamba: a path, or a name on PATH.
        mirrors: channel → what to fetch from in its place.
        environ: the environment variables of the machine.

    Raises:
        UsageError: there is no such executable.
    """

    tools: tuple[str, ...] = ("conda-lock",)

    def __init__(
        self,
        executable: str,
        mirrors: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        # Looked for here, because conda-lock would download a micromamba in its place.
        found = shutil.which(executable, path=environ.get("PATH"))
        if found is None:
            raise UsageError(
                f"there is no program {executable!r}",
                remedy="name an installed conda, mamba or micromamba: --conda /path/to/micromamba",
            )
        self._executable = os.path.abspath(found)
        self._mirrors = dict(mirrors or {})
        self._environ = environ
        self._children = Children()

    def solve(
        self,
        request: CondaRequest,
        held: tuple[CondaPackage, ...],
        upgrade: Upgrade,
        offline: bool,
        before: CondaRequest | None = None,
    ) -> SolvedConda:
        """See `CondaSolver.solve`; `held` and `upgrade` have no meaning to conda-lock without a lock of its own."""
        import yaml

        check_mirrors(request, self._mirrors)
        urls = urls_to_fetch(request.channels, self._mirrors)
        if not offline:
            require_access(urls, self._environ)
        with scratch("packager-conda-lock-") as name:
            folder = Path(name)
            for file, document in inputs(request, self._mirrors).items():
                (folder / file).write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
            command = [sys.executable, "-P", "-m", "conda_lock", *arguments(request, self._executable, folder)]
            environ = {**self._environ, **settings(request, offline)}
            ended = self._children.run(command, cwd=folder, environ=environ)
            answer = folder / "conda-lock.yml"
            if not answer.is_file():
                said = f"{ended.errors}\n{ended.output}".replace(name, "")
                raise _failed(hide_access(said, urls, self._environ))
            records = read_answer(answer.read_text("utf-8"), request, self._mirrors)
        return to_solved(records, request)

    def stop(self) -> None:
        """End all solves under way, which then raise, and refuse new ones."""
        self._children.stop()


def check_mirrors(request: CondaRequest, mirrors: Mapping[str, str]) -> None:
    """Refuse a mirror of a channel that has a name alone: which URL the name stands for is the executable's to know.

    Raises:
        UsageError: naming the channel.
    """
    channels = [*request.channels, *(each.rpartition("::")[0] for each in request.specs)]
    for start in mirrors:
        if "://" not in start and any(is_below(start, each) for each in channels):
            raise UsageError(
                f"--solver conda-lock cannot mirror the channel {start!r}, which has a name alone",
                remedy="name the mirror in the settings of conda (.condarc), or write the channel as a URL in the spec",
            )


def inputs(request: CondaRequest, mirrors: Mapping[str, str]) -> dict[str, Any]:
    """Return the files that conda-lock reads, by name: the environment, the virtual packages, and an empty name map."""

    def place(channel: str) -> str:
        plain = without_credentials(channel)
        for start, mirror in mirrors.items():
            bare = without_credentials(start).rstrip("/")
            if is_below(bare, plain):
                return mirror.rstrip("/") + plain[len(bare) :]
        return channel

    def spec(text: str) -> str:
        channel, colons, rest = text.rpartition("::")
        return f"{place(channel)}::{rest}" if colons else text

    subdirs = {
        SUBDIRS[platform]: {"packages": {name: version.replace("=", " ") for name, version in virtual.items()}}
        for platform, virtual in request.virtual_packages.items()
    }
    return {
        "environment.yml": {
            "channels": [place(each) for each in request.channels],
            "dependencies": [spec(each) for each in request.specs],
            "platforms": sorted(subdirs),
        },
        "virtual-packages.yml": {"subdirs": subdirs},
        # Without it, conda-lock may fetch a map of names from the network; only pip packages need it.
        "names.json": {},
    }


def arguments(request: CondaRequest, executable: str, folder: Path) -> list[str]:
    """Return conda-lock's arguments; `folder` holds what `inputs` returns, and gets `conda-lock.yml`."""
    words = ["lock", "--conda", executable, "--no-mamba", "--no-micromamba", "--log-level", "ERROR"]
    for platform in request.virtual_packages:
        words += ["--platform", SUBDIRS[platform]]
    words += ["--file", str(folder / "environment.yml"), "--lockfile", str(folder / "conda-lock.yml")]
    words += ["--virtual-package-spec", str(folder / "virtual-packages.yml")]
    return [*words, "--pypi_to_conda_lookup_file", (folder / "names.json").as_uri()]


def settings(request: CondaRequest, offline: bool) -> dict[str, str]:
    """Return the environment variables by which conda and mamba are told what conda-lock has no option for."""
    found: dict[str, str] = {
        "CONDA_CHANNEL_PRIORITY": request.channel_priority,
        "MAMBA_CHANNEL_PRIORITY": request.channel_priority,
    }
    if offline:
        found.update({"CONDA_OFFLINE": "true", "MAMBA_OFFLINE": "true"})
    return found


class _Package(msgspec.Struct, frozen=True):
    name: str
    version: str
    manager: str
    platform: str
    url: str
    hash: dict[str, str | None]
    dependencies: dict[str, str] = {}


class _Answer(msgspec.Struct, frozen=True):
    package: list[_Package]


def read_answer(text: str, request: CondaRequest, mirrors: Mapping[str, str]) -> dict[str, Sequence[Record]]:
    """Return platform → records of a lock file that conda-lock wrote.

    Raises:
        LockError: the file is not understood, or a package has no sha256.
    """
    import yaml

    try:
        answer = convert(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)), _Answer)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise LockError(f"conda-lock's answer is not understood: {error}") from None
    platforms = {SUBDIRS[platform]: platform for platform in request.virtual_packages}
    found: dict[str, list[Record]] = {platform: [] for platform in request.virtual_packages}
    for each in answer.package:
        if each.manager != "conda" or each.platform not in platforms:
            continue
        sha256 = each.hash.get("sha256")
        if not sha256:
            raise LockError(
                f"the channel names no sha256 of {each.name} {each.version}",
                remedy="lock without `--solver conda-lock`: packager's own solver reads such a package once",
            )
        url = _canonical(each.url, mirrors)
        found[platforms[each.platform]].append(
            Record(
                name=each.name,
                version=each.version,
                build=_build(url, each.name, each.version),
                url=url,
                sha256=sha256,
                md5=each.hash.get("md5") or "",
                depends=tuple(f"{name} {rest}".rstrip() for name, rest in each.dependencies.items()),
            )
        )
    return dict(found)


def _canonical(url: str, mirrors: Mapping[str, str]) -> str:
    plain = without_credentials(url)
    for channel, mirror in mirrors.items():
        bare = without_credentials(mirror).rstrip("/")
        if "://" in channel and plain.startswith(f"{bare}/"):
            return without_credentials(channel).rstrip("/") + plain[len(bare) :]
    return plain


def _build(url: str, name: str, version: str) -> str:
    """Return the build string of a package file: NAME-VERSION-BUILD.conda."""
    file = url.rpartition("/")[2]
    stem = file.removesuffix(".conda").removesuffix(".tar.bz2")
    start = f"{name}-{version}-"
    if not stem.startswith(start):
        raise LockError(f"the file {file} of {name} {version} is not named as conda names files")
    return stem.removeprefix(start)


def _failed(text: str) -> PackagerError:
    if "No module named" in text and "conda_lock" in text:
        return PackagerError("conda-lock is not there", remedy="install it beside packager: pip install conda-lock")
    text = _TRACEBACK.sub("", f"{text}\n")
    lines = [line.rstrip() for line in redact(text).splitlines() if line.strip() and not line.startswith(_NOISE)]
    shown = "\n".join(f"    {line}" for line in lines[:MAX_LINES])
    if any(word in text for word in _NETWORK):
        return TemporaryError(f"conda-lock cannot reach a channel:\n{shown}", remedy="try again")
    return LockError(
        f"conda-lock finds no solution, or failed:\n{shown}",
        remedy="change the requirements so that they fit together; packager's own solver explains more",
    )
