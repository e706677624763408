"""Follows imports from the entry script through the app's own modules. Pure but for the function that reads.

What a module is reached by tells how surely it runs: a helper that only a function imports is only possible.
"""

from __future__ import annotations

import ast
import errno
import posixpath
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from packager.checks.constants import World
from packager.checks.installed import Installed
from packager.checks.module_facts import MAX_SOURCE, Facts, Import, PathChange, Sure, read_facts
from packager.checks.module_search import Found, Kind, Search
from packager.checks.notebook import notebook_findings
from packager.finding import Finding


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks need to know of an image.

    Attributes:
        entry: path of the entry script in the image.
        root: of the app.
        python: minor version.
        files: of app and models: path in the image → path for people, relative to the spec.
        texts: content of those that packager made.
        folders: those of them that hold a module, at any depth.
        environ: its environment variables.
        unset: variables that are certainly not set.
        models: name and version → path of the model's one top entry.
    """

    entry: str
    root: str
    python: str
    files: dict[str, str]
    folders: frozenset[str]
    environ: dict[str, str]
    unset: frozenset[str] = frozenset()
    models: dict[tuple[str, int], str] = {}
    texts: dict[str, str] = {}

    def model_path(self, name: str, version: int | None) -> str | None:
        """Return what `Model.get_model_path` answers."""
        found = {number: path for (called, number), path in self.models.items() if called == name}
        return found.get(max(found) if version is None else version) if found else None


class Module(NamedTuple):
    """A module of the app that is reached.

    Attributes:
        path: in the image.
        package: the dotted package by which its relative imports go; None for the entry script, which has none.
        sure: how surely it is imported.
        facts: what its text tells.
    """

    path: str
    package: str | None
    sure: Sure
    facts: Facts


class Imported(NamedTuple):
    """One import of a reached module, and what it gets."""

    module: Module
    target: str
    statement: Import
    found: Found


class Reached(NamedTuple):
    """All modules that are reached, what they import, and what stopped the reading of one."""

    modules: tuple[Module, ...]
    imported: tuple[Imported, ...]
    problems: tuple[Finding, ...]
    search: Search


def reach(image: Image, installed: Installed, read: Callable[[str], bytes]) -> Reached:
    """Follow the imports of the entry script.

    Args:
        image: the image.
        installed: its packages.
        read: returns the content of a file by its path in the image; raises OSError (EFBIG of a large one).
    """
    texts = _Sources(image, read)
    changes: tuple[PathChange, ...] = ()
    while True:
        front, back = _roots(image, changes)
        walk = _Walk(image, Search(image.files, image.folders, installed, image.python, front, back), texts)
        reached = walk.run()
        # A module that is reached may put a folder on sys.path, by which others are reached; there are only so many.
        now = tuple(dict.fromkeys(each for module in reached.modules for each in module.facts.changes))
        if {*now} <= {*changes}:
            return reached
        changes = tuple(dict.fromkeys((*changes, *now)))


def _roots(image: Image, changes: tuple[PathChange, ...]) -> tuple[list[str], list[str]]:
    front = [each for each in image.environ.get("PYTHONPATH", "").split(":") if each]
    front = [posixpath.normpath(posixpath.join(image.root, each)) for each in front]
    # The server has both on sys.path; they are one where the app's folder is the working directory.
    back = [image.root, image.environ.get("AZUREML_SOURCE_DIRECTORY", image.root)]
    for change in changes:
        if change.folder is not None:
            folder = posixpath.normpath(posixpath.join(image.root, change.folder))
            (front if change.front else back).append(folder)
    return list(dict.fromkeys(front)), list(dict.fromkeys(back))


class _Sources:
    """Facts of each module, read once, however often imports are followed."""

    def __init__(self, image: Image, read: Callable[[str], bytes]) -> None:
        self._image, self._read = image, read
        self._facts: dict[str, tuple[Facts, tuple[Finding, ...]]] = {}

    def facts(self, path: str) -> tuple[Facts, tuple[Finding, ...]]:
        if path not in self._facts:
            self._facts[path] = self._parse(path)
        return self._facts[path]

    def _parse(self, path: str) -> tuple[Facts, tuple[Finding, ...]]:
        image, shown = self._image, self._image.files[path]
        try:
            source = self._read(path)
            if len(source) > MAX_SOURCE:
                raise OSError(errno.EFBIG, "")
            minor = int(image.python.partition(".")[2])
            with warnings.catch_warnings():
                # Of what Python finds odd in the user's text; it is theirs to see when it runs.
                warnings.simplefilter("ignore")
                tree = ast.parse(source, feature_version=(3, minor) if minor <= sys.version_info[1] else None)
            world = World(path, image.root, image.environ, image.unset, image.model_path)
            certain = frozenset({"init", "run"}) if path == image.entry else frozenset()
            # `check_entry_script` looks for them in the entry script. A helper may be imported by a function alone.
            problems = () if path == image.entry else tuple(notebook_findings(tree, shown, sure=False))
            return read_facts(tree, world, image.python, certain), problems
        except OSError as error:
            large = f"is larger than {MAX_SOURCE} bytes, and was not looked into"
            said = large if error.errno == errno.EFBIG else f"cannot be read: {error.strerror}"
            return Facts(), (_unread(shown, said),)
        except (RecursionError, MemoryError):
            return Facts(), (_unread(shown, "is nested too deeply, and was not looked into"),)
        except (SyntaxError, ValueError) as error:
            # `check_entry_script` has said it of the entry script already, unless it is valid in a newer Python.
            told = path == image.entry and not _is_valid(source)
            return Facts(), () if told else (_syntax(error, shown, image.python),)


def _is_valid(source: bytes) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(source)
        except (SyntaxError, ValueError):
            return False
    return True


def _unread(file: str, message: str) -> Finding:
    return Finding(rule="source-unread", severity="info", message=message, file=file)


def _syntax(error: SyntaxError | ValueError, file: str, python: str) -> Finding:
    message = getattr(error, "msg", None) or str(error)
    ours = f"3.{sys.version_info[1]}"
    newer = int(python.partition(".")[2]) > sys.version_info[1]
    return Finding(
        rule="source-syntax",
        severity="warning" if newer else "error",
        message=f"not valid Python {ours if newer else python}: {message}" + (f" (read with {ours})" if newer else ""),
        file=file,
        line=getattr(error, "lineno", None),
        remedy=f"the image has Python {python}; run `packager check` with it to be sure" if newer else None,
    )


class _Walk:
    """One walk over the modules, the surest first, so that each is looked at once."""

    def __init__(self, image: Image, search: Search, sources: _Sources) -> None:
        self._image, self._search, self._sources = image, search, sources
        self._modules: dict[str, Module] = {}
        self._imported: list[Imported] = []
        self._problems: list[Finding] = []

    def run(self) -> Reached:
        waiting: dict[Sure, list[tuple[str, str | None]]] = {
            Sure.CERTAIN: [(self._image.entry, None)],
            Sure.PERHAPS: [],
        }
        for sure, paths in waiting.items():
            while paths:
                path, package = paths.pop(0)
                if path in self._modules:
                    continue
                facts, problems = self._sources.facts(path)
                self._problems += problems
                module = Module(path, package, sure, facts)
                self._modules[path] = module
                for each in facts.imports:
                    reached = min(sure, each.sure)
                    for name, found in self._follow(module, each):
                        if reached is not Sure.NEVER:
                            waiting[reached] += self._files(name, found)
        return Reached(tuple(self._modules.values()), tuple(self._imported), tuple(self._problems), self._search)

    def _follow(self, module: Module, statement: Import) -> list[tuple[str, Found]]:
        target = _absolute(module, statement)
        if target is None:
            self._imported.append(Imported(module, statement.module, statement, Found(Kind.MISSING)))
            return []
        found = [(target, self._search.find(target, statement.names))] if target else []
        for _, each in found:
            self._imported.append(Imported(module, target, statement, each))
        holder = found[0][1] if found else Found(Kind.NAMESPACE)
        if holder.kind in (Kind.APP_PACKAGE, Kind.NAMESPACE):
            # What is imported from a package may be a module of it; from a namespace it can be nothing else.
            for name in statement.names:
                below = self._search.find(f"{target}.{name}") if name != "*" else holder
                if below.kind not in (Kind.MISSING, Kind.UNDECIDED) or holder.kind is Kind.NAMESPACE:
                    found.append((f"{target}.{name}", below))
                    self._imported.append(Imported(module, f"{target}.{name}", statement, below))
        return found

    def _files(self, name: str, found: Found) -> list[tuple[str, str | None]]:
        """Return the modules of the app that an import runs, those of the packages above it included."""
        files: list[tuple[str, str | None]] = []
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            part = ".".join(parts[:count])
            each = found if count == len(parts) else self._search.find(part)
            if each.kind is Kind.APP_PACKAGE:
                files += [(path, part) for path in each.paths]
            elif each.kind is Kind.APP_MODULE:
                files += [(path, part.rpartition(".")[0]) for path in each.paths]
        return files


def _absolute(module: Module, statement: Import) -> str | None:
    """Return the dotted name that an import asks for; None of a relative one that leaves its package."""
    if not statement.level:
        return statement.module
    if not module.package:
        return None
    parts = module.package.split(".")
    if statement.level > len(parts):
        return None
    above = parts[: len(parts) - statement.level + 1]
    return ".".join([*above, statement.module] if statement.module else above)


def unclear_paths(reached: Reached) -> Mapping[str, int]:
    """Return where sys.path is changed in a way that the text does not tell: file → line."""
    return {
        module.path: change.line
        for module in reached.modules
        for change in module.facts.changes
        if change.folder is None
    }
