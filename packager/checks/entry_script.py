"""What the syntax tree of an entry script tells; the script is never run.

The rules are those of azureml-inference-server-http 1.5 (`server/user_script.py`): `init()` is called without
arguments; `run` may have no positional-only parameter, `*args` or `**kwargs`, needs one parameter besides
`request_headers`, and is called with one argument unless inference-schema's decorators name more.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from packager.checks.notebook import notebook_findings
from packager.finding import Finding, Severity

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_SCHEMA_DECORATORS = {"input_schema", "output_schema"}
_KNOWN_DECORATORS = _SCHEMA_DECORATORS | {"rawhttp"}


def check_entry_script(text: str, file: str) -> tuple[Finding, ...]:
    """Return what is wrong with an entry script.

    Args:
        text: its source.
        file: its path, for the findings.
    """
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        message = getattr(error, "msg", None) or str(error)
        return (
            Finding(
                rule="entry-syntax",
                severity="error",
                message=f"not valid Python: {message}",
                file=file,
                line=line,
                remedy=_MAGIC if _is_magic(text, line) else None,
            ),
        )
    names = _Names(module)
    return (*_check_init(names, file), *_check_run(names, file), *notebook_findings(module, file))


_MAGIC = "lines that begin with `%` or `!` are a notebook's: remove them; what they install goes into the environment"


def _is_magic(text: str, line: int | None) -> bool:
    lines = text.splitlines()
    return line is not None and 0 < line <= len(lines) and lines[line - 1].lstrip().startswith(("%", "!"))


def defines_contract(text: str) -> bool:
    """Whether a script defines both `init` and `run`: a candidate for the entry script."""
    try:
        names = _Names(ast.parse(text))
    except (SyntaxError, ValueError, RecursionError):
        return False
    return names.function("init") is not None and names.function("run") is not None


def half_of_contract(text: str) -> str:
    """Return what a script that defines one of `init` and `run` has and lacks, as `has init() and no run()`."""
    try:
        names = _Names(ast.parse(text))
    except (SyntaxError, ValueError, RecursionError):
        return ""
    there = [name for name in ("init", "run") if names.function(name) is not None]
    if len(there) != 1:
        return ""
    return f"has {there[0]}() and no {'run' if there == ['init'] else 'init'}()"


class _Names:
    """What a module binds at its top level, `if`, `try` and `with` blocks included."""

    def __init__(self, module: ast.Module) -> None:
        self._functions: dict[str, _Function] = {}
        self._bound: set[str] = set()
        self.open = False
        for node in _top_level(module.body):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self._functions[node.name] = node
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self.open = self.open or any(alias.name == "*" for alias in node.names)
                self._bound.update(alias.asname or alias.name for alias in node.names)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                self._bound.update(target.id for target in targets if isinstance(target, ast.Name))

    def function(self, name: str) -> _Function | None:
        return self._functions.get(name)

    def elsewhere(self, name: str) -> bool:
        """The name comes from an import or an assignment: it is there, and its parameters cannot be read here."""
        return name in self._bound or self.open


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        for field in ("body", "orelse", "finalbody", "handlers"):
            if isinstance(node, ast.If | ast.Try | ast.With):
                for inner in getattr(node, field, []):
                    yield from _top_level(inner.body if isinstance(inner, ast.ExceptHandler) else [inner])


def _check_init(names: _Names, file: str) -> Iterator[Finding]:
    function = names.function("init")
    if function is None:
        if not names.elsewhere("init"):
            yield _error("entry-init-missing", "has no init()", file, None, "the server calls init() once at start")
        return
    yield from _not_async(function, file)
    arguments = function.args
    required = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    required += sum(default is None for default in arguments.kw_defaults)
    if required:
        message = "init() has parameters without defaults; it is called without arguments"
        yield _error("entry-init-parameters", message, file, function.lineno, "write `def init():`")


def _check_run(names: _Names, file: str) -> Iterator[Finding]:
    function = names.function("run")
    if function is None:
        if not names.elsewhere("run"):
            yield _error("entry-run-missing", "has no run(data)", file, None, "the server calls run() for each request")
        return
    yield from _not_async(function, file)
    decorators = {_decorator_name(each) for each in function.decorator_list}
    # A decorator that we do not know may give the function other parameters than those written here.
    severity: Severity = "error" if decorators <= _KNOWN_DECORATORS else "warning"
    for message, remedy in _run_problems(function, decorators):
        yield Finding(
            rule="entry-run-parameters",
            severity=severity,
            message=message,
            file=file,
            line=function.lineno,
            remedy=remedy,
        )


def _run_problems(function: _Function, decorators: set[str]) -> Iterator[tuple[str, str]]:
    arguments = function.args
    if arguments.vararg or arguments.kwarg or arguments.posonlyargs:
        yield "run() has *args, **kwargs or positional-only parameters, which the server refuses", "name each parameter"
        return
    parameters = [each.arg for each in (*arguments.args, *arguments.kwonlyargs) if each.arg != "request_headers"]
    if not parameters:
        yield "run() has no parameter for the request's data", "write `def run(data):`"
        return
    if "rawhttp" in decorators and decorators & _SCHEMA_DECORATORS:
        yield "run() has both @rawhttp and @input_schema, which the server refuses", "keep one of them"
    if decorators & _SCHEMA_DECORATORS:
        yield from _schema_problems(function, [*parameters, "request_headers"])
        return
    with_default = {each.arg for each in arguments.args[len(arguments.args) - len(arguments.defaults) :]}
    with_default |= {
        each.arg for each, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value is not None
    }
    extra = [name for name in parameters[1:] if name not in with_default]
    if extra:
        yield (
            f"run() needs {', '.join(extra)} too, but without @input_schema the server gives it only {parameters[0]!r}",
            "describe each parameter with inference-schema's @input_schema, or take one parameter",
        )


def _schema_problems(function: _Function, parameters: list[str]) -> Iterator[tuple[str, str]]:
    """Yield what inference-schema raises at the first request: a schema of a parameter that run() does not have.

    It is passed over where it is `optional=True`, or converts nothing (`schema_decorators.py` of inference-schema 1.8).
    """
    for each in function.decorator_list:
        if not isinstance(each, ast.Call) or _decorator_name(each) != "input_schema":
            continue
        keywords = {keyword.arg: keyword.value for keyword in each.keywords}
        name = each.args[0] if each.args else keywords.get("param_name")
        if None in keywords or len(each.args) > 2 or {"optional", "convert_to_provided_type"} & keywords.keys():
            continue
        if isinstance(name, ast.Constant) and isinstance(name.value, str) and name.value not in parameters:
            own = [each for each in parameters if each != "request_headers"]
            yield (
                f"@input_schema describes {name.value!r}, and run() has {', '.join(map(repr, own))}: requests fail",
                f"write `@input_schema({own[0]!r}, …)`, or rename the parameter",
            )


def _not_async(function: _Function, file: str) -> Iterator[Finding]:
    if isinstance(function, ast.AsyncFunctionDef):
        message = f"{function.name}() is `async`; the server calls it as a plain function"
        yield _error(f"entry-{function.name}-async", message, file, function.lineno, f"write `def {function.name}(`")


def _decorator_name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _error(rule: str, message: str, file: str, line: int | None, remedy: str) -> Finding:
    return Finding(rule=rule, severity="error", message=message, file=file, line=line, remedy=remedy)
