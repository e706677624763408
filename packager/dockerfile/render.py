"""Plan → text by the templates of `templates/`. Pure but for reading the templates themselves."""

from __future__ import annotations

import functools
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

import jinja2
from jinja2.loaders import split_template_path
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from packager.errors import Location, RenderError
from packager.given import read_given
from packager.plan.plan import Plan
from packager.resources import data_folder
from packager.targets import target_names

#: Characters of a text that a template may make, and of a value in it: a Dockerfile has some thousands.
MAX_TEXT = 4 << 20
#: Bytes of memory that a user's template may take.
_ROOM = 1 << 29
#: Lines of a user's templates that may be run, loops and macros included, and seconds of the processor for all of them:
#: a Dockerfile takes some thousand lines and milliseconds.
MAX_STEPS, MAX_SECONDS = 2_000_000, 20.0

_SUFFIX = ".Dockerfile.j2"
_REMEDY = "correct the template; it can use what `plan` has: `packager plan --format json`"
# Before the name of a template of ours that a user's template of the same name extends.
_OURS = "ours:"


def quoted(value: str) -> str:
    r"""Return a value as a double-quoted word of ENV and LABEL.

    Only `\`, `"` and `$` mean anything there (BuildKit, frontend/dockerfile/shell/lex.go); line breaks cannot be
    written at all, and the spec's types refuse them.
    """
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def json_array(values: tuple[str, ...]) -> str:
    """Return the exec form of ENTRYPOINT and CMD: a JSON array, which no shell and no variable touches."""
    return json.dumps(list(values), ensure_ascii=False)


def json_value(value: object) -> str:
    """Return a value as JSON."""
    return json.dumps(value, ensure_ascii=False)


def shell_word(value: str) -> str:
    """Return a value as one word of a POSIX shell."""
    import shlex

    return shlex.quote(value)


class _Templates(jinja2.BaseLoader):
    """The user's templates before ours; a target that has none of its name has the base template as it is.

    `extends` of its own name in a user's template means ours: see `_Environment`.
    """

    def __init__(self, own: Path | None) -> None:
        self._own = own

    def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool] | None]:
        name = template.removeprefix(_OURS)
        for folder in (data_folder("templates"),) if name != template else self._folders():
            path = folder.joinpath(*split_template_path(name))
            if os.path.lexists(path):
                shown = f"templates/{name}" if folder is self._own else name
                still = self._still(name)
                try:
                    return read_given(path, below=folder.parent if folder is self._own else None).decode(), shown, still
                except (OSError, UnicodeDecodeError) as error:
                    reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                    raise RenderError(f"{shown} cannot be read: {reason}", remedy="put the file itself there") from None
        if name.removesuffix(_SUFFIX) in target_names(self._own) and name.endswith(_SUFFIX):
            return '{% extends "base.Dockerfile.j2" %}\n', name, None
        raise jinja2.TemplateNotFound(name)

    def _still(self, name: str) -> Callable[[], bool] | None:
        """Return what tells whether the user's template of a name is what it is now: a process may go on for days.

        None where no templates are a user's: ours stay as they are.
        """
        if self._own is None:
            return None
        path = self._own.joinpath(*split_template_path(name))

        def stamp() -> tuple[int, ...]:
            try:
                found = os.stat(path)
            except OSError:
                return ()
            return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

        now = stamp()
        return lambda: stamp() == now

    def _folders(self) -> tuple[Path, ...]:
        return (*((self._own,) if self._own is not None else ()), data_folder("templates"))


class _Environment(ImmutableSandboxedEnvironment):
    """Templates of users are text: they reach the plan, and nothing of Python; nor do they fill memory."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Evaluate `*` and `**`, but for what a few characters make endless."""
        if operator == "**" and isinstance(left, int) and isinstance(right, int):
            # Of whole numbers alone: those with a fraction overflow by themselves.
            too_large = left.bit_length() * right > MAX_TEXT
        else:
            pairs = ((left, right), (right, left))
            too_large = operator == "*" and any(
                isinstance(each, str | bytes | list | tuple) and isinstance(times, int) and len(each) * times > MAX_TEXT
                for each, times in pairs
            )
        if too_large:
            raise ValueError(f"an expression makes more than {MAX_TEXT} characters")
        return super().call_binop(context, operator, left, right)

    def join_path(self, template: str, parent: str) -> str:
        return _OURS + template if template == parent else template


def make_environment(own: Path | None) -> jinja2.Environment:
    """Return what renders the templates: the user's, found first, and ours."""
    environment = _Environment(
        loader=_Templates(own),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the output is no HTML; values go through the filters below
    )
    environment.filters.update(quoted=quoted, json_array=json_array, shell_word=shell_word, json=json_value)
    return environment


_environment = functools.cache(make_environment)


def render(plan: Plan, templates: Path | None = None) -> str:
    """Return the Dockerfile of a plan.

    Args:
        plan: of the image.
        templates: folder of the user's templates, which are found first; it need not be there.

    Raises:
        RenderError: the template is missing, not valid, or names what a plan does not have.
    """
    return render_template(plan.template, plan, templates)


def render_template(name: str, plan: Plan, templates: Path | None = None, **more: Any) -> str:
    """Return the text of a template; `plan` is the one name in its scope, besides `more`.

    Raises:
        RenderError: see `render`; it names file and line.
    """
    own = templates if templates is not None and templates.is_dir() else None
    try:
        return rendered(_environment(own), name, own is not None, plan=plan, **more)
    except jinja2.TemplateSyntaxError as error:
        where = Location(file=error.filename or error.name or name, line=error.lineno)
        raise RenderError(f"the template is not valid: {error.message}", where=where, remedy=_REMEDY) from None
    except jinja2.TemplateNotFound as error:
        raise RenderError(
            f"there is no template {error.name!r}", where=_place(error), remedy="see `templates/`"
        ) from None
    except RecursionError:
        raise RenderError("the templates include each other without end", where=Location(file=name)) from None
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        # Anything that an expression of a template can do wrong, besides what Jinja itself refuses.
        raise RenderError(str(error), where=_place(error) or Location(file=name), remedy=_REMEDY) from None


def rendered(environment: jinja2.Environment, name: str, foreign: bool, **values: Any) -> str:
    """Return what a template makes of values, up to `MAX_TEXT` characters.

    Args:
        environment: has the template.
        name: of the template.
        foreign: it may be a user's: then it gets no more memory than `_ROOM`, where the system can hold it to that, and
            no more work than `MAX_STEPS` and `MAX_SECONDS`.
        values: the names in its scope.

    Raises:
        RenderError: it makes more.
        Jinja's and Python's errors: see `render_template`.
    """
    parts, size = [], 0
    try:
        with _bounded(environment) if foreign else nullcontext():
            # Jinja evaluates what is constant when it reads a template.
            for part in environment.get_template(name).generate(**values):
                parts.append(part)
                size += len(part)
                if size > MAX_TEXT:
                    break
            else:
                return "".join(parts)
    except MemoryError:
        pass
    except _EndlessError as error:
        raise RenderError(
            f"the template ran {MAX_STEPS} lines, or for {MAX_SECONDS:g} s, and had no end",
            where=_place(error) or Location(file=name),
            remedy="give its loops and macros an end",
        ) from None
    finally:
        del parts
    raise RenderError(f"the template makes more than {MAX_TEXT} characters", where=Location(file=name), remedy=_REMEDY)


class _EndlessError(RuntimeError):
    """The templates ran for long enough."""


class _Steps:
    """Counts the lines of templates as they are run: a loop without content makes nothing that could be measured."""

    def __init__(self, environment: jinja2.Environment) -> None:
        self._environment = environment
        self._left = MAX_STEPS
        self._until = time.thread_time() + MAX_SECONDS

    def __call__(self, frame: FrameType, _event: str, _value: object) -> _Steps | None:
        if frame.f_globals.get("environment") is not self._environment:
            return None  # a filter, or a value of the plan
        self._left -= 1
        if self._left < 0 or (self._left % 8 == 0 and time.thread_time() > self._until):
            raise _EndlessError
        return self


@contextmanager
def _bounded(environment: jinja2.Environment) -> Iterator[None]:
    """Let templates take no more memory than this process has and some, and run for no longer than they may."""
    before = sys.gettrace()
    sys.settrace(_Steps(environment))
    try:
        with _memory_bounded():
            yield
    finally:
        sys.settrace(before)


@contextmanager
def _memory_bounded() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            has = int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):  # no Linux: what `call_binop` refuses, and the length of the text, have to do
        yield
        return
    limits = [each for each in (soft, hard, has + _ROOM) if each != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _place(error: BaseException) -> Location | None:
    """Return file and line of the template that an error comes from: Jinja puts them into the traceback."""
    found = [each for each in traceback.extract_tb(error.__traceback__) if each.filename.endswith(".j2")]
    return Location(file=found[-1].filename, line=found[-1].lineno) if found else None
