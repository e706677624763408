"""Two locks → the packages that moved between them. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import UnsetType

from packager.environments.conda import SUBDIRS, CondaPackage
from packager.environments.lock import LockedPackage, Move, conda_moves, moves
from packager.environments.locks.conda_file import parse_conda_lock
from packager.environments.locks.files import parse_lock, parse_requirements
from packager.errors import LockError, UsageError

#: Gives the text of a file that a lock names, relative to the folder of the lock; None where there is none.
ReadFile = Callable[[str], str | None]

# In a requirements file alone nothing says which spelling of a platform was locked: the usual ones.
_PLATFORMS = tuple(platform for platform in SUBDIRS if platform != "linux/arm64/v8")


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What one target of a lock holds; None for a half that the compared file says nothing of."""

    pip: tuple[LockedPackage, ...] | None = None
    conda: tuple[CondaPackage, ...] | None = None


class TargetDifference(msgspec.Struct, frozen=True, kw_only=True):
    """What moved in one target.

    Attributes:
        target: its name; of the new lock where two single targets of different names are compared.
        status: `added` and `removed` for a target that only one of the locks has.
        moves: conda's packages first, then pip's, each sorted by name.
    """

    target: str
    status: str
    moves: tuple[Move, ...]


def read_side(name: str, text: str, read: ReadFile) -> dict[str, Side]:
    """Return target → what it holds, of a file of a lock.

    Args:
        name: of the file; its ending says what it is.
        text: of the file.
        read: gives the files that a `packager.lock` names.

    Raises:
        LockError: it, or a file that it names, is missing or not valid.
        UsageError: it is no file of a lock.
    """
    last = name.rpartition("/")[2]
    if last.endswith((".yml", ".yaml")):
        return {last.partition(".")[0]: Side(conda=parse_conda_lock(text, file=name))}
    if last.endswith(".txt"):
        return {last.partition(".")[0]: Side(pip=parse_requirements(text, _PLATFORMS, file=name))}
    if not last.endswith(".lock"):
        raise UsageError(
            f"{name!r} is no file of a lock",
            remedy="name a folder with a packager.lock, a packager.lock, a *.conda-lock.yml or a *.requirements.txt",
        )
    found = {}
    for target, locked in parse_lock(text, name).targets.items():
        platforms = tuple(locked.request.platforms)
        conda: tuple[CondaPackage, ...] = ()
        if not isinstance(locked.conda, UnsetType):
            conda = parse_conda_lock(_text(read, locked.conda.file, name), file=locked.conda.file, platforms=platforms)
        text = _text(read, locked.requirements, name)
        found[target] = Side(pip=parse_requirements(text, platforms, file=locked.requirements), conda=conda)
    return found


def _text(read: ReadFile, path: str, lock: str) -> str:
    text = read(path)
    if text is None:
        raise LockError(f"{lock} names {path}, which is not there", remedy="take it back from version control")
    return text


def difference(old: dict[str, Side], new: dict[str, Side]) -> tuple[TargetDifference, ...]:
    """Return what moved, for each target where something did; single targets are compared whatever their names are."""
    if len(old) == len(new) == 1:
        old = dict(zip(new, old.values(), strict=True))
    found = []
    for target in dict.fromkeys([*old, *new]):
        before = old[target] if target in old else _nothing_of(new[target])
        after = new[target] if target in new else _nothing_of(old[target])
        status = "added" if target not in old else "removed" if target not in new else "changed"
        moved: tuple[Move, ...] = ()
        if before.conda is not None and after.conda is not None:
            moved += conda_moves(before.conda, after.conda)
        if before.pip is not None and after.pip is not None:
            moved += moves(before.pip, after.pip)
        if moved or status != "changed":
            found.append(TargetDifference(target=target, status=status, moves=moved))
    return tuple(found)


def _nothing_of(other: Side) -> Side:
    """Return nothing, of the halves that the other side has."""
    return Side(pip=None if other.pip is None else (), conda=None if other.conda is None else ())
