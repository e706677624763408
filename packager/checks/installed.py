"""Which modules the wheels of an environment bring, by their own RECORD. Pure.

Format: the packaging specifications "Binary distribution format" and "Recording installed projects".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from packaging.utils import canonicalize_name

from packager.checks.known_modules import SAME, SERVER_FOLDER, SERVER_MODULES, SERVER_PACKAGE
from packager.environments.declare.import_names import ALTERNATIVES, PACKAGES

#: The two ways in which a package with an `__init__.py` says that others have parts of it (pkgutil, pkg_resources).
_SHARES = re.compile(r"extend_path\(\s*__path__|declare_namespace\(\s*__name__")
_ENDINGS = (".so", ".py", ".pyc")


class WheelModules(msgspec.Struct, frozen=True, kw_only=True):
    """The modules of one wheel.

    Attributes:
        modules: dotted, packages among them; sorted.
        namespaces: of these, packages that other wheels and the app may have parts of.
        changing: of these, packages that may make modules at run time (they change `__path__` or `sys.modules`).
        for_numpy_1: compiled modules that load with NumPy 1 alone; sorted.
        gone: module → the modules that its import certainly imports, of those that Python or setuptools gave up.
        at_once: of `gone`, modules that are certainly imported with what is at the top of the wheel; sorted.
    """

    modules: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    changing: tuple[str, ...] = ()
    for_numpy_1: tuple[str, ...] = ()
    gone: dict[str, tuple[str, ...]] = {}
    at_once: tuple[str, ...] = ()


def modules_of(paths: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the modules among a wheel's files (relative to site-packages), and those that are packages with a file."""
    modules, packages = set(), set()
    for path in paths:
        ending = next((each for each in _ENDINGS if path.endswith(each)), None)
        if ending is None or path.startswith(("../", "/")) or "__pycache__" in path:
            continue
        *folders, name = path.split("/")
        # `_core.cpython-313-x86_64-linux-gnu.so` is the module `_core`.
        name = name.partition(".")[0] if ending == ".so" else name.removesuffix(ending)
        if not all(each.isidentifier() for each in (*folders, name)):
            continue
        if name == "__init__":
            packages.add(".".join(folders))
            modules.add(".".join(folders))
        elif name != "__main__":
            modules.add(".".join([*folders, name]))
    return frozenset(modules - {""}), frozenset(packages - {""})


def wheel_modules(paths: Sequence[str], texts: Mapping[str, str]) -> WheelModules:
    """Return the modules of one wheel.

    Args:
        paths: its files, relative to site-packages.
        texts: source of its upper modules, by dotted name.
    """
    modules, packages = modules_of(paths)
    shared = {name for name, text in texts.items() if _SHARES.search(text)}
    changing = {name for name, text in texts.items() if "__path__" in text or "sys.modules" in text}
    # What is compiled makes its modules below itself when it is loaded.
    changing |= modules_of(each for each in paths if each.endswith(".so"))[0]
    parents = {each.rpartition(".")[0] for each in modules}
    parents |= {".".join(each.split(".")[:count]) for each in parents for count in range(1, each.count(".") + 1)}
    namespaces = (parents - packages - modules - {""}) | shared
    return WheelModules(
        modules=tuple(sorted(modules)),
        namespaces=tuple(sorted(namespaces)),
        changing=tuple(sorted(changing - shared)),
    )


class Installed:
    """All modules of an environment.

    Args:
        wheels: name of each package that could be looked into → its modules.
        unknown: normalised names of those that could not.

    Attributes:
        for_numpy_1: compiled module that loads with NumPy 1 alone → its package.
        gone: module that imports some that Python or setuptools gave up → its package, and those.
        at_once: of these, modules that are imported with their package.
    """

    def __init__(self, wheels: Mapping[str, WheelModules], unknown: Iterable[str] = ()) -> None:
        self.unknown = frozenset(unknown)
        self.names = frozenset(wheels) | self.unknown
        self._modules: set[str] = set()
        self._namespaces: set[str] = set()
        self._changing: set[str] = set()
        self._made: frozenset[str] = frozenset()
        self.for_numpy_1 = {module: name for name, wheel in wheels.items() for module in wheel.for_numpy_1}
        self.gone = {module: (name, gone) for name, wheel in wheels.items() for module, gone in wheel.gone.items()}
        self.at_once = frozenset(module for wheel in wheels.values() for module in wheel.at_once)
        regular: set[str] = set()
        self._owners: dict[str, str | None] = {}
        for name, wheel in wheels.items():
            for module in wheel.modules:
                # What two wheels bring is that of the one that was laid down last.
                self._owners[module] = None if module in self._owners else name
            self._modules.update(wheel.modules)
            self._namespaces.update(wheel.namespaces)
            self._changing.update(wheel.changing)
            regular.update(set(wheel.modules) - set(wheel.namespaces))
        # All wheels share one folder: where one has an `__init__.py`, the parts of the others belong to it.
        self._namespaces -= regular
        if SERVER_PACKAGE in self.names:
            self._made = SERVER_MODULES
        if "setuptools" in self.names:
            # By its `distutils-precedence.pth`.
            self._modules.add("distutils")
            self._changing.add("distutils")

    def has(self, module: str) -> bool:
        """Whether a module or regular package of this name is there."""
        return module in self._modules and module not in self._namespaces

    def likely_owner(self, module: str) -> str | None:
        """Return the package that brings a module: by its list of files, or by its name where nobody looked into it."""
        if module in self._owners:
            return self._owners[module]
        return next((each for each in candidates(module) if each in self.unknown), None)

    def is_made(self, module: str) -> bool:
        """Whether a module is there though its parents need not be: the inference server makes it when it starts."""
        return module in self._made

    def is_namespace(self, module: str) -> bool:
        """Whether packages have parts of a namespace of this name."""
        return module in self._namespaces

    def is_changing(self, module: str) -> bool:
        """Whether the package of this name, or one that holds it, may make modules at run time."""
        parts = module.split(".")
        return any(".".join(parts[:count]) in self._changing for count in range(1, len(parts) + 1))

    def hidden_by_server(self, name: str) -> str | None:
        """Return the module of the inference server that a top-level import gets, whatever the app has."""
        module = f"{SERVER_FOLDER}.{name}"
        return module if name != "__init__" and module in self._modules else None

    def tops_of(self, name: str) -> tuple[str, ...]:
        """Return the modules by which a package is imported: the one at its top, or of several that of its name."""
        tops = sorted({each.partition(".")[0] for each, owner in self._owners.items() if owner == name})
        named = [each for each in tops if name in candidates(each)]
        return tuple(named or tops[:1] if len(tops) == 1 or named else ())

    def may_hold(self, module: str) -> bool:
        """Whether one of the packages that could not be looked into is named as the one that brings this module."""
        return bool(self.unknown & {*candidates(module)})


def candidates(module: str) -> list[str]:
    """Return the packages that a module is likely from, the likeliest first; normalised."""
    parts = module.split(".")
    names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    found: list[str] = []
    for name in names:
        if name in PACKAGES:
            found.append(PACKAGES[name])
        found += ALTERNATIVES.get(name, ())
    # `google.cloud.storage` is from google-cloud-storage, `numpy.linalg` from numpy.
    found += [str(canonicalize_name(name)) for name in names]
    return list(dict.fromkeys(found))


def provider(module: str) -> str | None:
    """Return the package that is known to bring a module."""
    parts = module.split(".")
    names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((PACKAGES[name] for name in names if name in PACKAGES), parts[0] if parts[0] in SAME else None)
