"""What a wheel's modules were made for and may no longer find: the ABI of NumPy 1, modules that are gone. Pure.

A compiled module says itself which NumPy it was compiled for: NumPy's `import_array()` is compiled into it with its
messages. Those of NumPy 2's headers name the oldest release that the module runs with ("… (NumPy 1.23) but the running
NumPy …"); those of NumPy 1's do not, and such a module stops its import under NumPy 2 (seen with 40 wheels).
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from mmap import mmap

import msgspec

from packager.checks.constants import Scope
from packager.checks.installed import Installed
from packager.checks.known_modules import REMOVED, is_standard
from packager.checks.module_facts import MAX_SOURCE, Sure, caught, condition
from packager.checks.module_reader import bind_import

#: Modules that packages import and that some Python, or some setuptools, has no longer.
GONE_MODULES = frozenset({*REMOVED, "pkg_resources"})

_OF_EITHER = b"module compiled against ABI version"
_OF_NUMPY_2 = re.compile(rb"\(NumPy [0-9.]+\)")
_NAMES = "|".join(sorted(GONE_MODULES)).encode()
_MENTION = re.compile(rb"^[ \t]*(?:import|from)\b[^\n#]*\b(?:" + _NAMES + rb")\b", re.MULTILINE)


class Certain(msgspec.Struct, frozen=True):
    """An import that runs whenever its module is imported, and is not caught; relative ones are made absolute."""

    module: str
    names: tuple[str, ...]


def needs_numpy_1(data: bytes | mmap) -> bool:
    """Whether a compiled module was compiled for NumPy 1 alone."""
    return data.find(_OF_EITHER) >= 0 and _OF_NUMPY_2.search(data) is None


def gone_imports(source: bytes, module: str, python: str, *, package: bool) -> tuple[str, ...]:
    """Return those of `GONE_MODULES` that a module's import certainly imports, sorted; see `certain_imports`."""
    if _MENTION.search(source) is None:  # a quick look, before its text is parsed
        return ()
    found = {each.module.partition(".")[0] for each in certain_imports(source, module, python, package=package)}
    return tuple(sorted(found & GONE_MODULES))


def certain_imports(source: bytes, module: str, python: str, *, package: bool) -> tuple[Certain, ...]:
    """Return what a module's import certainly imports; nothing where its text cannot be read.

    What stands in a function, in `try: … except ImportError:`, or under a condition that does not certainly hold in
    this Python is left out.

    Args:
        source: its text.
        module: its dotted name.
        python: minor version (`3.13`).
        package: it is the `__init__.py` of a package.
    """
    tree = _parsed(source)
    if tree is None:
        return ()
    scope = _scope(tree)
    holder = module if package else module.rpartition(".")[0]
    found: dict[Certain, None] = {}
    for node in _certain(tree.body, python, scope):
        if isinstance(node, ast.Import):
            found |= {Certain(each.name, ()): None for each in node.names}
        elif target := _absolute(node.module or "", node.level, holder):
            found[Certain(target, tuple(each.name for each in node.names))] = None
    return tuple(found)


def _certain(body: Iterable[ast.stmt], python: str, scope: Scope) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If):
            holds = condition(node.test, python, scope.dotted)
            if holds is not None:
                yield from _certain(node.body if holds else node.orelse, python, scope)
        elif (isinstance(node, ast.Try | ast.TryStar | ast.With) and caught(node) is Sure.CERTAIN) or isinstance(
            node, ast.ClassDef
        ):
            yield from _certain(node.body, python, scope)


def _scope(tree: ast.Module) -> Scope:
    """Return what the names of a module's conditions are, of those that its imports give: `sys`, `version_info`."""
    scope = Scope()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            bind_import(node, scope)
    return scope


def _parsed(source: bytes) -> ast.Module | None:
    if len(source) > MAX_SOURCE:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def bound_names(source: bytes, package: str) -> frozenset[str]:
    """Return the names that an `__init__.py` binds to anything but its own modules of these names.

    Args:
        source: its text.
        package: its dotted name.
    """
    tree = _parsed(source)
    if tree is None:
        return frozenset()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import):
            names.update(each.asname for each in node.names if each.asname)
        elif isinstance(node, ast.ImportFrom) and _absolute(node.module or "", node.level, package) != package:
            names.update(each.asname or each.name for each in node.names)
    return frozenset(names)


def missing_modules(installed: Installed, versions: Mapping[str, str], python: str) -> frozenset[str]:
    """Return those of `GONE_MODULES` that an environment certainly has not.

    Args:
        installed: its modules, as far as they are known.
        versions: of its packages.
        python: minor version.
    """
    # A package that nobody looked into may bring what its name says: `standard-imghdr`, `legacy-cgi`.
    perhaps = {part for name in installed.unknown for part in re.split(r"[-_.]", name)}
    if "setuptools" in versions:
        perhaps.add("distutils")
    if "setuptools" in installed.unknown:
        perhaps.add("pkg_resources")
    return frozenset(
        name
        for name in GONE_MODULES - perhaps
        if not is_standard(name, python) and not installed.has(name) and not installed.is_namespace(name)
    )


def needs_other_numpy(versions: Mapping[str, str]) -> bool:
    """Whether an environment has a NumPy with which modules compiled for NumPy 1 do not load."""
    major = versions.get("numpy", "0").partition(".")[0]
    return major.isdigit() and int(major) > 1


def _absolute(module: str, level: int, holder: str) -> str:
    if not level:
        return module
    parts = holder.split(".")
    above = parts[: len(parts) - level + 1]
    return ".".join([*above, *([module] if module else [])]) if level <= len(parts) and holder else ""
