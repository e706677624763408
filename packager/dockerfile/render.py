"""Plan → text by the templates of `templates/`. Pure but for reading the templates themselves."""

from __future__ import annotations

import functools
import json
from typing import Any

import jinja2

from packager.errors import RenderError
from packager.plan import Plan
from packager.resources import data_folder


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


def shell_word(value: str) -> str:
    """Return a value as one word of a POSIX shell."""
    import shlex

    return shlex.quote(value)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(data_folder("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the output is no HTML; values go through the filters below
    )
    environment.filters.update(quoted=quoted, json_array=json_array, shell_word=shell_word)
    return environment


def render(plan: Plan) -> str:
    """Return the Dockerfile of a plan.

    Raises:
        RenderError: the template is missing, not valid, or names what a plan does not have.
    """
    return render_template(plan.template, plan)


def render_template(name: str, plan: Plan, **more: Any) -> str:
    """Return the text of a template; `plan` is the one name in its scope, besides `more`."""
    try:
        return _environment().get_template(name).render(plan=plan, **more)
    except jinja2.TemplateSyntaxError as error:
        raise RenderError(f"{error.name}:{error.lineno}: {error.message}", remedy="correct the template") from None
    except jinja2.TemplateNotFound as error:
        raise RenderError(f"there is no template {error.name!r}", remedy="see `templates/`") from None
    except jinja2.TemplateError as error:
        raise RenderError(f"{name}: {error.message}", remedy="a template can use what `plan` has") from None
