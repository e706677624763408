"""Which packages the models of a folder need, told by what is in their pickles: nothing is loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from packaging.version import InvalidVersion

from packager.checks.installed import provider
from packager.checks.pickled_models import needed_modules
from packager.environments.declare.no_code import newest_python
from packager.models.pickle_reader import PickleFacts, read_pickle
from packager.models.readers import PICKLES

#: What scikit-learn brings itself; by joblib's own module a pickle was written, and the script imports joblib.
_BROUGHT = frozenset({"numpy", "scipy", "joblib"})
_MOST_FILES = 64


class ModelPackage(msgspec.Struct, frozen=True, kw_only=True):
    """A package that a model needs.

    Attributes:
        name: of the package.
        version: that the model was saved with; empty where it does not say one.
        file: of the model.
    """

    name: str
    version: str
    file: str

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.name}=={self.version}" if self.version else self.name


def model_packages(folder: Path, models: Sequence[str], scripts: Collection[str]) -> tuple[ModelPackage, ...]:
    """Return the packages that the pickles among models need, sorted by name; those alone that are known by a module.

    Args:
        folder: that all is relative to.
        models: files and folders.
        scripts: Python files of the folder, whose modules come from no package.
    """
    local = {part for path in scripts for part in path.removesuffix(".py").split("/")}
    found: dict[str, ModelPackage] = {}
    for file in _pickles(folder, models):
        facts = _facts(folder / file)
        if facts is None:
            continue
        tops = {module for module in needed_modules(facts) if module.partition(".")[0] not in local}
        names = {name for module in tops if not _is_standard(module) and (name := provider(module)) is not None}
        for name in sorted(names - _BROUGHT if names - _BROUGHT else names):
            version = facts.sklearn[0] if name == "scikit-learn" and len(facts.sklearn) == 1 else ""
            found.setdefault(name, ModelPackage(name=name, version=version, file=file))
    return tuple(found[name] for name in sorted(found))


def newest_of(packages: Sequence[ModelPackage]) -> str | None:
    """Return the newest minor version of Python for which scikit-learn's version has wheels; None where any has."""
    for each in packages:
        if each.name == "scikit-learn" and each.version:
            with suppress(InvalidVersion):
                return newest_python("sklearn", each.version)
    return None


def _is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _pickles(folder: Path, models: Sequence[str]) -> Iterator[str]:
    count = 0
    for model in models:
        files = [model]
        if (folder / model).is_dir():
            inside = (Path(where) / name for where, _, names in os.walk(folder / model) for name in sorted(names))
            files = [path.relative_to(folder).as_posix() for path in inside]
        for file in files:
            if file.endswith(PICKLES) and count < _MOST_FILES:
                count += 1
                yield file


def _facts(path: Path) -> PickleFacts | None:
    try:
        with path.open("rb") as file:
            return read_pickle(file)
    except OSError:
        return None  # whoever packages it says so
