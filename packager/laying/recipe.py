"""What an environment is made from, as values: its recipe names it before anything is laid down. Pure."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import msgspec

from packager.environments.conda import CondaPackage
from packager.environments.lock import LockedPackage
from packager.errors import LockError
from packager.plan.plan import Environment
from packager.spec.model import canonical

#: Of the way an environment is laid out: a higher number makes all cached ones anew.
LAYOUT = 1


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
    """An interpreter of this machine.

    Attributes:
        path: of it.
        version: in full, as it says.
    """

    path: str
    version: str


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """All that an environment depends on.

    Attributes:
        packages: of this platform.
        platform: OCI os/arch.
        tags: the platform in uv's words (`x86_64-manylinux_2_28`).
        base: the interpreter in the base image.
        compiler: what byte-compiles it; None where nothing is compiled.
        layout: `LAYOUT`.
    """

    packages: tuple[LockedPackage, ...]
    platform: str
    tags: str
    base: BasePython
    compiler: Interpreter | None = None
    layout: int = LAYOUT

    @property
    def key(self) -> str:
        """sha256 of the recipe, 64 hex digits."""
        return _key(self)


def make_recipe(
    environment: Environment, platform: str, tags: str, base: BasePython, *, compiler: Interpreter | None = None
) -> Recipe:
    """Return the recipe of a plan's environment. Pure.

    Raises:
        LockError: a package is to be built from source, or the base has another Python than the lock is for.
    """
    if environment.from_source:
        raise needs_engine(f"{', '.join(environment.from_source)}: `build_from_source` runs the code of the package")
    if base.minor != environment.python:
        raise LockError(
            f"the base has Python {base.version}, the lock is for {environment.python}",
            remedy=f"take a base with Python {environment.python}, or set `python: '{base.minor}'` and lock again",
        )
    packages = tuple(msgspec.structs.replace(each, platforms=()) for each in environment.packages)
    return Recipe(packages=packages, platform=platform, tags=tags, base=base, compiler=compiler)


#: Of the way a conda environment is laid out: a higher number makes all cached ones anew.
CONDA_LAYOUT = 1


class CondaRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """All that a conda environment depends on.

    Attributes:
        conda: its packages, of this platform.
        packages: pip's half, of this platform.
        subdir: the platform, in conda's words.
        platform: OCI os/arch.
        tags: the platform in uv's words (`x86_64-manylinux_2_28`).
        python: minor version that conda brings.
        tool: version of py-rattler, which writes scripts and records.
        compiler: what byte-compiles it; None where nothing is compiled.
        layout: `CONDA_LAYOUT`.
    """

    conda: tuple[CondaPackage, ...]
    packages: tuple[LockedPackage, ...]
    subdir: str
    platform: str
    tags: str
    python: str
    tool: str
    compiler: Interpreter | None = None
    layout: int = CONDA_LAYOUT

    @property
    def key(self) -> str:
        """sha256 of the recipe, 64 hex digits."""
        return _key(self)


def make_conda_recipe(environment: Environment, platform: str, *, compiler: Interpreter | None = None) -> CondaRecipe:
    """Return the recipe of a plan's conda environment."""
    from importlib.metadata import PackageNotFoundError, version

    assert environment.conda is not None, "asked only where there is one"
    tool = ""
    with suppress(PackageNotFoundError):  # told by who needs it
        tool = version("py-rattler")
    return CondaRecipe(
        conda=environment.conda.packages,
        packages=tuple(msgspec.structs.replace(each, platforms=()) for each in environment.packages),
        subdir=environment.conda.subdir,
        platform=platform,
        tags=environment.wheels,
        python=environment.python,
        tool=tool,
        compiler=compiler,
    )


def needs_engine(message: str) -> LockError:
    """Return the error for what cannot be had without running code."""
    return LockError(message, remedy="build it with an engine: `packager build --builder engine`")


def _key(recipe: Recipe | CondaRecipe) -> str:
    # Where the compiler is on this machine is not in it; its version is.
    compiler = recipe.compiler and msgspec.structs.replace(recipe.compiler, path="")
    return hashlib.sha256(canonical(msgspec.structs.replace(recipe, compiler=compiler))).hexdigest()
