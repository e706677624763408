"""The environment layer without an engine: the wheels of the lock, laid down for the image's platform and its Python.

Nothing of the packages is run. The same recipe gives the same paths, kinds, contents and executable bits on every
machine, whatever the user, umask, folder, time and state of uv's cache; times and other permission bits are for the
writer of the layer to fix (files are hard links into uv's cache, so they cannot be changed here).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from packager.environments.lock import LockedPackage
from packager.errors import LockError
from packager.laying.compile import Compiler
from packager.laying.recipe import Recipe
from packager.laying.records import Record, Row, collisions, differing, owners
from packager.laying.venv import STAGING, arrange, is_rewritten, read_records, site_of
from packager.laying.wheel_archives import require_safe
from packager.laying.wheels import Source, unpack
from packager.storage.listing import Listed, list_folder, totals
from packager.storage.reading import digest_file, failure

_REMEDY_CACHE = "run `uv cache clean {name}`, then the command again"


class LaidDown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An environment on disk, to become `/opt/env` in an image.

    Attributes:
        folder: its content is that of the prefix.
        files: how many.
        size: their bytes.
        reused: it was there already.
        listing: all that is in it.
        warnings: what is doubtful in it, in words.
    """

    folder: str
    files: int
    size: int
    reused: bool = False
    listing: tuple[Listed, ...] = ()
    warnings: tuple[str, ...] = ()


def lay_down(recipe: Recipe, folder: Path, source: Source, compiler: Compiler | None = None) -> LaidDown:
    """Lay an environment down in a folder that does not exist yet.

    Args:
        recipe: what.
        folder: its parent exists; the folder appears in one step when all is done.
        source: index settings of this machine.
        compiler: byte-compiles it; needed where the recipe says that it is.

    Raises:
        LockError: a wheel is not what was locked, is not valid, or is not there for this platform.
        TemporaryError: the index does not answer.
        ContextError: the disk is full or not writable.
    """
    with _staging(folder.parent) as staging:
        try:
            site = unpack(
                recipe.locked.packages, recipe.base.minor, recipe.locked.platform, recipe.locked.tags, source, staging
            )
            records = checked_records(recipe, staging, site, source)
            arrange(staging, records, recipe.base)
            if recipe.compiler and compiler:
                compiler.compile(staging, staging / site_of(recipe.base.minor), recipe.compiler)
            listing = list_folder(staging)
            staging.rename(folder)
        except OSError as error:
            raise failure("written", folder, error) from None
    files, size = totals(listing)
    return LaidDown(folder=str(folder), files=files, size=size, listing=listing, warnings=collisions(records))


@contextmanager
def _staging(parent: Path) -> Iterator[Path]:
    try:
        outer = Path(tempfile.mkdtemp(prefix=".laying-", dir=parent))
    except OSError as error:
        raise failure("written", parent, error) from None
    try:
        yield outer / f"{STAGING}0"
    finally:
        shutil.rmtree(outer, ignore_errors=True)


def checked_records(recipe: Recipe, staging: Path, site: str, source: Source) -> tuple[Record, ...]:
    """Return the records, every file being what its owner's wheel holds.

    Files differ where two wheels have one path (then uv leaves either, by chance), where uv's cache was edited through
    a hard link, and where a wheel's own RECORD is wrong.
    """
    from concurrent.futures import ThreadPoolExecutor

    # Looking at the archives is waiting for the index, for the most part.
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(require_safe, recipe.locked.packages, recipe.base.minor, recipe.locked.tags, source)
        try:
            return _true_records(recipe, staging, site, source)
        finally:
            looking.result()  # what it finds goes before what follows from that


def _true_records(recipe: Recipe, staging: Path, site: str, source: Source) -> tuple[Record, ...]:
    records = read_records(staging, site, recipe.base.minor)
    owned = owners(records)
    bad = differing(staging, owned)
    # Scripts that uv wrote for two packages of one name: `arrange` writes them anew.
    by_info = {path: owned[path][0].info for path in bad if not is_rewritten(staging / path)}
    truths: dict[str, Row] = {}
    for number, info in enumerate(sorted(set(by_info.values())), start=1):
        paths = {path: owned[path][1] for path, its in by_info.items() if its == info}
        truths |= _mended(recipe, staging, info, paths, source, number)
    return tuple(
        msgspec.structs.replace(record, rows=tuple(truths.get(row.path, row) for row in record.rows))
        if record.info in by_info.values()
        else record
        for record in records
    )


def _mended(
    recipe: Recipe, staging: Path, info: str, paths: dict[str, Row], source: Source, number: int
) -> dict[str, Row]:
    """Take some files of one package from its wheel alone; return the rows of those of which RECORD is wrong."""
    package = next(each for each in recipe.locked.packages if _is_info_of(info, each))
    wrong: dict[str, Row] = {}
    # First from uv's cache, which is enough where wheels collide; then past it.
    for fresh in (False, True):
        if fresh and source.offline:
            raise LockError(f"uv's cache of {package.name} was changed", remedy=_REMEDY_CACHE.format(name=package.name))
        other = staging.parent / f"{STAGING}{number}-{int(fresh)}"
        site = unpack(
            [package], recipe.base.minor, recipe.locked.platform, recipe.locked.tags, source, other, fresh=fresh
        )
        read_records(other, site, recipe.base.minor)
        wrong = {}
        for path, row in paths.items():
            if not (other / path).is_file():
                raise LockError(
                    f"the wheel of {package.name} lacks {path!r}",
                    remedy="take another version of it; or `installer: pip` in the spec, and "
                    "`packager build --builder engine`",
                )
            found = digest_file(other / path)
            if found.digest != row.digest:
                wrong[path] = msgspec.structs.replace(row, digest=found.digest, size=str(found.size))
        if not wrong:
            break
    for path in paths:
        (staging / path).unlink(missing_ok=True)
        os.replace(other / path, staging / path)
    return wrong


def _is_info_of(info: str, package: LockedPackage) -> bool:
    name = info.removesuffix(".dist-info").partition("-")[0]
    return name.replace("_", "-").replace(".", "-").lower() == package.name
