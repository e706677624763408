"""Which modules of a laid-down environment are certainly imported, and by way of which others; nothing is run.

More is imported than is told here: by functions that are called, by names that are made. What is told is certain.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from packager.checks.made_for import Certain, bound_names, certain_imports

#: Modules of one walk: far above what any environment imports at once.
_MOST = 20_000


def ways(
    site: Path, starts: Sequence[Sequence[Certain]], wanted: Collection[str], python: str
) -> list[dict[str, tuple[str, ...]]]:
    """Return how some modules are reached: module → the modules on the way to it, the first and itself last.

    Args:
        site: folder of the packages.
        starts: imports that certainly run; what those of one group reach is not told again for the next.
        wanted: modules that are asked about.
        python: minor version.

    Returns:
        of each group what it reaches.
    """
    walk = _Walk(site, python)
    told: set[str] = set()
    found = []
    for group in starts:
        walk.follow(group)
        found.append({name: walk.way(name) for name in sorted(wanted) if name in walk.reached and name not in told})
        told |= found[-1].keys()
    return found


class _Walk:
    def __init__(self, site: Path, python: str) -> None:
        self._site, self._python = site, python
        self._listed: dict[str, frozenset[str]] = {}
        self._bound: dict[str, frozenset[str]] = {}
        self.reached: dict[str, str | None] = {}

    def follow(self, imports: Iterable[Certain]) -> None:
        """Follow imports to the end, breadth first, so that the shortest way is told."""
        waiting = [name for each in imports for name in self._import(each, None)]
        for name in waiting:
            if len(self.reached) > _MOST:
                break
            for each in self._imports(name):
                waiting += self._import(each, name)

    def way(self, name: str) -> tuple[str, ...]:
        """Return the modules on the way to one that is reached."""
        found = [name]
        while (before := self.reached[found[-1]]) is not None:
            found.append(before)
        return tuple(reversed(found))

    def _import(self, wanted: Certain, by: str | None) -> Iterator[str]:
        yield from self._reach(wanted.module, by)
        for name in wanted.names:
            if name != "*" and not self._binds(wanted.module, name, by):
                yield from self._reach(f"{wanted.module}.{name}", by)

    def _reach(self, name: str, by: str | None) -> Iterator[str]:
        """Yield a module, its parents first, those that were not reached before."""
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            each = ".".join(parts[:count])
            if self._file(each) is None and not self._is_folder(each):
                return
            if each not in self.reached:
                self.reached[each] = by
                yield each

    def _imports(self, name: str) -> tuple[Certain, ...]:
        path = self._file(name)
        if path is None or not path.endswith(".py"):
            return ()
        try:
            source = (self._site / path).read_bytes()
        except OSError:
            return ()
        return certain_imports(source, name, self._python, package=path.endswith("/__init__.py"))

    def _binds(self, package: str, name: str, by: str | None) -> bool:
        """Whether `from package import name` may get something else than the module of that name."""
        path = self._file(package)
        if path is None or not path.endswith("/__init__.py") or package == by:
            return False
        if package not in self._bound:
            try:
                self._bound[package] = bound_names((self._site / path).read_bytes(), package)
            except OSError:
                self._bound[package] = frozenset()
        return name in self._bound[package]

    def _file(self, name: str) -> str | None:
        """Return the file of a module, as the import system finds it: a package, a compiled module, one of Python."""
        folder, _, last = name.replace(".", "/").rpartition("/")
        there = self._list(folder)
        if last in there and "__init__.py" in self._list(f"{folder}/{last}" if folder else last):
            return f"{folder}/{last}/__init__.py".lstrip("/")
        compiled = next((each for each in there if each.endswith(".so") and each.partition(".")[0] == last), None)
        file = compiled or (f"{last}.py" if f"{last}.py" in there else None)
        return None if file is None else f"{folder}/{file}".lstrip("/")

    def _is_folder(self, name: str) -> bool:
        return bool(self._list(name.replace(".", "/")))

    def _list(self, folder: str) -> frozenset[str]:
        if folder not in self._listed:
            try:
                self._listed[folder] = frozenset(os.listdir(self._site / folder))
            except OSError:
                self._listed[folder] = frozenset()
        return self._listed[folder]
