"""What packager keeps of environments on this machine: conda packages, and the environments of `environment run`.

Both are in packager's cache, and can be made again: `conda/<subdir>/<package>/` is rattler's cache of unpacked
packages, `prefixes/<key>/` an environment. Who uses one holds a shared lock meanwhile (`packager.storage.locks`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from packager.storage.collect import Guard, Kind

PACKAGES, PREFIXES = "conda", "prefixes"


def used(paths: Iterable[Path]) -> None:
    """Note that folders were of use now."""
    for path in paths:
        with suppress(OSError):
            os.utime(path)


def package_kind(cache: Path) -> Kind:
    """Return the unpacked conda packages of a cache; all stay while any is being laid down."""
    root = cache / PACKAGES
    return Kind(
        name="conda package",
        root=root,
        patterns=("[!.]*/[!.]*",),
        things="folder",
        cost=2,
        beside=(".lock",),  # rattler's, with its note of the package
        guards=(Guard(over=root),),
    )


def prefix_kind(cache: Path, kept: Iterable[str] = ()) -> Kind:
    """Return the environments of a cache that programs of this machine run in.

    Args:
        cache: the folder of all that packager remembers.
        kept: paths of those that a service is started in again.
    """
    return Kind(
        name="local environment",
        root=cache / PREFIXES,
        patterns=("[!.]*",),
        things="folder",
        cost=1,
        guards=(Guard(),),
        kept=frozenset(kept),
    )
