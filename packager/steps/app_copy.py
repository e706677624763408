"""A copy of a package's app that a service's container sees: edited scripts are taken without another image.

The image has the same files in the same place; what is mounted lies over them. Whatever is deployed or updated next is
an image again.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

from packager.checks.script import require_entry_script
from packager.context.sources import scan_sources
from packager.contract import APP_ROOT, FOLDER_MODE
from packager.errors import ContextError
from packager.plan.trees import Tree
from packager.serving.service import Mounted
from packager.spec.load import SpecFile


def write_app(spec_file: SpecFile, folder: Path) -> tuple[Mounted, ...]:
    """Write the app's files, those that an image would have, into a folder, and return what a container gets of it.

    Files that are there are written over, and not replaced: a container that sees one sees what is written.

    Args:
        spec_file: the spec.
        folder: for the copy alone; what else is in it goes.

    Raises:
        ContextError: a file cannot be read or written.
    """
    tree = _app(spec_file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(FOLDER_MODE)
        _remove_others(folder, tree)
        for name in tree.folders:
            (folder / name).mkdir(exist_ok=True)
            (folder / name).chmod(FOLDER_MODE)
        for file in tree.files:
            data = (spec_file.root / file.origin).read_bytes()
            path = folder / file.path
            if not path.is_file() or path.read_bytes() != data:
                path.write_bytes(data)
            path.chmod(file.mode)
    except OSError as error:
        raise ContextError(f"{error.filename or folder} cannot be copied: {error.strerror}") from None
    return _mounts(spec_file, folder, tree)


def app_mounts(spec_file: SpecFile, folder: Path) -> tuple[Mounted, ...]:
    """Return what a container gets of a copy; nothing is written.

    Raises:
        ContextError: a file cannot be read.
    """
    return _mounts(spec_file, folder, _app(spec_file))


def require_startable(spec_file: SpecFile) -> None:
    """Refuse an entry script that cannot start.

    Raises:
        ContextError: it cannot.
    """
    require_entry_script(spec_file)


def _mounts(spec_file: SpecFile, folder: Path, tree: Tree) -> tuple[Mounted, ...]:
    spec = spec_file.spec
    if spec.keep_source_dir:
        return (Mounted(folder=folder, path=f"{APP_ROOT}/{spec.source_dir}"),)
    # Beside them are the models.
    tops = sorted({file.path.partition("/")[0] for file in tree.files})
    return tuple(Mounted(folder=folder / top, path=f"{APP_ROOT}/{top}") for top in tops)


def _app(spec_file: SpecFile) -> Tree:
    without = msgspec.structs.replace(spec_file, spec=msgspec.structs.replace(spec_file.spec, models=()))
    return scan_sources(without, lambda *_: ("", 0)).app


def _remove_others(folder: Path, tree: Tree) -> None:
    kept = {*tree.folders, *(file.path for file in tree.files)}
    for where, folders, names in os.walk(folder, topdown=False):
        for name in (*names, *folders):
            path = Path(where, name)
            if path.relative_to(folder).as_posix() not in kept:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
