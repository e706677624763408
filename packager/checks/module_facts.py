"""What the syntax tree of one module tells: imports, changes of sys.path, paths of models, names it uses. Pure.

How surely a line runs is told with each fact: what is certain may be an error, what is only possible is a warning, and
what is guarded against failing (`try: … except ImportError:`) or never runs (`if TYPE_CHECKING:`) is left alone.
"""

from __future__ import annotations

import ast
import enum
from collections.abc import Callable, Iterator
from typing import NamedTuple

from packager.checks.constants import GET_MODEL_PATH, Evaluator, Scope, Value, World, model_path_arguments

#: Bytes of one source file: far above what people write, far below what its syntax tree would need memory for.
MAX_SOURCE = 1 << 20


class Sure(enum.IntEnum):
    """How surely a line runs: never (or its failure is caught), perhaps, or when the service starts or answers."""

    NEVER = 0
    PERHAPS = 1
    CERTAIN = 2


class Import(NamedTuple):
    """One import.

    Attributes:
        module: dotted; without the leading dots.
        names: of a `from … import`; `*` for all.
        level: number of leading dots.
        line: from 1.
        sure: how surely it runs.
        whole: `import a.b`, or by `import_module`.
    """

    module: str
    names: tuple[str, ...]
    level: int
    line: int
    sure: Sure
    whole: bool = False


class PathUse(NamedTuple):
    """A path that is made from where the models are."""

    line: int
    text: str
    sure: Sure


class ModelCall(NamedTuple):
    """A call of `Model.get_model_path`; name and version where they are literals (`clear`)."""

    line: int
    name: str | None
    version: int | None
    clear: bool
    sure: Sure


class NameUse(NamedTuple):
    """A dotted name of an import, as it is used (`numpy.int`)."""

    dotted: str
    line: int
    sure: Sure


class PathChange(NamedTuple):
    """A change of sys.path: the folder where it is known, and whether it goes before all others."""

    line: int
    folder: str | None
    front: bool


class Facts(NamedTuple):
    """All that is known of one module."""

    imports: tuple[Import, ...] = ()
    dynamic: tuple[int, ...] = ()
    changes: tuple[PathChange, ...] = ()
    paths: tuple[PathUse, ...] = ()
    calls: tuple[ModelCall, ...] = ()
    uses: tuple[NameUse, ...] = ()
    unset: tuple[NameUse, ...] = ()


def read_facts(tree: ast.Module, world: World, python: str, certain: frozenset[str] = frozenset()) -> Facts:
    """Return the facts of a module.

    Args:
        tree: its syntax tree.
        world: what the image gives it.
        python: minor version of the image (`3.13`), by which `if sys.version_info` is decided.
        certain: functions that are certainly called (`init` and `run` of the entry script).

    Raises:
        RecursionError: it is nested too deeply.
    """
    # Imported here: it needs the values of this module.
    from packager.checks.module_reader import Reader

    return Reader(world, python, certain).read(tree)


# --- how surely a branch runs -----------------------------------------------------------------------------------------


def condition(test: ast.expr, python: str, dotted: Callable[[ast.expr], str | None]) -> bool | None:
    """Return whether a condition holds when the module is imported in the image; None where the text does not tell."""
    if isinstance(test, ast.Constant):
        return bool(test.value)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = condition(test.operand, python, dotted)
        return None if inner is None else not inner
    if isinstance(test, ast.BoolOp):
        return _several(test, python, dotted)
    name = dotted(test)
    if name in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "six.PY2", "typing_extensions.TYPE_CHECKING"):
        return False
    if name == "six.PY3":
        return True
    if isinstance(test, ast.Call) and isinstance(test.func, ast.Attribute) and len(test.args) == 1:
        return _starts(test, dotted)
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        return _compared(test, python, dotted)
    return None


def _several(test: ast.BoolOp, python: str, dotted: Callable[[ast.expr], str | None]) -> bool | None:
    values = [condition(each, python, dotted) for each in test.values]
    deciding = isinstance(test.op, ast.Or)
    if deciding in values:
        return deciding
    return None if None in values else not deciding


def _starts(test: ast.Call, dotted: Callable[[ast.expr], str | None]) -> bool | None:
    argument = test.args[0]
    if dotted(test.func) == "sys.platform.startswith" and isinstance(argument, ast.Constant):
        return isinstance(argument.value, str) and "linux".startswith(argument.value)
    return None


def _compared(test: ast.Compare, python: str, dotted: Callable[[ast.expr], str | None]) -> bool | None:
    operator, right = test.ops[0], test.comparators[0]
    left: object = {"sys.platform": "linux", "os.name": "posix"}.get(dotted(test.left) or "")
    if dotted(test.left) == "__name__":
        left = "a module's name"
    if isinstance(test.left, ast.Call) and dotted(test.left.func) == "platform.system":
        left = "Linux"
    if left is not None:
        if not isinstance(right, ast.Constant) or not isinstance(operator, ast.Eq | ast.NotEq):
            return None
        return (left == right.value) is isinstance(operator, ast.Eq)
    version = tuple(int(part) for part in python.split("."))
    if dotted(test.left) == "sys.version_info" and isinstance(right, ast.Tuple):
        wanted = tuple(each.value for each in right.elts if isinstance(each, ast.Constant))
        numbers = tuple(each for each in wanted if isinstance(each, int))
        # A patch release would decide: it is not known here.
        return _ordered(version, operator, numbers) if len(numbers) == len(right.elts) in (1, 2) else None
    if isinstance(test.left, ast.Subscript) and dotted(test.left.value) == "sys.version_info":
        first = isinstance(test.left.slice, ast.Constant) and test.left.slice.value == 0
        if first and isinstance(right, ast.Constant) and isinstance(right.value, int):
            return _ordered(version[:1], operator, (right.value,))
    return None


def _ordered(version: tuple[int, ...], operator: ast.cmpop, wanted: tuple[int, ...]) -> bool | None:
    # `sys.version_info` is longer than what it is held against, so that (3, 13, 2) > (3, 13) and never equal.
    longer = (*version, 1)
    if len(wanted) == len(version) == 1:
        longer = version
    answers = {ast.Gt: longer > wanted, ast.GtE: longer >= wanted, ast.Lt: longer < wanted, ast.LtE: longer <= wanted}
    answers |= {ast.Eq: longer == wanted, ast.NotEq: longer != wanted}
    return answers.get(type(operator))


_MISSING = frozenset({"ImportError", "ModuleNotFoundError"})
_BROAD = frozenset({"Exception", "BaseException", "AttributeError", ""})


def caught(node: ast.stmt) -> Sure:
    """Return how surely a failing import in this `try` or `with` stops the module: NEVER where it is handled."""
    if isinstance(node, ast.With):
        calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
        kinds = {_last(each) for call in calls if _last(call.func) == "suppress" for each in call.args}
        return Sure.NEVER if kinds & (_MISSING | _BROAD) else Sure.CERTAIN
    for handler in node.handlers if isinstance(node, ast.Try | ast.TryStar) else ():
        given = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        kinds = {_last(each) for each in given}
        if not kinds & (_MISSING | _BROAD):
            continue
        if any(isinstance(each, ast.Raise) for each in handler.body) or _exits(handler.body):
            return Sure.CERTAIN
        # Who catches everything has thought of a missing module only where something takes its place.
        replaced = any(isinstance(each, ast.Import | ast.ImportFrom | ast.Assign) for each in handler.body)
        return Sure.NEVER if kinds & _MISSING or replaced else Sure.PERHAPS
    return Sure.CERTAIN


def _exits(body: list[ast.stmt]) -> bool:
    calls = [each.value for each in body if isinstance(each, ast.Expr) and isinstance(each.value, ast.Call)]
    return any(_last(call.func) in ("exit", "_exit", "abort") for call in calls)


def _last(node: ast.expr | None) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


# --- paths of models --------------------------------------------------------------------------------------------------

_LOOKED_AT = frozenset({"exists", "isfile", "isdir", "lexists", "is_file", "is_dir", "access", "makedirs", "mkdir"})


def looked_at(tree: ast.AST) -> tuple[set[str], set[int]]:
    """Return names and expressions (by id) of which the module asks whether they exist: that is for it to handle."""
    names: set[str] = set()
    expressions: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or _last(node.func) not in _LOOKED_AT:
            continue
        for part in (*node.args[:1], *([node.func.value] if isinstance(node.func, ast.Attribute) else [])):
            expressions.add(id(part))
            if isinstance(part, ast.Name):
                names.add(part.id)
    return names, expressions


def model_paths(root: ast.expr, scope: Scope, evaluator: Evaluator, skipped: set[int]) -> Iterator[tuple[int, Value]]:
    """Yield line and value of each expression that is a path of a model, the largest that can be told."""
    waiting: list[tuple[ast.expr, bool]] = [(root, True)]
    while waiting:
        node, whole = waiting.pop()
        if id(node) in skipped:
            continue
        # A name is reported where it gets its value.
        if not isinstance(node, ast.Name | ast.Lambda):
            value = evaluator.value(node, scope)
            if value is not None:
                if value.model and whole:
                    yield node.lineno, value
                continue
        # Part of a text that is not known to its end ("model_" + name) is no path.
        part = isinstance(node, ast.BinOp | ast.JoinedStr) or (
            isinstance(node, ast.Call)
            and _last(node.func) in ("join", "joinpath", "format", "with_name", "with_suffix")
        )
        waiting += [(each, whole and not part) for each in expressions_in(node)]


def expressions_in(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions directly below a node, through keywords and comprehensions; not those of statements."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield child
        elif isinstance(child, ast.keyword | ast.comprehension | ast.withitem | ast.match_case | ast.FormattedValue):
            yield from expressions_in(child)


def call_of(node: ast.Call, scope: Scope, sure: Sure) -> ModelCall | None:
    """Return the call of `Model.get_model_path` that a node is."""
    if scope.dotted(node.func) not in GET_MODEL_PATH:
        return None
    name, version, clear = model_path_arguments(node)
    return ModelCall(node.lineno, name, version, clear, sure)
