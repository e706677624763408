"""The environment layer of a conda environment without an engine: conda's packages, then pip's half merged into them.

Nothing of the packages is run. As with `environment`, the same recipe gives the same paths, kinds, contents and
executable bits everywhere; times and other permission bits are for the writer of the layer.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from packager.contract import ENVIRONMENT_PREFIX
from packager.errors import LockError
from packager.laying.compile import Compiler
from packager.laying.conda_packages import lay_packages
from packager.laying.environment import LaidDown, checked_records
from packager.laying.recipe import NeedsEngineError, Recipe
from packager.laying.records import collisions
from packager.laying.venv import STAGING, arrange, site_of
from packager.laying.wheels import Source, unpack
from packager.programs.stage.settle import scripts_that_matter
from packager.storage.listing import list_folder, totals
from packager.storage.reading import failure


def conda_layer(
    cache: Path, mirrors: dict[str, str], compiler: Compiler | None = None
) -> Callable[[Recipe, Path, Source], LaidDown]:
    """Return `lay_down_conda` for a folder of downloads and mirrors of channels, which are no part of a recipe."""
    return lambda recipe, folder, source: lay_down_conda(recipe, folder, source, cache, mirrors, compiler)


def lay_down_conda(
    recipe: Recipe,
    folder: Path,
    source: Source,
    cache: Path,
    mirrors: dict[str, str],
    compiler: Compiler | None = None,
) -> LaidDown:
    """Lay a conda environment down in a folder that does not exist yet.

    Args:
        recipe: what.
        folder: its parent exists; the folder appears in one step when all is done.
        source: settings of this machine.
        cache: where downloads of conda packages are kept.
        mirrors: conda channel → where to fetch from in its place.
        compiler: byte-compiles it; needed where the recipe says that it is.

    Raises:
        NeedsEngineError: a package has a link script that does more than talk.
        LockError: a package is not what was locked, or is gone; both halves want one path.
        TemporaryError: a channel or the index does not answer.
        ContextError: the disk is full or not writable.
    """
    try:
        outer = Path(tempfile.mkdtemp(prefix=".laying-", dir=folder.parent))
    except OSError as error:
        raise failure("written", folder.parent, error) from None
    try:
        prefix = outer / "prefix"
        records = lay_packages(
            recipe.locked.conda_packages,
            recipe.locked.subdir,
            ENVIRONMENT_PREFIX,
            prefix,
            cache,
            mirrors=mirrors,
            environ=source.environ,
        )
        scripts = scripts_that_matter(prefix, records)
        if scripts:
            raise NeedsEngineError(
                f"the post-link script of {', '.join(scripts)} has to run in a container",
                remedy="`packager build --builder engine`",
            )
        warnings: tuple[str, ...] = ()
        if recipe.locked.packages:
            wheels, warnings = _wheels(recipe, outer / f"{STAGING}0", source)
            merge(wheels, prefix)
        if recipe.compiler and compiler:
            site = prefix / site_of(recipe.locked.python)
            for each in (site.parent, site):
                compiler.compile(prefix, each, recipe.compiler)
        listing = list_folder(prefix)
        prefix.rename(folder)
    except OSError as error:
        raise failure("written", folder, error) from None
    finally:
        shutil.rmtree(outer, ignore_errors=True)
    files, size = totals(listing)
    return LaidDown(folder=str(folder), files=files, size=size, listing=listing, warnings=warnings)


def _wheels(recipe: Recipe, staging: Path, source: Source) -> tuple[Path, tuple[str, ...]]:
    """Lay pip's half down beside conda's, as an environment without an interpreter; return it, and warnings."""
    locked = recipe.locked
    site = unpack(locked.packages, locked.python, locked.platform, locked.tags, source, staging)
    records = checked_records(recipe, staging, site, source)
    arrange(staging, records, recipe.base)
    for name in ("pyvenv.cfg", "lib64", "bin/python", "bin/python3", f"bin/python{locked.python}"):
        (staging / name).unlink(missing_ok=True)
    return staging, collisions(records)


def merge(source: Path, prefix: Path) -> None:
    """Move what is in a folder into an environment; a file takes the place of another, as pip does it.

    Raises:
        LockError: a file is wanted where there is a folder, or a folder where there is none.
    """
    for entry in sorted(os.scandir(source), key=lambda each: each.name):
        target = prefix / entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder and target.is_dir() and not target.is_symlink():
            merge(Path(entry.path), target)
        elif os.path.lexists(target) and (is_folder or target.is_dir()):
            raise LockError(
                f"a wheel and a conda package both bring {entry.name!r}, one as a folder",
                remedy="take one of the two from the other half of the environment",
            )
        else:
            os.rename(entry.path, target)
