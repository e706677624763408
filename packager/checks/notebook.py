"""What only a notebook has: names that IPython puts there, left in a script that was exported from one. Pure."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

from packager.finding import Finding, Severity

#: Names that IPython puts among the built-in ones, and no other Python has.
_INJECTED = frozenset({"get_ipython", "display"}) - frozenset(dir(builtins))
_CATCHES = frozenset({"NameError", "Exception", "BaseException"})


def notebook_findings(tree: ast.Module, file: str, *, sure: bool = True) -> Iterator[Finding]:
    """Yield each name of IPython that a module uses and nothing in it makes; an error where it runs as it is imported.

    Args:
        tree: of the module.
        file: its path, for the findings.
        sure: whether the module is certainly imported.
    """
    names = _INJECTED - _bound(tree)
    told: set[str] = set()
    for name, line, certain in _used(tree.body, names, True) if names else ():
        if name not in told:
            told.add(name)
            severity: Severity = "error" if certain and sure else "warning"
            yield Finding(
                rule="notebook-name",
                severity=severity,
                message=f"{name}() is there in a notebook alone: in the image it is a NameError",
                file=file,
                line=line,
                remedy="remove the line; what it installed goes into the environment of the spec",
            )


def _bound(tree: ast.Module) -> set[str]:
    """Return every name that a module binds, anywhere in it; all of them where it imports `*`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found |= _INJECTED if node.name == "*" else {node.asname or node.name.partition(".")[0]}
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
    return found


def _used(body: list[ast.stmt], names: frozenset[str] | set[str], certain: bool) -> Iterator[tuple[str, int, bool]]:
    """Yield name, line, and whether it is certainly reached when the module is imported."""
    for node in body:
        inner = [getattr(node, field, []) for field in ("body", "orelse", "finalbody")]
        if isinstance(node, ast.Try) and any(map(_catches, node.handlers)):
            inner = [node.orelse, node.finalbody]
        for each in _expressions(node):
            if isinstance(each, ast.Name) and each.id in names:
                yield each.id, each.lineno, certain
        for block in inner:
            yield from _used(block, names, certain and isinstance(node, ast.With | ast.Try | ast.ClassDef))
        for handler in getattr(node, "handlers", ()):
            yield from _used(handler.body, names, False)
        for case in getattr(node, "cases", ()):
            yield from _used(case.body, names, False)


def _expressions(node: ast.stmt) -> Iterator[ast.AST]:
    """Yield the expressions of a statement, without those of the statements in it."""
    waiting: list[ast.AST] = [node]
    while waiting:
        each = waiting.pop()
        yield each
        outer = ast.stmt | ast.ExceptHandler | ast.match_case | ast.Lambda
        waiting += [child for child in ast.iter_child_nodes(each) if not isinstance(child, outer)]


def _catches(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return handler.type is None or any(isinstance(each, ast.Name) and each.id in _CATCHES for each in kinds)
