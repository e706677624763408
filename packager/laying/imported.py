"""Which compiled files an environment loads when it is imported, told from the packages' source without running it.

A module counts that the packages, or the entry script, import whatever happens: at their top level, and in what they
call there. What stands in a `try` that goes on without it, in a function that nothing calls on import, or in no import
at all is optional: plugins, providers, pools of threads.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

import msgspec

from packager.storage.listing import Listed

_SITE = re.compile(r"lib/python3\.\d+/site-packages/")
# conda has the standard library in the environment; its modules are imported where packages say so.
_LIBRARY = re.compile(r"lib/python3\.\d+/(?:lib-dynload/)?")
_MODULE = re.compile(r"([\w/]+)(?:\.py|(?:\.cpython-[^/.]+|\.abi3)?\.so)")
_SOURCE_BYTES = 4 << 20
# A missing library is an ImportError of the module that needs it (and no ModuleNotFoundError), an OSError of ctypes.
_OF_IMPORT = {"ImportError", "Exception", "BaseException"}
_OF_LOADING = {"OSError", "Exception", "BaseException"}
# What ctypes, cffi and NumPy call what loads a library.
_LOADERS = {"CDLL", "PyDLL", "LoadLibrary", "dlopen", "load_library"}
_LONGEST_NAME = 256


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """The app that is started on an environment.

    Attributes:
        modules: dotted name → file on this machine, of all Python files of the app.
        entry: name of the entry script; empty where there is none.
    """

    modules: Mapping[str, str] = {}
    entry: str = ""


def loaded_on_import(
    folder: Path, listing: Iterable[Listed], libraries: Collection[str], script: Script | None = None
) -> frozenset[str]:
    """Return the compiled files that are loaded when all packages of an environment and the entry script are imported.

    Args:
        folder: of the environment.
        listing: all that is in it.
        libraries: compiled files that are asked about, relative to the folder: those that a package may load by name.
        script: the app.

    Returns:
        Paths relative to the folder: extension modules, and those of `libraries` that a package loads by ctypes.
    """
    script = script or Script()
    names, roots = _modules_of(folder, listing)
    walk = _Walk({**names, **script.modules})
    for root in roots:
        walk.reach(root)
    if script.entry:
        walk.reach(script.entry, called=("init", "run"))
    walk.finish()
    start = f"{folder}/"
    imported = {path.removeprefix(start) for path in walk.compiled if path.startswith(start)}
    return frozenset(imported | set(_by_name(walk.named, libraries)))


def _modules_of(folder: Path, listing: Iterable[Listed]) -> tuple[dict[str, str], list[str]]:
    """Return the modules of an environment, name → file, and those at its top."""
    names: dict[str, str] = {}
    packages, top = set(), []
    for each in listing:
        if each.kind != "file" or not each.path.endswith((".py", ".so")):
            continue
        site = _SITE.match(each.path)
        place = site or _LIBRARY.match(each.path)
        found = _MODULE.fullmatch(each.path, place.end()) if place else None
        if found is None:
            continue
        name = found[1].replace("/", ".")
        if name.endswith(".__init__"):
            name = name.removesuffix(".__init__")
            packages.add(name)
        # As the import system: a compiled module goes before a Python one, a package before both.
        if name not in names or each.path.endswith((".so", "/__init__.py")):
            names[name] = f"{folder}/{each.path}"
        if site:
            top.append(name)
    # Below a namespace package (`google`), the first that is one of its own.
    return names, [
        name
        for name in dict.fromkeys(top)
        if (name in packages or "." not in name) and not any(parent in packages for parent in _parents(name))
    ]


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _by_name(named: Mapping[str, set[str]], libraries: Collection[str]) -> Iterator[str]:
    """Yield libraries whose name stands in a package that loads some by ctypes; packages by their first folder."""
    for path in libraries:
        place = _SITE.match(path)
        if place is None:
            continue
        texts = named.get(path[place.end() :].partition("/")[0].removesuffix(".libs"), set())
        file = path.rpartition("/")[2]
        if file in texts or file.partition(".")[0] in texts:
            yield path


class _Walk:
    """Follows imports from module to module, each once."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._waiting: list[tuple[str, tuple[str, ...]]] = []
        self._seen: set[str] = set()
        self.compiled: set[str] = set()
        self.named: dict[str, set[str]] = {}
        self._texts: dict[str, _Texts] = {}

    def reach(self, name: str, called: tuple[str, ...] = ()) -> None:
        """Import a module, its parents first."""
        for each in (*reversed([*_parents(name)]), name):
            if each not in self._seen and each in self._names:
                self._seen.add(each)
                self._waiting.append((each, called if each == name else ()))

    def finish(self) -> None:
        """Follow all that was reached."""
        while self._waiting:
            name, called = self._waiting.pop()
            path = self._names[name]
            if path.endswith(".so"):
                self.compiled.add(path)
            else:
                self._read(name, path, called)
        self.named = {package: texts.read() for package, texts in self._texts.items()}

    def _read(self, name: str, path: str, called: tuple[str, ...]) -> None:
        try:
            data = Path(path).read_bytes()
            tree = ast.parse(data) if len(data) <= _SOURCE_BYTES else None
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            return  # what Python cannot read either fails there, by its own words
        if tree is None:
            return
        package = name if path.endswith("/__init__.py") else name.rpartition(".")[0]
        for wanted in _Executed(tree, package).run(called):
            self.reach(wanted)
        self._texts.setdefault(name.partition(".")[0], _Texts()).add(tree)


class _Executed:
    """What of a module runs when it is imported, and the modules that this imports."""

    def __init__(self, tree: ast.Module, package: str) -> None:
        self._tree, self._package = tree, package
        self._functions = {
            node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        self._called: set[str] = set()
        self._found: dict[str, None] = {}

    def run(self, called: Iterable[str]) -> Iterable[str]:
        self._block(self._tree.body)
        for name in called:
            self._call(name)
        return self._found

    def _block(self, body: Iterable[ast.stmt]) -> None:
        for node in body:
            self._statement(node)

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Import():
                self._found |= dict.fromkeys(each.name for each in node.names)
            case ast.ImportFrom():
                self._import_from(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._expressions(chain(node.decorator_list, node.args.defaults, filter(None, node.args.kw_defaults)))
            case ast.ClassDef():
                self._expressions(chain(node.decorator_list, node.bases))
                self._block(node.body)
            case ast.If():
                self._if(node)
            case ast.Try() | ast.TryStar():
                if not _goes_on(node, _OF_IMPORT):
                    self._block(chain(node.body, node.orelse))
                self._block(node.finalbody)
            case ast.With() | ast.AsyncWith():
                if not any(_called(each.context_expr).endswith("suppress") for each in node.items):
                    self._expressions(each.context_expr for each in node.items)
                    self._block(node.body)
            case ast.For() | ast.While():
                self._block(chain(node.body, node.orelse))
            case ast.Match():
                pass
            case _:
                self._expressions([node])

    def _if(self, node: ast.If) -> None:
        # `if HAS_CUDA:` and `if find_spec("x"):` ask whether something is there; versions and platforms do not.
        if any(isinstance(each, ast.Call) for each in ast.walk(node.test)) or _is_main(node.test):
            return
        if not isinstance(node.test, ast.Name | ast.Attribute):
            self._block(node.body)
        self._block(node.orelse)

    def _import_from(self, node: ast.ImportFrom) -> None:
        module = self._absolute(node.module or "", node.level)
        if module:
            self._found |= dict.fromkeys([module, *(f"{module}.{each.name}" for each in node.names)])

    def _absolute(self, module: str, level: int) -> str:
        if not level:
            return module
        parts = self._package.split(".")
        kept = parts[: len(parts) - level + 1]
        return ".".join([*kept, module] if module else kept)

    def _expressions(self, nodes: Iterable[ast.AST]) -> None:
        for call in (each for node in nodes for each in ast.walk(node) if isinstance(each, ast.Call)):
            name = _called(call)
            if name in self._functions:
                self._call(name)
            elif name.rpartition(".")[2] in ("import_module", "__import__") and call.args:
                wanted = call.args[0].value if isinstance(call.args[0], ast.Constant) else None
                if isinstance(wanted, str):
                    bare = wanted.lstrip(".")
                    module = self._absolute(bare, len(wanted) - len(bare))
                    # A package may put its own folder first in the search, to import the compiled module of its name.
                    self._found |= dict.fromkeys([module, f"{self._package}.{bare}"])

    def _call(self, name: str) -> None:
        if name in self._functions and name not in self._called:
            self._called.add(name)
            self._block(self._functions[name].body)


def _called(node: ast.AST) -> str:
    """Return the name that a call calls (`importlib.import_module`); empty where it is none."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) and _is_name(node.func) else ""


def _is_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_name(node.value))


def _goes_on(node: ast.Try | ast.TryStar, errors: Collection[str]) -> bool:
    """Whether a `try` catches one of some errors and does not raise it, or another one, again."""
    for handler in node.handlers:
        kinds = [] if handler.type is None else list(ast.walk(handler.type))
        names = {each.id for each in kinds if isinstance(each, ast.Name)}
        if handler.type is None or names & set(errors):
            return not any(isinstance(each, ast.Raise) for each in handler.body)
    return False


def _is_main(test: ast.expr) -> bool:
    return any(isinstance(each, ast.Constant) and each.value == "__main__" for each in ast.walk(test))


class _Unit:
    """Of a function, a class, or a module outside them: texts that may name a library, and names that are called."""

    def __init__(self) -> None:
        self.texts: set[str] = set()
        self.calls: set[str] = set()


class _Texts:
    """The texts of a package that are read when it is imported; what calls what is told by name alone."""

    def __init__(self) -> None:
        self._top = _Unit()
        self._defined: dict[str, list[_Unit]] = {}

    def add(self, tree: ast.Module) -> None:
        self._collect(tree.body, self._top)

    def read(self) -> set[str]:
        """Return the texts of what runs; none where none of it loads a library."""
        texts, waiting, seen = set(self._top.texts), list(self._top.calls), set(self._top.calls)
        while waiting:
            for unit in self._defined.get(waiting.pop(), ()):
                texts |= unit.texts
                waiting += unit.calls - seen
                seen |= unit.calls
        return texts if seen & _LOADERS else set()

    def _collect(self, body: Iterable[ast.AST], unit: _Unit) -> None:
        waiting = list(body)
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < _LONGEST_NAME:
                unit.texts.add(node.value.rpartition("/")[2])
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and unit is self._top:
                own = _Unit()
                self._defined.setdefault(node.name, []).append(own)
                self._collect(node.body, own)
                self._collect(node.decorator_list, unit)
            elif isinstance(node, ast.Try) and _goes_on(node, _OF_LOADING):
                # One place after the other may be tried for one library: what is called there counts, its names do not.
                unit.calls.update(_called(each).rpartition(".")[2] for part in node.body for each in ast.walk(part))
                waiting += [*node.handlers, *node.orelse, *node.finalbody]
            else:
                if isinstance(node, ast.Call):
                    unit.calls.add(_called(node).rpartition(".")[2])
                waiting += ast.iter_child_nodes(node)
