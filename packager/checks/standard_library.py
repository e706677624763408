"""The names that modules of the standard library export, by the source of this machine's own; nothing is imported."""

from __future__ import annotations

import functools
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

import msgspec

from packager.checks.exported import Exported, exported


def standard_exported(modules: Iterable[str], python: str) -> dict[str, Exported]:
    """Return the names of modules of the standard library; of one that has no source here, nothing.

    Args:
        modules: dotted.
        python: minor version of the image. Where it is not this one, names that some version has and another has not
            are taken to be there.
    """
    found: dict[str, Exported] = {}
    waiting = list(modules)
    same = python == f"3.{sys.version_info[1]}"
    while waiting:
        module = waiting.pop()
        if module not in found:
            read = _read(module)
            names = read.names if same else (*read.names, *_varying().get(module, ()))
            found[module] = msgspec.structs.replace(read, names=tuple(names))
            waiting += read.stars
    return found


def _read(module: str) -> Exported:
    folder = Path(sysconfig.get_path("stdlib"))
    for end, package in (("/__init__.py", True), (".py", False)):
        path = folder / (module.replace(".", "/") + end)
        if path.is_file():
            read = exported(path.read_text("utf-8", "replace"), module, package=package)
            below = {each.name.partition(".")[0] for each in path.parent.iterdir()} if package else set()
            return msgspec.structs.replace(read, names=(*read.names, *below))
    return Exported(open=True)


@functools.cache
def _varying() -> dict[str, tuple[str, ...]]:
    """Return module → the names that not every version has; `scripts/standard_names.py` makes the file."""
    lines = (Path(__file__).parent / "standard_names.txt").read_text("utf-8").splitlines()
    return {module: tuple(names) for module, *names in (line.split() for line in lines)}
