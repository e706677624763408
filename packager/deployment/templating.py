"""Values → the text of a platform's file, by the templates of `templates/deploy`. Pure but for reading those."""

from __future__ import annotations

import functools
import json
import shlex
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from packager.resources import data_folder


def yaml_text(value: object) -> str:
    r"""Return a text as a double-quoted scalar of YAML, which no value gets out of.

    A JSON string is one but for what YAML does not let stand as it is: line breaks beyond ASCII, and what cannot be
    printed, which are written `\uXXXX` and `\UXXXXXXXX` (YAML 1.2, 5.7).
    """
    return f'"{"".join(map(_yaml_character, str(value)))}"'


def _yaml_character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"


def compose_text(value: object) -> str:
    """Return a text as `yaml_text` does, in which Compose looks for no variables (`$`)."""
    return yaml_text(str(value).replace("$", "$$"))


def unit_text(value: object) -> str:
    r"""Return a text as one quoted word of a unit, as `unit_line` does.

    Quotes, backslashes and what cannot be printed are written as in C (systemd.syntax, "Quoting"), which YAML does, too.
    """
    return yaml_text(unit_line(value))


def unit_line(value: object) -> str:
    """Return a text for the rest of a unit's line.

    `%` starts a specifier there (systemd.unit, "Specifiers"). Quadlet puts what it is given into the command of a
    service, where `$` starts a variable (systemd.service, "Command lines").
    """
    return str(value).replace("%", "%%").replace("$", "$$")


def comment(value: object) -> str:
    """Return a text for a comment: what cannot be printed, such as a line break, is left out."""
    return "".join(filter(str.isprintable, str(value)))


def number(value: float) -> str:
    """Return a number as people write it: no `.0`."""
    return f"{value:g}"


def memory(value: int) -> str:
    """Return bytes as Docker and Podman have them, in the largest binary unit that is exact: `512m`."""
    for power, unit in ((3, "g"), (2, "m"), (1, "k")):
        if value % 1024**power == 0:
            return f"{value // 1024**power}{unit}"
    return f"{value}b"


def json_value(value: object) -> str:
    """Return a value as JSON."""
    return json.dumps(value, ensure_ascii=False)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(data_folder("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the output is no HTML; values go through the filters below
    )
    environment.filters.update(
        comment=comment,
        number=number,
        memory=memory,
        yaml=yaml_text,
        compose=compose_text,
        unit=unit_text,
        unit_line=unit_line,
        json=json_value,
        shell_word=shlex.quote,
    )
    return environment


def text_of(name: str, **values: Any) -> str:
    """Return what a template makes of values.

    Args:
        name: of the template, below `templates/deploy`.
        values: the names in its scope.
    """
    return _environment().get_template(f"deploy/{name}").render(values)
