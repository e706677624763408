"""The locked environment of a target on this machine, without Docker: for debugging, and for running things in it.

conda's half is laid down as in an image, but for its place here; pip's half by uv. Files are copies, so that an edit of
one of them changes no cache. A new environment appears in one step when all of it is there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from packager.environments.child_processes import Ended
from packager.environments.conda import SUBDIRS
from packager.environments.locks.files import format_requirements
from packager.environments.uv import Uv
from packager.environments.uv_errors import redact
from packager.errors import ContextError, LockError
from packager.laying.programs import Wanted
from packager.storage.reading import failure

#: In an environment that was made here; without it, a folder is never touched.
MARKER = ".packager-environment.json"


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
    wanted: Wanted, prefix: Path, here: Machine, *, force: bool = False, say: Callable[[str], None] = lambda _: None
) -> bool:
    """Lay an environment down; return False where it was there already.

    Args:
        wanted: what.
        prefix: a new or empty folder, or an environment that was made by this function.
        here: this machine.
        force: replace an environment of another lock, or one that was changed.
        say: is told what is being done.

    Raises:
        ContextError: something else is in the folder; it cannot be written.
        LockError: a package is not what was locked, or there is no Python for it.
        TemporaryError: a channel or the index does not answer.
    """
    prefix = Path(os.path.abspath(prefix))
    with _alone(prefix):
        held = _check_place(prefix, wanted, force)
        if held and not force:
            return False
        say(f"laying down {len(wanted.conda) + len(wanted.packages)} packages for {wanted.platform}")
        staging = Path(tempfile.mkdtemp(prefix=f".{prefix.name[:40]}.packager-", dir=prefix.parent))
        try:
            made = staging / "env"
            scripts = _conda(wanted, made, prefix, here) if wanted.conda else _venv(wanted, made, here)
            _pip(wanted, made, here)
            _move_paths(made, prefix)
            _mark(made, wanted, complete=not scripts)
            if os.path.lexists(prefix):
                os.rename(prefix, staging / "before")
            os.rename(made, prefix)
        except OSError as error:
            raise failure("written", prefix, error) from None
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        if scripts:
            _run_scripts(wanted, prefix)
        return True


def is_complete(prefix: Path, wanted: Wanted) -> bool:
    """Whether an environment is there, whole, and of this lock."""
    marker = _marker(prefix)
    return marker is not None and marker.complete and marker.key == wanted.key


@contextmanager
def _alone(prefix: Path) -> Iterator[None]:
    """Keep other processes of packager from the same place."""
    try:
        prefix.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(prefix.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise failure("written", prefix, error) from None
    try:
        with suppress(OSError):  # not every filesystem has locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _check_place(prefix: Path, wanted: Wanted, force: bool) -> bool:
    """Return whether what is wanted is there already."""
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
    if marker.complete and marker.key != wanted.key and not force:
        raise ContextError(f"{prefix} is of another lock", remedy="--force replaces it; or name a new folder")
    return marker.complete and marker.key == wanted.key


def _marker(prefix: Path) -> _Marker | None:
    try:
        return msgspec.json.decode((prefix / MARKER).read_bytes(), type=_Marker)
    except (OSError, msgspec.DecodeError):
        return None


def _mark(prefix: Path, wanted: Wanted, *, complete: bool) -> None:
    (prefix / MARKER).write_bytes(msgspec.json.encode(_Marker(key=wanted.key, complete=complete)) + b"\n")


def _conda(wanted: Wanted, made: Path, prefix: Path, here: Machine) -> bool:
    """Lay conda's half down; return whether link scripts have to run at the final place."""
    from packager.laying.conda_packages import lay_packages
    from packager.programs.stage.settle import link_scripts

    subdir = SUBDIRS[wanted.platform]
    records = lay_packages(
        wanted.conda, subdir, str(prefix), made, here.cache / "conda", mirrors=here.mirrors, environ=here.environ,
        copy=True,
    )  # fmt: skip
    return bool(link_scripts(made, records))


def _run_scripts(wanted: Wanted, prefix: Path) -> None:
    from packager.programs.stage.settle import SettleError, read_records, run_scripts

    try:
        run_scripts(prefix, read_records(prefix))
    except BaseException as error:
        shutil.rmtree(prefix, ignore_errors=True)
        if isinstance(error, SettleError):
            raise LockError(error.message, remedy="see what it says above; leave the package out") from None
        raise
    _mark(prefix, wanted, complete=True)


def _venv(wanted: Wanted, made: Path, here: Machine) -> bool:
    words = ["venv", "--quiet", "--no-project", "--no-config", "--python", f"cpython@{wanted.python}", str(made)]
    ended = Uv(here.root, here.environ).run(words)
    if ended.code != 0:
        raise LockError(
            f"this machine has no CPython {wanted.python}, which the lock is for:\n{_said(ended)}",
            remedy=f"install it (`uv python install {wanted.python}`)",
        )
    return False


def _pip(wanted: Wanted, made: Path, here: Machine) -> None:
    if not wanted.packages:
        return
    from packager.laying.wheels import explain_unpack

    with tempfile.TemporaryDirectory(prefix="packager-create-") as name:
        requirements = Path(name) / "requirements.txt"
        flat = [msgspec.structs.replace(each, platforms=()) for each in wanted.packages]
        requirements.write_text(format_requirements(flat), "utf-8")
        words = ["pip", "install", "--quiet", "--no-progress", "--python", str(made / "bin/python")]
        words += ["--break-system-packages", "--no-deps", "--require-hashes", "--link-mode", "copy"]
        words += ["--only-binary", ":all:", *(word for each in wanted.from_source for word in ("--no-binary", each))]
        ended = Uv(here.root, here.environ).run([*words, "--requirement", str(requirements)], locked=True)
    if ended.code != 0:
        raise explain_unpack(ended.errors, platform=wanted.platform, python=wanted.python, hide=str(made))


def _said(ended: Ended) -> str:
    return redact("\n".join(ended.errors.strip().splitlines()[-4:]))


def _move_paths(made: Path, prefix: Path) -> None:
    """Write the final place into the programs of `bin`, where uv has written the one of now."""
    for path in sorted((made / "bin").iterdir()):
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        if str(made).encode() in data and not data.startswith(b"\x7fELF"):
            path.write_bytes(data.replace(str(made).encode(), str(prefix).encode()))
