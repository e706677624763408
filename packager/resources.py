"""What travels with the package: the folders `templates/` and `environments/`, and the programs that run elsewhere."""

from __future__ import annotations

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
