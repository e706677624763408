"""What an environment is made from, as values: its recipe names it before anything is laid down. Pure."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import msgspec

from packager.contract import ENVIRONMENT_PREFIX
from packager.environments.locked import LockedPlatform
from packager.errors import LockError
from packager.spec.model import canonical

#: Of the way an environment is laid out: a higher number makes all cached ones anew.
LAYOUT = 2

#: Of the way files are byte-compiled (`programs/stage/compile.py`): a higher number compiles all anew.
COMPILING = 1


class BasePython(msgspec.Struct, frozen=True, kw_only=True):
    """The interpreter of a base image.

    Attributes:
        path: absolute, as the environment's links name it (`/usr/local/bin/python3`).
        version: as far as it is known: minor (`3.13`) or in full.
    """

    path: str
    version: str

    @property
    def minor(self) -> str:
        """`3.13`."""
        return ".".join(self.version.split(".")[:2])


class Interpreter(msgspec.Struct, frozen=True, kw_only=True):
    """An interpreter that runs on this machine.

    Attributes:
        command: the words that start it.
        variables: what it needs besides, to find its library.
    """

    command: tuple[str, ...]
    variables: dict[str, str] = {}


class NeedsEngineError(LockError):
    """What was locked turned out to need a container: its own code has to run."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """All that an environment depends on.

    Attributes:
        locked: what it holds.
        base: the interpreter in the base image; where conda brings Python, the one in the environment itself.
        tool: version of py-rattler, which writes conda's scripts and records; empty for pip alone.
        compiler: version, in full, of the Python that byte-compiles it; empty where nothing is compiled.
        layout: `LAYOUT`.
    """

    locked: LockedPlatform
    base: BasePython
    tool: str = ""
    compiler: str = ""
    layout: int = LAYOUT

    @property
    def key(self) -> str:
        """sha256 of the recipe, 64 hex digits."""
        locked = self.locked
        content = (locked.packages, locked.conda_packages, locked.platform, locked.tags)
        compiler = (self.compiler, COMPILING) if self.compiler else None
        rest = (self.base, self.tool, compiler, self.layout)
        return hashlib.sha256(canonical((content, rest))).hexdigest()


def make_recipe(locked: LockedPlatform, base: BasePython | None, *, compiler: str = "") -> Recipe:
    """Return the recipe of a locked environment.

    Args:
        locked: what it holds.
        base: the interpreter in the base image; not looked at where conda brings Python.
        compiler: version in full of the Python that byte-compiles it; empty where nothing is compiled.

    Raises:
        LockError: a package is to be built from source, or the base has another Python than the lock is for.
    """
    if locked.conda:
        own = BasePython(path=f"{ENVIRONMENT_PREFIX}/bin/python3", version=locked.python)
        return Recipe(locked=locked, base=own, tool=_rattler_version(), compiler=compiler)
    if locked.from_source:
        raise needs_engine(f"{', '.join(locked.from_source)}: `build_from_source` runs the code of the package")
    assert base is not None, "an environment of pip alone uses the base's Python"
    if base.minor != locked.python:
        raise LockError(
            f"the base has Python {base.version}, the lock is for {locked.python}",
            remedy=f"take a base with Python {locked.python}, or set `python: '{base.minor}'` and lock again",
        )
    return Recipe(locked=locked, base=base, compiler=compiler)


def needs_engine(message: str) -> LockError:
    """Return the error for what cannot be had without running code."""
    return LockError(message, remedy="build it with an engine: `packager build --builder engine`")


def _rattler_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    with suppress(PackageNotFoundError):  # told by who needs it
        return version("py-rattler")
    return ""
