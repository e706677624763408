"""Where the spec is: in the folder that is named, else in the current one or in the nearest above it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from packager.errors import UsageError

DEFAULT_FILE = "packager.yaml"
#: The names of a spec that nobody has to give; of two in one folder the first is read.
NAMES = (DEFAULT_FILE, "packager.yml")


def spec_in(folder: Path) -> Path:
    """Return the path of a folder's spec; where it has none, that which it would have."""
    return next((folder / name for name in NAMES if (folder / name).exists()), folder / DEFAULT_FILE)


def find_spec(here: Path, home: Path) -> Path | None:
    """Return the spec of a folder, or of the nearest folder above it that has one; None where there is none.

    Nothing above the home folder is looked at, nor the home folder itself, unless it is where one stands: a spec there
    would be that of everything. A file whose owner is not that of the folder where one stands is passed over, because
    in a folder that many may write to (/tmp) it could be anybody's.

    Args:
        here: the folder where the search begins.
        home: of the user.
    """
    if (found := spec_in(here)).exists():
        return found
    owner = here.stat().st_uid
    for folder in here.parents:
        if folder == home:
            return None
        if (found := spec_in(folder)).is_file() and found.stat().st_uid == owner:
            return found
    return None


def chosen_spec(file: Path | None, named: Path | None, say: Callable[[str], None], warn: Callable[[str], None]) -> Path:
    """Return the path of the spec that a command works on.

    Args:
        file: that `-f` gives.
        named: the argument SPEC: the file, or its folder.
        say: is told which one was taken, where it is not in the current folder and nobody named it.
        warn: is told that a second one is not read.

    Raises:
        UsageError: both name one.
    """
    if file is not None and named is not None:
        raise UsageError(f"-f {file} and {named} name two specs", remedy="keep one of them")
    path = file if file is not None else named
    if path is None:
        here = Path.cwd()
        found = find_spec(here, Path.home())
        path = Path(DEFAULT_FILE) if found is None else found
        if found is not None and found.parent == here:
            path = Path(found.name)
        elif found is not None:
            say(f"spec: {found}")
    elif path.is_dir():
        path = spec_in(path)
    if path.name == DEFAULT_FILE and path.exists() and (path.parent / NAMES[1]).exists():
        warn(f"{path.parent / NAMES[1]} is not read: {path} is beside it (-f {path.parent / NAMES[1]} reads it)")
    return path


def looks_like_spec(text: str) -> bool:
    """Whether an argument that may be another thing, as a reference or a package, is meant as a spec or its folder.

    No reference and no name of a package begins with `.` or `/`.
    """
    return text.startswith((".", "/")) or (text.endswith((".yaml", ".yml")) and Path(text).is_file())
