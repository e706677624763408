"""Which line of which template of the user's a line of a Dockerfile comes from.

The templates are rendered a second time, with a mark in front of each piece of text and each expression. Whatever
stands between two marks comes from the line that the first one names: in loops, in macros, and where an expression
made it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import jinja2
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream

from packager.dockerfile.dialect import buildkit_only
from packager.dockerfile.render import make_environment, render_template, rendered
from packager.errors import Location, RenderError
from packager.plan.plan import Plan

OWN = "templates/"
_MARK = re.compile("\x02([0-9]+)\x03")
# Every plan has this one; what it makes by itself is not the user's doing.
_OURS = "base.Dockerfile.j2"


class _Marking(Extension):
    """Puts marks into the text of a template while Jinja reads it."""

    def __init__(self, environment: jinja2.Environment) -> None:
        super().__init__(environment)
        self.places: list[Location] = []

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Return a template's tokens, with marks before text and before expressions."""
        for token in stream:
            if token.type == "data":
                yield Token(token.lineno, "data", "".join(self._marked(stream, token)))
                continue
            if token.type == "variable_begin":
                yield Token(token.lineno, "data", self._mark(stream, token.lineno))
            yield token

    def _marked(self, stream: TokenStream, token: Token) -> Iterator[str]:
        for number, line in enumerate(token.value.splitlines(keepends=True), token.lineno):
            # Blocks that are `required` hold nothing but white space.
            yield self._mark(stream, number) + line if line.strip() else line

    def _mark(self, stream: TokenStream, line: int) -> str:
        self.places.append(Location(file=stream.filename or stream.name or "", line=line))
        return f"\x02{len(self.places) - 1}\x03"


def line_places(plan: Plan, templates: Path | None, text: str) -> tuple[Location | None, ...]:
    """Return, for each line of a Dockerfile, the line of the user's template that it comes from; None where it is ours.

    Args:
        plan: of the image.
        templates: folder of the user's templates.
        text: the Dockerfile, as `render` made it of these.
    """
    if templates is None or not templates.is_dir():
        return (None,) * len(text.splitlines())
    environment = make_environment(templates)
    environment.add_extension(_Marking)
    extension = environment.extensions[_Marking.identifier]
    assert isinstance(extension, _Marking), "added above"
    try:
        marked = rendered(environment, plan.template, True, plan=plan)
        ours = frozenset(render_template(_OURS, plan).splitlines())
    except (jinja2.TemplateError, RenderError, ArithmeticError, LookupError, TypeError, ValueError):
        marked, ours = "", frozenset()
    if _MARK.sub("", marked) != text:
        # A template that looks at its own text can tell that marks are in it.
        return (None,) * len(text.splitlines())
    return tuple(_line_places(marked.splitlines(), extension.places, ours))


def require_plain(plan: Plan, templates: Path | None, text: str) -> None:
    """Refuse what a template of the user's has for BuildKit alone.

    Raises:
        RenderError: the first found, with its line in the template.
    """
    for line, what in buildkit_only(text):
        raise RenderError(
            f"{what} is for BuildKit alone, and the dialect is plain",
            where=line_places(plan, templates, text)[line - 1] or Location(file="Dockerfile", line=line),
            remedy='`{% if plan.dialect == "buildkit" %} … {% endif %}` around it; `COPY {{ link }}…` is right in both',
        )


def _line_places(lines: list[str], places: list[Location], ours: frozenset[str]) -> Iterator[Location | None]:
    current: Location | None = None
    own: Location | None = None  # the user's line that was seen last
    for line in lines:
        found = None
        pieces = _MARK.split(line)
        for index, piece in enumerate(pieces):
            if index % 2:
                current = places[int(piece)]
                own = current if current.file.startswith(OWN) else own
            elif piece.strip() and found is None and current is not None and current.file.startswith(OWN):
                found = current
        # `{{ super() | replace(…) }}`: the text is marked as ours, and yet it is not what ours would be.
        unmarked = "".join(pieces[::2])
        yield found or (own if unmarked.strip() and unmarked not in ours else None)
