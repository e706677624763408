"""What travels with the package: the folders `templates/` and `environments/`, and the programs that run elsewhere."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path

from packager.errors import PackagerError

_PACKAGE = Path(__file__).parent


def data_folder(name: str) -> Path:
    """Return a data folder: inside an installed wheel, else beside the package in a checkout (editable install).

    Raises:
        PackagerError: the installation lacks it.
    """
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise PackagerError(f"the installation of packager lacks its folder {name!r}", remedy="install packager again")


def program(path: str) -> Path:
    """Return the file of a program that runs elsewhere, by its path below `packager/programs`."""
    return _PACKAGE / "programs" / path


@functools.cache
def own_stamp() -> str:
    """Return what changes with any file of our code, templates or data: what is remembered is of this code alone.

    Asked once: a process keeps what it has read of them.
    """
    files = [each for folder in (_PACKAGE, *map(data_folder, ("templates", "environments"))) for each in _stats(folder)]
    return "\n".join(sorted(files))


def _stats(folder: Path | str) -> Iterator[str]:
    with os.scandir(folder) as found:
        for each in found:
            if each.is_dir():
                if each.name != "__pycache__":
                    yield from _stats(each.path)
            else:
                stat = each.stat()
                yield f"{each.path} {stat.st_size} {stat.st_mtime_ns}"
