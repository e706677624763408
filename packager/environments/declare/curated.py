"""Curated environments: `environments/<name>/`, each an environment.yml with what was locked of it."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import msgspec

from packager.environments.declare.conda_file import Parts, read_conda_file
from packager.environments.declare.conda_python import settle_python
from packager.environments.lock import Lock, LockedPackage
from packager.environments.locks.files import parse_lock, parse_requirements, read_file, requirements_path
from packager.errors import Location, SpecError
from packager.resources import data_folder
from packager.spec.document import read_text

FILE = "environment.yml"


class Curated(msgspec.Struct, frozen=True, kw_only=True):
    """One curated environment.

    Attributes:
        name: of its folder.
        description: one sentence: the first of the comment that the file starts with.
        remarks: the rest of that comment, a paragraph each.
        text: of its environment.yml.
        parts: what that asks.
        python: minor version.
        lock: what was locked; empty where nothing was.
    """

    name: str
    description: str
    remarks: tuple[str, ...]
    text: str
    parts: Parts
    python: str
    lock: Lock

    @property
    def platforms(self) -> dict[str, tuple[str, ...]]:
        """Target → the platforms that it is locked for."""
        return {name: tuple(locked.request.platforms) for name, locked in self.lock.targets.items()}


def curated_names() -> tuple[str, ...]:
    """Return the names of all curated environments, sorted."""
    return tuple(sorted(path.parent.name for path in data_folder("environments").glob(f"*/{FILE}")))


def load_curated(name: str, where: Location | None = None) -> Curated:
    """Return a curated environment by its name.

    Args:
        name: of its folder.
        where: who asks for it; named in the error.

    Raises:
        SpecError: there is none.
    """
    names = curated_names()
    if name not in names:
        close = get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise SpecError(
            f"there is no curated environment {name!r}", where=where, remedy=f"{hint}there are {', '.join(names)}"
        )
    return read_curated(data_folder("environments") / name)


def read_curated(folder: Path) -> Curated:
    """Read the folder of a curated environment.

    Raises:
        SpecError: its environment.yml is not valid, or fixes no Python.
        LockError: its lock is not valid.
    """
    where = Location(file=str(folder / FILE))
    text = read_text(folder / FILE)
    parts = read_conda_file(folder, folder, Path(FILE))
    python, _ = settle_python(parts.specs, None, where)
    if python is None:
        raise SpecError("a curated environment names one minor version of Python", where=where)
    paragraphs = _comment(text)
    lock = read_file(folder / "packager.lock")
    return Curated(
        name=folder.name,
        description=paragraphs[0],
        remarks=paragraphs[1:],
        text=text,
        # Its files are not the user's: they are no inputs of their lock.
        parts=msgspec.structs.replace(parts, files=()),
        python=python,
        lock=Lock() if lock is None else parse_lock(lock, f"{folder.name}/packager.lock"),
    )


def _comment(text: str) -> tuple[str, ...]:
    """Return the paragraphs of the comment that a file starts with."""
    paragraphs = [""]
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        words = line.lstrip("#").strip()
        if words:
            paragraphs[-1] = f"{paragraphs[-1]} {words}".strip()
        elif paragraphs[-1]:
            paragraphs.append("")
    return tuple(each for each in paragraphs if each) or ("",)


def locked_packages(curated: Curated, target: str) -> tuple[LockedPackage, ...]:
    """Return what was locked of a curated environment for a target; nothing where it was not.

    Raises:
        LockError: its requirements file was broken.
    """
    text = preferences(curated.name, target)
    locked = curated.lock.targets.get(target)
    return parse_requirements(text, locked.request.platforms) if text and locked else ()


def preferences(name: str, target: str) -> str | None:
    """Return the text of a curated environment's requirements file for a target; None where it is not locked.

    An environment that stands on it prefers these versions.

    Raises:
        LockError: the file cannot be read.
    """
    return read_file(data_folder("environments") / name / requirements_path(target))
