"""What an expression is worth, as far as the text alone tells: literals, paths, and the image's own variables. Pure.

Nothing is guessed: a name counts only where it is assigned once. Values are those in the image: `__file__` is the
module's path there, `os.environ` that of the plan.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Callable, Mapping
from typing import NamedTuple

#: Expressions nested deeper, or names that lead further, are not followed.
_DEPTH = 40


class Value(NamedTuple):
    """A text or path that is known.

    Attributes:
        text: it; paths are those in the image.
        path: it is a `pathlib.Path`.
        model: it was made from where the models are.
    """

    text: str
    path: bool = False
    model: bool = False


class World(NamedTuple):
    """What the image gives a module.

    Attributes:
        file: the module's own path.
        folder: the working directory.
        environ: the image's environment variables.
        unset: variables that are certainly not set, so that a default takes their place.
        model_path: answers `Model.get_model_path(name, version)`.
    """

    file: str
    folder: str
    environ: Mapping[str, str]
    unset: frozenset[str] = frozenset()
    model_path: Callable[[str, int | None], str | None] = lambda _name, _version: None


MODEL_DIR = "AZUREML_MODEL_DIR"
GET_MODEL_PATH = frozenset({"azureml.core.model.Model.get_model_path", "azureml.core.Model.get_model_path"})


class Scope:
    """The names of a module or function. One that is bound twice, or by something that has no value here, is unknown.

    Args:
        parent: where names are looked up that are not bound here.
        of_class: of a class, whose functions do not see it.
    """

    def __init__(self, parent: Scope | None = None, *, of_class: bool = False) -> None:
        self.parent = parent
        self.of_class = of_class
        self.values: dict[str, ast.expr | None] = {}
        self.modules: dict[str, str | None] = {}

    def bind(self, name: str, value: ast.expr | None = None) -> None:
        """Bind a name to an expression, or to what is not known."""
        self.values[name] = None if name in self.values else value

    def bind_module(self, name: str, dotted: str) -> None:
        """Bind a name to what an import gives it."""
        self.modules[name] = dotted if self.modules.get(name, dotted) == dotted else None

    def find(self, name: str) -> tuple[Scope, ast.expr | None] | None:
        """Return where a name is bound, and to which expression."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope, scope.values[name]
            scope = scope.parent
        return None

    def dotted(self, node: ast.expr) -> str | None:
        """Return `numpy.int` for `np.int`, where `np` is an import and nothing else; None of anything else."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        scope: Scope | None = self
        while scope is not None:
            if node.id in scope.values:
                return None
            if node.id in scope.modules:
                found = scope.modules[node.id]
                return None if found is None else ".".join([found, *reversed(parts)])
            scope = scope.parent
        return ".".join([node.id, *reversed(parts)]) if not parts else None


class Evaluator:
    """Says what expressions are worth in one module; each is looked at once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: dict[tuple[int, int], Value | None] = {}

    def value(self, node: ast.expr, scope: Scope, depth: int = 0) -> Value | None:
        """Return what an expression is worth; None where the text does not tell."""
        if depth > _DEPTH:
            return None
        key = (id(node), id(scope))
        if key not in self._known:
            self._known[key] = None  # a name that leads back to itself is worth nothing
            self._known[key] = self._value(node, scope, depth + 1)
        return self._known[key]

    def _value(self, node: ast.expr, scope: Scope, depth: int) -> Value | None:
        if isinstance(node, ast.Constant):
            return Value(node.value) if isinstance(node.value, str) and "\0" not in node.value else None
        if isinstance(node, ast.Name):
            return self._name(node.id, scope, depth)
        if isinstance(node, ast.BinOp):
            return self._operation(node, scope, depth)
        if isinstance(node, ast.JoinedStr):
            return self._joined(node, scope, depth)
        if isinstance(node, ast.Subscript):
            return self._subscript(node, scope, depth)
        if isinstance(node, ast.Attribute):
            return self._attribute(node, scope, depth)
        if isinstance(node, ast.Call):
            return self._call(node, scope, depth)
        return None

    def _name(self, name: str, scope: Scope, depth: int) -> Value | None:
        found = scope.find(name)
        if found is not None:
            where, expression = found
            return None if expression is None else self.value(expression, where, depth)
        return Value(self._world.file) if name == "__file__" else None

    def _operation(self, node: ast.BinOp, scope: Scope, depth: int) -> Value | None:
        left, right = self.value(node.left, scope, depth), self.value(node.right, scope, depth)
        if left is None or right is None:
            return None
        if isinstance(node.op, ast.Add) and not left.path and not right.path:
            return Value(left.text + right.text, model=left.model or right.model)
        if isinstance(node.op, ast.Div) and (left.path or right.path):
            return _join([left, right], path=True)
        return None

    def _joined(self, node: ast.JoinedStr, scope: Scope, depth: int) -> Value | None:
        values = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                if part.format_spec is not None or part.conversion != -1:
                    return None
                part = part.value
            values.append(self.value(part, scope, depth))
        known = [each for each in values if each is not None]
        if len(known) != len(values):
            return None
        return Value("".join(each.text for each in known), model=any(each.model for each in known))

    def _subscript(self, node: ast.Subscript, scope: Scope, depth: int) -> Value | None:
        if scope.dotted(node.value) == "os.environ":
            return self._variable([node.slice], scope, depth)
        return None

    def _attribute(self, node: ast.Attribute, scope: Scope, depth: int) -> Value | None:
        if scope.dotted(node) in ("os.sep", "os.path.sep"):
            return Value("/")
        owner = self.value(node.value, scope, depth)
        if owner is None or not owner.path:
            return None
        if node.attr == "parent":
            return owner._replace(text=posixpath.dirname(owner.text) or ".")
        return Value(posixpath.basename(owner.text)) if node.attr == "name" else None

    def _call(self, node: ast.Call, scope: Scope, depth: int) -> Value | None:
        function = scope.dotted(node.func)
        if function in GET_MODEL_PATH:
            return self._model_path(node)
        if function in ("os.getenv", "os.environ.get"):
            default = [each.value for each in node.keywords if each.arg == "default"]
            return self._variable([*node.args, *default], scope, depth)
        if node.keywords or any(isinstance(each, ast.Starred) for each in node.args):
            return None
        values = [self.value(each, scope, depth) for each in node.args]
        known = [each for each in values if each is not None]
        if len(known) != len(values):
            return None
        if function is None and isinstance(node.func, ast.Attribute):
            owner = self.value(node.func.value, scope, depth)
            return None if owner is None else self._method(owner, node.func.attr, known)
        return self._function(function, known)

    def _function(self, function: str | None, values: list[Value]) -> Value | None:
        if function in ("os.getcwd", "pathlib.Path.cwd"):
            return Value(self._world.folder, path=function != "os.getcwd")
        if function in ("pathlib.Path", "pathlib.PurePath", "pathlib.PosixPath", "pathlib.PurePosixPath"):
            return _join(values or [Value(".")], path=True)
        if function == "os.path.join" and values:
            return _join(values, path=False)
        if len(values) != 1:
            return None
        (value,) = values
        if function in ("str", "os.fspath"):
            return value._replace(path=False)
        if function in ("os.path.abspath", "os.path.realpath"):
            return Value(self._absolute(value.text), model=value.model)
        if function == "os.path.normpath":
            return Value(posixpath.normpath(value.text), model=value.model)
        if function == "os.path.dirname":
            return Value(posixpath.dirname(value.text), model=value.model)
        return Value(posixpath.basename(value.text)) if function == "os.path.basename" else None

    def _method(self, owner: Value, name: str, values: list[Value]) -> Value | None:
        if not owner.path:
            return None
        if name == "joinpath":
            return _join([owner, *values], path=True)
        if values:
            return None
        if name in ("resolve", "absolute"):
            return owner._replace(text=self._absolute(owner.text))
        return owner._replace(path=False) if name == "as_posix" else None

    def _variable(self, arguments: list[ast.expr], scope: Scope, depth: int) -> Value | None:
        name = self.value(arguments[0], scope, depth) if arguments else None
        if name is None:
            return None
        if name.text in self._world.environ:
            return Value(self._world.environ[name.text], model=name.text == MODEL_DIR)
        if name.text in self._world.unset and len(arguments) > 1:
            return self.value(arguments[1], scope, depth)
        return None

    def _model_path(self, node: ast.Call) -> Value | None:
        name, version, clear = model_path_arguments(node)
        found = self._world.model_path(name, version) if name is not None and clear else None
        return None if found is None else Value(found, model=True)

    def _absolute(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self._world.folder, path))


def model_path_arguments(node: ast.Call) -> tuple[str | None, int | None, bool]:
    """Return name and version of a call of `Model.get_model_path`, and whether both are literals or left out."""
    given = dict(zip(("model_name", "version"), node.args, strict=False))
    given |= {each.arg: each.value for each in node.keywords if each.arg}
    name, version = given.get("model_name"), given.get("version")
    text = name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else None
    number = version.value if isinstance(version, ast.Constant) and isinstance(version.value, int) else None
    clear = text is not None and (version is None or number is not None or _is_none(version))
    return text, number, clear


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _join(values: list[Value], *, path: bool) -> Value:
    text = posixpath.join(*(each.text for each in values))
    # A later absolute part throws away what stood before it.
    kept = [each for each in values if text.startswith(each.text) or not each.model]
    if path:
        text = posixpath.normpath(text)
    return Value(text, path=path, model=any(each.model for each in kept))
