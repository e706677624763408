"""The locked environment of a target on this machine, without Docker: for debugging, and for running things in it.

conda's half is laid down as in an image, but for its place here; pip's half by uv. Files are copies, so that an edit of
one of them changes no cache. A new environment appears in one step when all of it is there.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from packager.decoding import decode_json
from packager.environments.child_processes import Ended
from packager.environments.locked import LockedPlatform
from packager.environments.locks.files import format_requirements
from packager.environments.uv import Uv
from packager.environments.uv_errors import redact
from packager.errors import ContextError, LockError
from packager.progress import working
from packager.scratch import scratch
from packager.storage.locks import turn
from packager.storage.reading import failure

#: In an environment that was made here; without it, a folder is never touched.
MARKER = ".packager-environment.json"

#: Of the way an environment is made; it is in the key of each.
LAYOUT = 2

_RELEASE = re.compile(r"3\.\d+\.\d+")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine brings.

    Attributes:
        root: the folder of the spec, where uv looks for its settings.
        cache: folder of what packager remembers.
        environ: environment variables.
        mirrors: conda channel → where to fetch from in its place.
    """

    root: Path
    cache: Path
    environ: dict[str, str]
    mirrors: dict[str, str] = {}


class _Marker(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    complete: bool


def create(
    locked: LockedPlatform,
    prefix: Path,
    machine: Machine,
    *,
    force: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> bool:
    """Lay an environment down; return False where it was there already.

    Args:
        locked: what.
        prefix: a new or empty folder, or an environment that was made by this function.
        machine: this machine.
        force: replace an environment of another lock, or one that was changed.
        say: is told what is being done.

    Raises:
        ContextError: something else is in the folder; it cannot be written.
        LockError: a package is not what was locked, or there is no Python for it.
        TemporaryError: a channel or the index does not answer.
    """
    prefix = Path(os.path.abspath(prefix))
    with _alone(prefix):
        held = _check_place(prefix, locked, force)
        if held and not force:
            return False
        say(f"laying down {locked.size} packages for {locked.platform}")
        staging = Path(tempfile.mkdtemp(prefix=f".{prefix.name[:40]}.packager-", dir=prefix.parent))
        try:
            made = staging / "env"
            with working(f"laying down {locked.size} packages"):
                scripts = _conda(locked, made, prefix, machine) if locked.conda else _venv(locked, made, machine)
                _pip(locked, made, machine)
            _move_paths(made, prefix)
            _mark(made, locked, complete=not scripts)
            if os.path.lexists(prefix):
                os.rename(prefix, staging / "before")
            os.rename(made, prefix)
        except OSError as error:
            raise failure("written", prefix, error) from None
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        if scripts:
            _run_scripts(locked, prefix)
        return True


def is_complete(prefix: Path, locked: LockedPlatform) -> bool:
    """Whether an environment is there, whole, and of this lock."""
    marker = _marker(prefix)
    return marker is not None and marker.complete and marker.key == environment_key(locked)


@contextmanager
def _alone(prefix: Path) -> Iterator[None]:
    """Keep other processes of packager from the same place."""
    try:
        prefix.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise failure("written", prefix, error) from None
    with turn(prefix.parent):
        yield


def _check_place(prefix: Path, locked: LockedPlatform, force: bool) -> bool:
    """Return whether what is locked is there already."""
    if not os.path.lexists(prefix):
        return False
    if prefix.is_symlink() or not prefix.is_dir():
        raise ContextError(f"{prefix} is there and not a folder", remedy="name a new folder")
    if not any(prefix.iterdir()):
        return False
    marker = _marker(prefix)
    if marker is None:
        raise ContextError(
            f"{prefix} is there and was not made by packager",
            remedy="name a new folder; packager only replaces an environment that it made itself",
        )
    if marker.complete and marker.key != environment_key(locked) and not force:
        raise ContextError(f"{prefix} is of another lock", remedy="--force replaces it; or name a new folder")
    return marker.complete and marker.key == environment_key(locked)


def environment_key(locked: LockedPlatform) -> str:
    """Return 32 hex digits of what is laid down; variables do not change them."""
    return hashlib.sha256(f"{LAYOUT} {locked.content_key}".encode()).hexdigest()[:32]


def _marker(prefix: Path) -> _Marker | None:
    try:
        return decode_json((prefix / MARKER).read_bytes(), _Marker)
    except (OSError, msgspec.DecodeError):
        return None


def _mark(prefix: Path, locked: LockedPlatform, *, complete: bool) -> None:
    (prefix / MARKER).write_bytes(msgspec.json.encode(_Marker(key=environment_key(locked), complete=complete)) + b"\n")


def _conda(locked: LockedPlatform, made: Path, prefix: Path, machine: Machine) -> bool:
    """Lay conda's half down; return whether link scripts have to run at the final place."""
    from packager.laying.conda_packages import lay_packages
    from packager.programs.stage.settle import link_scripts

    subdir = locked.subdir
    records = lay_packages(
        locked.conda_packages,
        subdir,
        str(prefix),
        made,
        machine.cache / "conda",
        mirrors=machine.mirrors,
        environ=machine.environ,
        copy=True,
    )
    return bool(link_scripts(made, records))


def _run_scripts(locked: LockedPlatform, prefix: Path) -> None:
    from packager.programs.stage.settle import SettleError, read_records, run_scripts

    try:
        run_scripts(prefix, read_records(prefix))
    except BaseException as error:
        shutil.rmtree(prefix, ignore_errors=True)
        if isinstance(error, SettleError):
            raise LockError(error.message, remedy="see what it says above; leave the package out") from None
        raise
    _mark(prefix, locked, complete=True)


def _venv(locked: LockedPlatform, made: Path, machine: Machine) -> bool:
    words = ["venv", "--quiet", "--no-project", "--no-config", "--python", f"cpython@{locked.python}", str(made)]
    uv = Uv(machine.root, machine.environ)
    ended = uv.run(words)
    if ended.code != 0 and (python := kept_python(locked.python, machine.environ)):
        words[words.index("--python") + 1] = str(python)
        ended = uv.run(words)
    if ended.code != 0:
        raise LockError(
            f"this machine has no CPython {locked.python}, which the lock is for:\n{_said(ended)}",
            remedy=f"install it (`uv python install {locked.python}`)",
        )
    return False


def kept_python(minor: str, environ: Mapping[str, str]) -> Path | None:
    """Return the newest Python of a minor version that a manager of versions keeps; None where there is none.

    These (pyenv, asdf, mise) put one version on PATH, or programs that run the one that is chosen; uv looks no further.
    """
    home = Path(environ.get("HOME") or Path.home())
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local/share")
    folders = (
        Path(environ.get("PYENV_ROOT") or home / ".pyenv") / "versions",
        Path(environ.get("ASDF_DATA_DIR") or home / ".asdf") / "installs/python",
        Path(environ.get("MISE_DATA_DIR") or data / "mise") / "installs/python",
    )
    # Debug builds and release candidates have other names (3.13.0t, 3.14.0rc1).
    found = (each for folder in folders for each in folder.glob(f"{minor}.*") if _RELEASE.fullmatch(each.name))
    newest_first = sorted(found, key=lambda each: int(each.name.rpartition(".")[2]), reverse=True)
    pythons = (each / f"bin/python{minor}" for each in newest_first)
    return next((each for each in pythons if os.access(each, os.X_OK)), None)


def _pip(locked: LockedPlatform, made: Path, machine: Machine) -> None:
    if not locked.packages:
        return
    from packager.laying.wheels import explain_unpack

    with scratch("packager-create-") as name:
        requirements = Path(name) / "requirements.txt"
        requirements.write_text(format_requirements(locked.packages), "utf-8")
        words = ["pip", "install", "--quiet", "--no-progress", "--python", str(made / "bin/python")]
        words += ["--break-system-packages", "--no-deps", "--require-hashes", "--link-mode", "copy"]
        words += ["--only-binary", ":all:", *(word for each in locked.from_source for word in ("--no-binary", each))]
        ended = Uv(machine.root, machine.environ).run([*words, "--requirement", str(requirements)], locked=True)
    if ended.code != 0:
        raise explain_unpack(ended.errors, platform=locked.platform, python=locked.python, hide=str(made))


def _said(ended: Ended) -> str:
    # What others say (a shim of pyenv) has empty lines and indents in it.
    lines = [line.strip() for line in ended.errors.splitlines() if line.strip()]
    return redact("\n".join(f"  {line}" for line in lines[:4]))


def _move_paths(made: Path, prefix: Path) -> None:
    """Write the final place into the programs of `bin`, where uv has written the one of now."""
    for path in sorted((made / "bin").iterdir()):
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        if str(made).encode() in data and not data.startswith(b"\x7fELF"):
            path.write_bytes(data.replace(str(made).encode(), str(prefix).encode()))
