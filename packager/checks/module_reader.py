"""Walks the syntax tree of one module once, with the scope of each name and how surely each line runs. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from packager.checks import module_facts as facts
from packager.checks.constants import MODEL_DIR, Evaluator, Scope, World
from packager.checks.module_facts import Import, NameUse, PathChange, PathUse, Sure

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_BLOCKS = ("body", "orelse", "finalbody")


class Reader:
    """Collects the facts of one module; see `module_facts.read_facts`."""

    def __init__(self, world: World, python: str, certain: frozenset[str]) -> None:
        self._world, self._python, self._certain = world, python, certain
        self._evaluator = Evaluator(world)
        self._imports: list[Import] = []
        self._dynamic: list[int] = []
        self._changes: list[PathChange] = []
        self._paths: list[PathUse] = []
        self._calls: list[facts.ModelCall] = []
        self._uses: dict[tuple[str, int], NameUse] = {}
        self._unset: list[NameUse] = []
        self._names: set[str] = set()
        self._skipped: set[int] = set()

    def read(self, tree: ast.Module) -> facts.Facts:
        """Return the facts of a module."""
        self._names, self._skipped = facts.looked_at(tree)
        scope = Scope()
        _bind(tree.body, scope, scope)
        self._block(tree.body, scope, Sure.CERTAIN, top=True)
        return facts.Facts(
            imports=tuple(self._imports),
            dynamic=tuple(self._dynamic),
            changes=tuple(self._changes),
            paths=tuple(self._paths),
            calls=tuple(self._calls),
            uses=tuple(self._uses.values()),
            unset=tuple(self._unset),
        )

    # --- statements ---------------------------------------------------------------------------------------------------

    def _block(self, body: Iterable[ast.stmt], scope: Scope, sure: Sure, *, top: bool = False) -> None:
        for node in body if sure is not Sure.NEVER else ():
            self._statement(node, scope, sure, top=top)

    def _statement(self, node: ast.stmt, scope: Scope, sure: Sure, *, top: bool) -> None:
        if isinstance(node, _Function):
            self._function(node, scope, sure, top=top)
            return
        self._expressions(node, scope, sure)
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._import(node, sure)
        elif isinstance(node, ast.If):
            holds = facts.condition(node.test, self._python, scope.dotted)
            self._block(node.body, scope, _least(sure, holds), top=top)
            self._block(node.orelse, scope, _least(sure, None if holds is None else not holds), top=top)
        elif isinstance(node, ast.Try | ast.TryStar):
            stops = min(sure, facts.caught(node))
            self._block(node.body, scope, stops, top=top)
            for handler in node.handlers:
                # What stands in for a failed import must be there; other handlers run when something else fails.
                self._block(handler.body, scope, min(sure, Sure.PERHAPS), top=top)
            self._block(node.orelse, scope, max(stops, min(sure, Sure.PERHAPS)), top=top)
            self._block(node.finalbody, scope, sure, top=top)
        elif isinstance(node, ast.With):
            self._block(node.body, scope, min(sure, facts.caught(node)), top=top)
        elif isinstance(node, ast.ClassDef):
            inner = Scope(scope, of_class=True)
            _bind(node.body, inner, _module(scope))
            self._block(node.body, inner, sure)
        else:
            for block in _BLOCKS:
                self._block(getattr(node, block, ()), scope, min(sure, Sure.PERHAPS))
            for case in getattr(node, "cases", ()):
                self._block(case.body, scope, min(sure, Sure.PERHAPS))

    def _function(self, node: _Function, scope: Scope, sure: Sure, *, top: bool) -> None:
        certain = top and node.name in self._certain
        for part in (*node.decorator_list, *node.args.defaults, *(each for each in node.args.kw_defaults if each)):
            self._expression(part, scope, sure)
        inner = Scope(scope.parent if scope.of_class else scope)
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            inner.bind(argument.arg)
        for extra in (node.args.vararg, node.args.kwarg):
            if extra is not None:
                inner.bind(extra.arg)
        _bind(node.body, inner, _module(scope))
        self._block(node.body, inner, sure if certain else min(sure, Sure.PERHAPS))

    def _import(self, node: ast.Import | ast.ImportFrom, sure: Sure) -> None:
        if isinstance(node, ast.Import):
            self._imports += [Import(each.name, (), 0, node.lineno, sure, whole=True) for each in node.names]
            return
        names = tuple(each.name for each in node.names)
        self._imports.append(Import(node.module or "", names, node.level, node.lineno, sure))

    # --- expressions --------------------------------------------------------------------------------------------------

    def _expressions(self, node: ast.stmt, scope: Scope, sure: Sure) -> None:
        targets = _targets(node)
        named = any(isinstance(each, ast.Name) and each.id in self._names for each in targets)
        for each in facts.expressions_in(node):
            self._expression(each, scope, sure, silent=named)
        path = [each for each in targets if scope.dotted(each) == "sys.path" or _slice_of_path(each, scope)]
        if path:
            value = getattr(node, "value", None)
            parts = value.elts if isinstance(value, ast.List) and isinstance(node, ast.AugAssign) else [None]
            self._changes += [self._change(node.lineno, each, scope, front=False) for each in parts]

    def _expression(self, root: ast.expr, scope: Scope, sure: Sure, *, silent: bool = False) -> None:
        if sure is Sure.NEVER:
            return
        if not silent:
            found = facts.model_paths(root, scope, self._evaluator, self._skipped)
            self._paths += [PathUse(line, value.text, sure) for line, value in found]
        inside_chain: set[int] = set()
        for node in ast.walk(root):
            if isinstance(node, ast.Attribute):
                if id(node) not in inside_chain:
                    self._use(node, scope, sure)
                inside_chain.add(id(node.value))
            elif isinstance(node, ast.Call):
                self._call(node, scope, sure)
            elif isinstance(node, ast.Subscript) and scope.dotted(node.value) == "os.environ":
                self._variable([node.slice], node, scope, sure)

    def _use(self, node: ast.Attribute, scope: Scope, sure: Sure) -> None:
        dotted = scope.dotted(node)
        if dotted is not None:
            self._uses.setdefault((dotted, node.lineno), NameUse(dotted, node.lineno, sure))

    def _call(self, node: ast.Call, scope: Scope, sure: Sure) -> None:
        function = scope.dotted(node.func)
        if call := facts.call_of(node, scope, sure):
            self._calls.append(call)
        elif function in ("importlib.import_module", "__import__") and node.args:
            name = node.args[0]
            if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
                self._dynamic.append(node.lineno)
            elif name.value and not name.value.startswith("."):
                self._imports.append(Import(name.value, (), 0, node.lineno, sure, whole=True))
        elif function in ("sys.path.append", "sys.path.extend", "site.addsitedir") and node.args:
            given = node.args[0].elts if isinstance(node.args[0], ast.List | ast.Tuple) else [node.args[0]]
            self._changes += [self._change(node.lineno, each, scope, front=False) for each in given]
        elif function == "sys.path.insert" and node.args:
            folder = node.args[1] if len(node.args) > 1 else None
            self._changes.append(self._change(node.lineno, folder, scope, front=True))
        elif function in ("os.getenv", "os.environ.get") and len(node.args) == 1 and not node.keywords:
            self._variable(node.args, node, scope, sure)

    def _variable(self, arguments: list[ast.expr], node: ast.expr, scope: Scope, sure: Sure) -> None:
        name = self._evaluator.value(arguments[0], scope)
        if name is not None and name.text == MODEL_DIR and MODEL_DIR in self._world.unset:
            self._unset.append(NameUse(MODEL_DIR, node.lineno, sure))

    def _change(self, line: int, folder: ast.expr | None, scope: Scope, *, front: bool) -> PathChange:
        value = None if folder is None else self._evaluator.value(folder, scope)
        return PathChange(line, None if value is None else value.text, front)


def _least(sure: Sure, holds: bool | None) -> Sure:
    return min(sure, Sure.PERHAPS) if holds is None else sure if holds else Sure.NEVER


def _targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign | ast.AugAssign) else []


def _slice_of_path(node: ast.expr, scope: Scope) -> bool:
    return isinstance(node, ast.Subscript) and scope.dotted(node.value) == "sys.path"


# --- which names are bound to what ------------------------------------------------------------------------------------


def _module(scope: Scope) -> Scope:
    while scope.parent is not None:
        scope = scope.parent
    return scope


def _bind(body: Iterable[ast.stmt], scope: Scope, module: Scope) -> None:
    """Bind what the statements of one scope bind; those of functions in it are theirs, but for `global`."""
    ours = list(_own(body))
    outer = {name for node in ours if isinstance(node, ast.Global) for name in node.names}
    for node in ours:
        _bind_one(node, scope, module, outer)
    if scope is module:
        _bind_globals(body, module)


def _bind_one(node: ast.AST, scope: Scope, module: Scope, outer: set[str]) -> None:
    if isinstance(node, ast.Import | ast.ImportFrom):
        bind_import(node, scope)
    elif isinstance(node, _Function | ast.ClassDef):
        scope.bind(node.name)
    elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        if node.targets[0].id not in outer or scope is module:
            scope.bind(node.targets[0].id, node.value)
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        if node.target.id not in outer or scope is module:
            scope.bind(node.target.id, node.value)
    else:
        for name in _stored(node):
            if name not in outer or scope is module:
                scope.bind(name)


def _stored(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement or expression binds to what is not known."""
    if isinstance(node, ast.ExceptHandler) and node.name:
        yield node.name
    if isinstance(node, ast.stmt | ast.expr | ast.withitem | ast.comprehension):
        for child in _flat(node):
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store | ast.Del):
                yield child.id


def _flat(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the expressions of a statement, without those of the statements in it."""
    waiting = [node]
    while waiting:
        each = waiting.pop()
        yield each
        waiting += [child for child in ast.iter_child_nodes(each) if not isinstance(child, ast.stmt)]


def bind_import(node: ast.Import | ast.ImportFrom, scope: Scope) -> None:
    """Bind the names that an import gives."""
    for alias in node.names:
        if isinstance(node, ast.Import):
            name = alias.asname or alias.name.partition(".")[0]
            scope.bind_module(name, alias.name if alias.asname else name)
        elif alias.name != "*" and not node.level:
            scope.bind_module(alias.asname or alias.name, f"{node.module}.{alias.name}")
        elif alias.name != "*":
            scope.bind(alias.asname or alias.name)


def _bind_globals(body: Iterable[ast.stmt], module: Scope) -> None:
    """Names that functions assign by `global` are the module's."""
    for node in body:
        for inner in ast.walk(node):
            if isinstance(inner, _Function):
                own = list(_own(inner.body))
                outer = {name for each in own if isinstance(each, ast.Global) for name in each.names}
                for each in own if outer else ():
                    for name in _stored(each):
                        if name in outer:
                            module.bind(name)


def _own(body: Iterable[ast.stmt]) -> Iterator[ast.AST]:
    """Yield the statements and handlers of one scope, at any depth, without those of functions and classes in it."""
    waiting: list[ast.AST] = []
    waiting += list(body)[::-1]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _Function | ast.ClassDef):
            inner = [each for each in ast.iter_child_nodes(node) if isinstance(each, _STATEMENTS)]
            waiting += inner[::-1]


_STATEMENTS = (ast.stmt, ast.ExceptHandler, ast.match_case)
