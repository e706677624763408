"""Finds what an import gets in the image: the order of sys.path, the app's own modules, namespaces. Pure.

The inference server appends the app's root to sys.path, after the packages and after a folder of its own: the standard
library and every package go before a module of the app that has the same name, and the script's own folder is not on it
(azureml-inference-server-http 1.5: `amlserver.py`, `server/aml_blueprint.py`, `__init__.py`).
"""

from __future__ import annotations

import enum
import posixpath
from collections.abc import Collection, Sequence
from typing import NamedTuple

from packager.checks.installed import Installed
from packager.checks.known_modules import is_standard


class Kind(enum.Enum):
    """What an import gets."""

    APP_MODULE = "a module of the app"
    APP_PACKAGE = "a package of the app"
    NAMESPACE = "a folder without __init__.py"
    INSTALLED = "a package or the standard library"
    HIDDEN = "a module of the inference server"
    UNDECIDED = "may be in a package that could not be looked into"
    MISSING = "nothing"


class Found(NamedTuple):
    """What an import gets.

    Attributes:
        kind: what.
        paths: of a module or package of the app its file; of a namespace its folders in the app.
        failed: the part of the dotted name that is not there (`a.b` of `a.b.c`).
        own: a file of the app that has this name, and is not what the import gets.
        loose: whether `failed` could still be made at run time.
    """

    kind: Kind
    paths: tuple[str, ...] = ()
    failed: str = ""
    own: str | None = None
    loose: bool = False


class Search:
    """Finds modules for one image.

    Args:
        files: all files of the image that come from the user, by their absolute path in it.
        folders: those of them that hold a module, at any depth.
        installed: the packages.
        python: minor version.
        front: folders that go before everything on sys.path.
        back: folders that come after the packages.
    """

    def __init__(
        self,
        files: Collection[str],
        folders: Collection[str],
        installed: Installed,
        python: str,
        front: Sequence[str],
        back: Sequence[str],
    ) -> None:
        self._files, self._folders = files, folders
        self._installed, self._python = installed, python
        self.front, self.back = tuple(front), tuple(back)
        binary = (each for each in files if each.endswith(".so"))
        # `_core.cpython-313-x86_64-linux-gnu.so`, `_core.abi3.so` and `_core.so` are all the module `_core`.
        self._extensions = frozenset(
            posixpath.join(posixpath.dirname(each), posixpath.basename(each).partition(".")[0]) for each in binary
        )

    @property
    def packages(self) -> frozenset[str]:
        """Normalised names of the packages."""
        return self._installed.names

    def find(self, module: str, names: Sequence[str] = ()) -> Found:
        """Return what `import <module>` gets, or `from <module> import <names>`."""
        if self._installed.is_made(module):
            return Found(Kind.INSTALLED)
        parts = module.split(".")
        found = self._top(parts[0])
        for count in range(2, len(parts) + 1):
            if found.kind in (Kind.MISSING, Kind.UNDECIDED, Kind.HIDDEN):
                break
            found = self._below(found, ".".join(parts[:count]))
        # Of `from google.cloud import storage`, google-cloud-storage is the likely source, whatever brings `google`.
        asked = (module, *(f"{module}.{name}" for name in names))
        if found.kind is Kind.UNDECIDED and any(self._installed.may_hold(each) for each in asked):
            return Found(Kind.INSTALLED)
        return found

    def _top(self, name: str) -> Found:
        own = self._in(self.front, name)
        if own is not None and own.kind is not Kind.NAMESPACE:
            return own
        later = self._in(self.back, name)
        file = later.paths[0] if later is not None and later.kind is not Kind.NAMESPACE else None
        if is_standard(name, self._python) or self._installed.has(name):
            return Found(Kind.INSTALLED, own=file)
        hidden = self._installed.hidden_by_server(name)
        if hidden is not None:
            return Found(Kind.HIDDEN, failed=hidden, own=file)
        if later is not None and later.kind is not Kind.NAMESPACE:
            return later
        folders = (*(own.paths if own else ()), *(later.paths if later else ()))
        if folders or self._installed.is_namespace(name):
            return Found(Kind.NAMESPACE, folders)
        return self._nowhere(name)

    def _below(self, parent: Found, module: str) -> Found:
        above, _, name = module.rpartition(".")
        if parent.kind is Kind.APP_MODULE:
            return Found(Kind.MISSING, failed=module)
        if parent.kind is Kind.INSTALLED:
            return self._in_package(above, module)
        folders = parent.paths
        if parent.kind is Kind.APP_PACKAGE:
            folders = tuple(posixpath.dirname(each) for each in parent.paths)
        own = self._in(folders, name)
        if own is not None and own.kind is not Kind.NAMESPACE:
            return own
        if parent.kind is Kind.NAMESPACE and self._installed.has(module):
            return Found(Kind.INSTALLED)
        if own is not None or (parent.kind is Kind.NAMESPACE and self._installed.is_namespace(module)):
            return own or Found(Kind.NAMESPACE)
        return self._nowhere(module) if parent.kind is Kind.NAMESPACE else Found(Kind.MISSING, failed=module)

    def _in_package(self, above: str, module: str) -> Found:
        if self._installed.has(module) or is_standard(above.partition(".")[0], self._python):
            return Found(Kind.INSTALLED)
        if self._installed.is_namespace(module):
            return Found(Kind.INSTALLED)
        if self._installed.unknown or self._installed.is_changing(above):
            return Found(Kind.INSTALLED)
        return Found(Kind.MISSING, failed=module, loose=True)

    def _nowhere(self, module: str) -> Found:
        return Found(Kind.UNDECIDED if self._installed.unknown else Kind.MISSING, failed=module)

    def _in(self, folders: Sequence[str], name: str) -> Found | None:
        """Return what folders hold under a name: the first regular one, else the parts of a namespace."""
        parts = []
        for folder in folders:
            path = posixpath.join(folder, name)
            if f"{path}/__init__.py" in self._files:
                return Found(Kind.APP_PACKAGE, (f"{path}/__init__.py",))
            if f"{path}.py" in self._files:
                return Found(Kind.APP_MODULE, (f"{path}.py",))
            if path in self._extensions:
                return Found(Kind.APP_MODULE, ())
            if path in self._folders:
                parts.append(path)
        return Found(Kind.NAMESPACE, tuple(parts)) if parts else None

    def elsewhere(self, name: str) -> str | None:
        """Return a file of the app that would be this top-level module, were its folder on sys.path; the nearest."""
        ends = (f"/{name}.py", f"/{name}/__init__.py")
        return min(
            (each for each in self._files if each.endswith(ends)),
            key=lambda each: (each.count("/"), each),
            default=None,
        )
