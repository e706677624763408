"""Which names `from M import …` finds in a module, by its source alone, where that tells. Pure.

What a module makes in ways that its text does not show (`__getattr__` that hands names on, `globals()`, compiled parts)
is not guessed: such a module is open, and nothing is said of it.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping

import msgspec

#: What may put any name into any module.
_OPEN = ("exec(", "sys.modules", "setattr(", "global_enum", "_convert_(")
#: What a module is asked about its own names without any being added.
_READS = frozenset({"keys", "get", "items", "values", "copy", "pop"})
_NAMESPACES = frozenset({"globals", "locals", "vars"})
_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """The names of a module.

    Attributes:
        names: that it binds, and all its texts that could be names; sorted.
        open: it may have others.
        stars: modules all of whose names it takes, in full.
    """

    names: tuple[str, ...] = ()
    open: bool = False
    stars: tuple[str, ...] = ()


def exported(text: str, module: str, *, package: bool) -> Exported:
    """Return the names of a module.

    Args:
        text: its source.
        module: its dotted name.
        package: it is the `__init__.py` of a package.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Exported(open=True)
    names: set[str] = set()
    stars: list[str] = []
    is_open = any(each in text for each in _OPEN) or _adds(tree)
    for node in _own(tree.body):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            holder = _absolute(node, module, package=package)
            stars.append(holder)
        names.update(_bound(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            names.update(node.names)
    if "__getattr__" in names:
        functions = [each for each in _own(tree.body) if isinstance(each, _Function) and each.name == "__getattr__"]
        is_open = is_open or not functions or not all(map(_answers_to_texts, functions))
    # What a `__getattr__` answers to, and what a loop puts into `globals()`, stands in it as a text.
    texts = (each.value for each in ast.walk(tree) if isinstance(each, ast.Constant))
    names.update(each for each in texts if isinstance(each, str) and each.isidentifier())
    is_open = is_open or "" in stars
    return Exported(names=tuple(sorted(names)), open=is_open, stars=tuple(each for each in stars if each))


def lacks(found: Mapping[str, Exported], module: str, name: str) -> bool:
    """Whether a module certainly has no such name.

    Args:
        found: what is known of modules.
        module: dotted.
        name: that is imported from it.
    """
    waiting, seen = [module], {module}
    while waiting:
        each = found.get(waiting.pop())
        if each is None or each.open or name in each.names:
            return False
        waiting += [star for star in each.stars if star not in seen]
        seen.update(each.stars)
    # What begins with an underscore may be put there by a compiled part, or by Python itself.
    return not name.startswith("_")


def _absolute(node: ast.ImportFrom, module: str, *, package: bool) -> str:
    """Return the module that an import names, in full; empty where it leaves its package."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    above = parts[: len(parts) - node.level + (1 if package else 0)]
    return ".".join([*above, *([node.module] if node.module else [])]) if above else ""


def _own(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yield what runs as the module is imported, functions and classes themselves among it, and not what is in them."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, _Function | ast.ClassDef | ast.Lambda):
            # Decorators and defaults may bind names, too: `:=`.
            waiting += getattr(node, "decorator_list", [])
        else:
            waiting += list(ast.iter_child_nodes(node))


def _bound(node: ast.AST) -> Iterator[str]:
    if isinstance(node, _Function | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.alias) and node.name != "*":
        yield node.asname or node.name.partition(".")[0]
    elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name


def _adds(tree: ast.Module) -> bool:
    """Whether a module puts names into its own namespace that are not written in it as texts."""
    parents = {id(child): node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or getattr(node.func, "id", "") not in _NAMESPACES or node.args:
            continue
        parent = parents[id(node)]
        if isinstance(parent, ast.Compare) or (isinstance(parent, ast.Attribute) and parent.attr in _READS):
            continue
        if not isinstance(parent, ast.Subscript) or parent.value is not node:
            return True
        if isinstance(parent.ctx, ast.Store) and not _is_literal(parent, parents):
            return True
    return False


def _is_literal(stored: ast.Subscript, parents: dict[int, ast.AST]) -> bool:
    """Whether what a name in `globals()[name] = …` can be is written there, or in the loop around it."""
    if isinstance(stored.slice, ast.Constant):
        return True
    node: ast.AST | None = stored
    while node is not None:
        if isinstance(node, ast.For) and isinstance(stored.slice, ast.Name) and isinstance(node.target, ast.Name):
            items = node.iter.elts if isinstance(node.iter, ast.List | ast.Tuple | ast.Set) else [node.iter]
            return node.target.id == stored.slice.id and all(isinstance(each, ast.Constant) for each in items)
        node = parents.get(id(node))
    return False


def _answers_to_texts(function: _Function) -> bool:
    """Whether a `__getattr__` of a module answers only to names that stand in the module as texts.

    It does where the name is compared, shown, or looked up to be told that it is gone; handed on, it may be anything.
    """
    arguments = [*function.args.posonlyargs, *function.args.args]
    if len(arguments) != 1 or not any(isinstance(each, ast.Raise) for each in ast.walk(function)):
        return False
    name = arguments[0].arg
    harmless: set[int] = set()
    for node in ast.walk(function):
        if _is_shown(node):
            harmless |= {id(each) for each in ast.walk(node)}
    uses = [each for each in ast.walk(function) if isinstance(each, ast.Name) and each.id == name]
    return all(id(each) in harmless for each in uses)


def _is_shown(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        # `import_module(f"scipy.{name}")` gives modules, which are looked for as such.
        return called == "warn" or (called == "import_module" and [type(each) for each in node.args] == [ast.JoinedStr])
    if isinstance(node, ast.Subscript):
        return isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "globals"
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(each, ast.Constant) and " " in str(each.value) for each in node.values)
    return isinstance(node, ast.Raise | ast.Compare)
