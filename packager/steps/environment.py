"""The steps of `packager environment`: curated ones, differences of locks, and the locked one on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from packager.environments.declare.curated import Curated, curated_names, load_curated, locked_packages
from packager.environments.declare.v1_names import v1_names
from packager.environments.locks import difference as locks
from packager.environments.locks.difference import Side, TargetDifference, difference
from packager.environments.locks.files import read_file
from packager.errors import LockError, UsageError
from packager.laying.create import create, is_complete
from packager.laying.native import kept_environment, native_environment
from packager.laying.programs import environment_of, require_program
from packager.spec.load import SpecFile
from packager.steps.registered import with_registered
from packager.steps.reporting import SILENT, Reporter
from packager.steps.selection import one_target

__all__ = [
    "Curated", "compare_locks", "create_environment", "curated_names", "load_curated", "locked_packages",
    "read_side", "run_in_environment", "v1_names",
]  # fmt: skip

#: Of the files of a lock; in git, what ends otherwise is a folder.
_ENDINGS = (".lock", ".yml", ".yaml", ".txt")


def create_environment(
    spec_file: SpecFile,
    prefix: Path,
    *,
    target: str | None = None,
    platform: str | None = None,
    force: bool = False,
    reporter: Reporter = SILENT,
) -> bool:
    """Lay the locked environment of a target down in a folder; return False where it was there already.

    Args:
        spec_file: the spec.
        prefix: a new or empty folder, or an environment that was made by this function.
        target: one of the spec's targets; needed where it has several.
        platform: OCI os/arch, which must be this machine's.
        force: replace an environment of another lock, or one that was changed.
        reporter: is told what is done.

    Raises:
        UsageError: another platform, or several targets.
        LockError: the lock is missing, stale or edited; a package is not what was locked; there is no Python for it.
        ContextError: something else is in the folder; it cannot be written.
        TemporaryError: a channel or the index does not answer.
    """
    spec_file = with_registered(spec_file, say=reporter.step, models=False)
    locked, machine = native_environment(spec_file, one_target(spec_file, target), platform)
    return create(locked, prefix, machine, force=force, say=reporter.step)


def run_in_environment(
    spec_file: SpecFile,
    words: Sequence[str],
    *,
    target: str | None = None,
    prefix: Path | None = None,
    reporter: Reporter = SILENT,
) -> NoReturn:
    """Become a program in the locked environment; signals, terminal and exit code are then the program's own.

    Args:
        spec_file: the spec.
        words: the program and its arguments.
        target: one of the spec's targets; needed where it has several.
        prefix: folder of the environment; one for each lock in packager's cache where None.
        reporter: is told what is done.

    Raises:
        PackagerError: PATH has no program of that name.
        UsageError, LockError, ContextError, TemporaryError: see `create_environment`.
    """
    spec_file = with_registered(spec_file, say=reporter.step, models=False)
    locked, machine = native_environment(spec_file, one_target(spec_file, target))
    if prefix is None:
        prefix, descriptor = kept_environment(locked, machine, say=reporter.step)
        # `store gc` leaves it alone until the program, and all that inherit this from it, have ended.
        os.set_inheritable(descriptor, True)
    elif not is_complete(prefix, locked):
        create(locked, prefix, machine, say=reporter.step)
    environ = environment_of(locked, prefix, machine.environ)
    program = require_program(words[0], environ)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program, list(words), environ)


def compare_locks(old: str, new: str) -> tuple[TargetDifference, ...]:
    """Return which packages moved between two locks, for each target in which some did.

    Args:
        old: a folder with a packager.lock, a packager.lock, a *.conda-lock.yml or a *.requirements.txt; or one of these
            in git, as REV:PATH.
        new: the same.

    Raises:
        UsageError: git, or the file in it, is not there.
        LockError: there is no such lock, or it cannot be read.
    """
    return difference(read_side(old), read_side(new))


def read_side(text: str) -> dict[str, Side]:
    """Return target → what a lock holds of it.

    Args:
        text: as for `compare_locks`.

    Raises:
        UsageError, LockError: see there.
    """
    path = Path(text)
    revision, colon, inside = text.partition(":")
    if not path.exists() and colon and revision and not revision.startswith("-"):
        if not inside.endswith(_ENDINGS):
            inside = f"{inside.rstrip('/') or '.'}/packager.lock"
        found = _from_git(revision, inside)
        if found is None:
            raise UsageError(f"{text}: git has no such file", remedy="REV:PATH, PATH from the current folder")
        folder = inside.rpartition("/")[0] or "."
        return locks.read_side(inside, found, lambda name: _from_git(revision, f"{folder}/{name}"))
    if path.is_dir():
        path = path / "packager.lock"
    content = read_file(path)
    if content is None:
        raise LockError(f"there is no {path}", remedy="name a lock; `packager lock` writes one")
    return locks.read_side(str(path), content, lambda name: read_file(path.parent / name))


def _from_git(revision: str, path: str) -> str | None:
    try:
        # `./` makes the path one from the current folder, and no option of git.
        done = subprocess.run(
            ["git", "show", f"{revision}:./{path}"], capture_output=True, stdin=subprocess.DEVNULL, check=False
        )
    except FileNotFoundError:
        raise UsageError("git is not there", remedy="install it, or name files") from None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
