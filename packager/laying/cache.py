"""Environments that were laid down before, kept whole: the same recipe is not laid down twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from packager.decoding import decode_json
from packager.laying.environment import LaidDown, lay_down
from packager.laying.recipe import Recipe
from packager.laying.wheels import Source
from packager.progress import working
from packager.storage.collect import Guard, Kind
from packager.storage.content import content_guard
from packager.storage.listing import list_folder, stamp
from packager.storage.locks import turn
from packager.storage.reading import failure


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered beside a cached environment: the result, and what tells that nobody changed it."""

    laid: LaidDown
    stamp: str


def environment_folder(cache_root: Path, key: str) -> Path:
    """Return where the environment of a key is kept."""
    return cache_root / "environments" / key


def cached(
    recipe: Recipe, cache_root: Path, source: Source, make: Callable[[Recipe, Path, Source], LaidDown] = lay_down
) -> LaidDown:
    """Return an environment of the cache, laid down if it is not there or somebody changed it.

    Two processes that want the same one make it once: the second waits.

    Args:
        recipe: of the environment.
        cache_root: the folder of all that packager remembers.
        source: settings of this machine.
        make: makes it, for a folder that does not exist yet.

    Raises:
        LockError, TemporaryError, ContextError: as `lay_down`.
    """
    folder = environment_folder(cache_root, recipe.key)
    note = folder.with_suffix(".json")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with turn(folder.with_suffix(".lock")):
            known = _known(note, folder)
            if known is not None:
                os.utime(note)  # it was used: see `environment_kind`
                return known
            note.unlink(missing_ok=True)
            if folder.exists():
                shutil.rmtree(folder)
            with working(f"laying down {recipe.locked.size} packages"):
                laid = make(recipe, folder, source)
            kept = _Note(laid=msgspec.structs.replace(laid, listing=()), stamp=stamp(laid.listing))
            note.write_bytes(msgspec.json.encode(kept))
            return laid
    except OSError as error:
        raise failure("written", folder, error) from None


def _known(note: Path, folder: Path) -> LaidDown | None:
    with suppress(FileNotFoundError, msgspec.DecodeError):
        known = decode_json(note.read_bytes(), _Note)
        if not folder.is_dir():
            return None
        listing = list_folder(folder)
        # An edit of a file in another virtual environment is one of this file too, through uv's hard links.
        if known.stamp == stamp(listing):
            return msgspec.structs.replace(known.laid, reused=True, listing=listing)
    return None


def environment_kind(cache_root: Path) -> Kind:
    """Return the laid-down environments of a cache; a build reads one after it let go of its lock."""
    return Kind(
        name="laid-down environment",
        root=cache_root / "environments",
        patterns=("[!.]*",),
        things="folder",
        cost=1,
        marker=".json",
        beside=(".json",),
        guards=(Guard(), content_guard(cache_root)),
    )
