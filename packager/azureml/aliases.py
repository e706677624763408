"""`import azureml…` answered by `packager.azureml…`, for scripts that are to run as they are."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from packager.errors import UsageError

_THEIRS, _OURS = "azureml", __name__.rpartition(".")[0]


class _Alias(Loader):
    """Gives the module that has another name; it is loaded once, under its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just written the alias's own into it.
        module.__spec__ = self._spec


class _Finder(MetaPathFinder):
    """Finds modules of `azureml`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of ours under its v1 name.

        Raises:
            ModuleNotFoundError: `packager.azureml` has no such module; it says what is not here.
        """
        if fullname != _THEIRS and not fullname.startswith(f"{_THEIRS}."):
            return None
        name = _OURS + fullname.removeprefix(_THEIRS)
        found = find_spec(name)
        if found is None:
            raise ModuleNotFoundError(
                f"No module named {fullname!r}: packager has of Azure ML v1 what registers, packages, deploys and asks "
                "models (docs/reference/azureml.md)",
                name=fullname,
            )
        return ModuleSpec(
            fullname, _Alias(name), origin=found.origin, is_package=found.submodule_search_locations is not None
        )


def install() -> None:
    """Let `import azureml…` give `packager.azureml…` from now on, in this process; again is no change.

    Raises:
        UsageError: the real azureml-core is imported already, and its classes would stand beside ours.
    """
    if any(isinstance(each, _Finder) for each in sys.meta_path):
        return
    real = sorted(
        name
        for name, module in list(sys.modules.items())
        if (name == _THEIRS or name.startswith(f"{_THEIRS}.")) and module is not None
    )
    if real:
        where = getattr(sys.modules[real[-1]], "__file__", None) or "a package without files"
        raise UsageError(
            f"{real[-1]} is imported already, from {where}: its classes and packager's would be mixed",
            remedy="restart the kernel, and call packager.azureml.install() before anything imports azureml",
        )
    sys.meta_path.insert(0, _Finder())
