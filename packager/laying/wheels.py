"""Wheels of a lock, fetched, checked and unpacked by uv for any platform; nothing of theirs is run.

What uv 0.13 does with bad wheels (seen, and kept by tests): an entry whose name leaves the folder or is absolute is
left out and gone from RECORD; a symbolic link becomes a small text file; a script name that leaves `bin`, or is that
of the interpreter, is an error. So nothing is ever written outside the folder; `wheel_archives` says what is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from packager.environments.child_processes import Ended
from packager.environments.lock import LockedPackage
from packager.environments.locks.files import format_requirements
from packager.environments.uv import Uv
from packager.environments.uv_errors import explain, redact
from packager.errors import LockError, PackagerError, TemporaryError
from packager.laying.recipe import needs_engine

_MISMATCH = re.compile(r"Hash mismatch for `([^`]+)`|the hash of `([^`]+)`", re.IGNORECASE)
_NO_WHEEL = re.compile(r"Wheels are required for `?([A-Za-z0-9._-]+)|has no (?:usable )?(?:wheels|source distribution)")
_INVALID = re.compile(
    r"Failed to (?:install|extract|unzip|read|parse)|wheel is invalid|reserved name|Invalid (?:zip|wheel)"
)
_SUBJECT = re.compile(
    r"Failed to (?:download|install|extract archive)[^`\n]*?[: (]`?([A-Za-z0-9][A-Za-z0-9._-]*==[^`)\s]+)"
)


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where wheels come from: the settings of this machine.

    Attributes:
        root: where uv looks for uv.toml and pyproject.toml, there and in the parents: the folder of the spec.
        environ: the environment variables.
        offline: take only what uv's cache has.
    """

    root: str
    environ: dict[str, str]
    offline: bool = False

    @classmethod
    def of(cls, root: Path, environ: Mapping[str, str] | None = None, *, offline: bool = False) -> Source:
        """Return the settings of this process, or those of `environ`."""
        return cls(root=str(root), environ=dict(os.environ if environ is None else environ), offline=offline)

    @property
    def uv(self) -> Uv:
        """Uv with these settings."""
        return Uv(Path(self.root), self.environ)


def unpack(
    packages: Iterable[LockedPackage],
    python: str,
    platform: str,
    tags: str,
    source: Source,
    staging: Path,
    *,
    fresh: bool = False,
) -> str:
    """Lay wheels down below `staging`, a new folder, which is made to look like a virtual environment of this machine.

    Files of wheels are hard links into uv's cache where that is on the same filesystem: they must not be changed.

    Args:
        packages: what to lay down; only wheels with one of their digests are taken.
        python: minor version of the image.
        platform: OCI os/arch, for messages.
        tags: the platform in uv's words.
        source: where from.
        staging: new folder, whose name starts with `venv.STAGING`: scripts that uv rewrote are told by it.
        fresh: past uv's cache, which somebody may have changed.

    Returns:
        the path of site-packages, relative to `staging`.

    Raises:
        LockError: a wheel has another digest, is not valid, or is not there for this platform.
        TemporaryError: the index does not answer.
    """
    # The markers have done their work: these are the packages of this platform.
    wanted = format_requirements([msgspec.structs.replace(each, platforms=()) for each in packages])
    words = ["--python-version", python, "--python-platform", tags]
    # Where its cache has all wheels, uv still asks the index for each, and takes three times as long for it.
    for offline in (True,) if source.offline else (False,) if fresh else (True, False):
        more = [*(["--offline"] if offline else []), *(["--no-cache"] if fresh else [])]
        ended = _install(wanted, [*more, *words], source, staging)
        if ended.code == 0:
            break
    else:
        raise explain_unpack(ended.errors, platform=platform, python=python, hide=str(staging))
    (staging / "requirements.txt").unlink()
    (staging / ".lock").unlink(missing_ok=True)
    return f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"


def _install(requirements: str, words: list[str], source: Source, staging: Path) -> Ended:
    """Run uv once, for an empty environment: what a try before this one has left is removed."""
    if staging.exists():
        shutil.rmtree(staging)
    interpreter, file = _fake_environment(staging), staging / "requirements.txt"
    file.write_text(requirements, "utf-8")
    command = ["pip", "install", "--quiet", "--no-progress", "--python", str(interpreter)]
    command += ["--requirement", str(file), "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--link-mode", "hardlink", "--no-compile-bytecode", *words]
    return source.uv.run(command, locked=True)


def _fake_environment(staging: Path) -> Path:
    """Make what uv takes for a virtual environment of this very interpreter; return its interpreter.

    With one of its own, the layout does not depend on how this machine's Python was built (Debian's has
    `dist-packages`, Fedora's `lib64`), and the scripts that uv rewrote are told by a path that no wheel can know.
    """
    staging.joinpath("bin").mkdir(parents=True)
    staging.joinpath("lib").mkdir()
    staging.joinpath("lib64").symlink_to("lib")
    home = os.path.dirname(os.path.realpath(sys.executable))
    staging.joinpath("pyvenv.cfg").write_text(f"home = {home}\n", "utf-8")
    interpreter = staging / "bin" / "python"
    interpreter.symlink_to(os.path.realpath(sys.executable))
    return interpreter


def explain_unpack(stderr: str, *, platform: str, python: str, hide: str = "") -> PackagerError:
    """Return the error that a failed lay-down by uv means.

    Args:
        stderr: what uv wrote.
        platform: OCI os/arch that it laid wheels down for.
        python: minor version likewise.
        hide: the temporary folder, which means nothing to the user.
    """
    text = redact(stderr.replace(f"{hide}/", "") if hide else stderr)
    mismatch = _MISMATCH.search(text)
    if mismatch:
        name = mismatch[1] or mismatch[2]
        return LockError(
            f"{name} is not the file that was locked: its sha256 differs",
            remedy="find out why the package index serves another file; `packager lock --upgrade "
            f"{name.partition('==')[0]}` takes what it has now",
        )
    if "No space left" in text:
        return PackagerError("the disk is full, or the one of uv's cache", remedy="free some space (`uv cache prune`)")
    error = explain(stderr, platform=platform, python=python, hide=hide)
    if isinstance(error, TemporaryError) or "network was disabled" in text or "connectivity is disabled" in text:
        return error
    if _NO_WHEEL.search(text):
        return needs_engine(f"the lock holds what is not a wheel for Python {python} on {platform}:\n{error.message}")
    if _INVALID.search(text):
        subject = _SUBJECT.search(text)
        what = f"the wheel of {subject[1]}" if subject else "a wheel"
        return LockError(
            f"{what} cannot be laid down:\n{error.message}",
            remedy="take another version of it; or `installer: pip` in the spec, and `packager build --builder engine`",
        )
    return error
