"""`templates/deploy/<platform>/*.j2` → the text of a file. Pure but for reading the templates, which are all ours."""

from __future__ import annotations

import functools
import json
import re
import shlex
from typing import Any

import jinja2

from packager.deployment.quoting import FILTERS
from packager.resources import data_folder

#: What YAML takes for a text as it stands, if it is none of the words below: it begins with a letter or a slash, and no
#: colon is at its end.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./@-]*(?::[A-Za-z0-9_./@-]+)*")
#: Of YAML 1.1, which Kubernetes' and Compose's readers still know.
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def yaml_text(value: object) -> str:
    """Return a text as a scalar of YAML: plain where that is one for every reader, else in double quotes.

    JSON's form of a text is YAML's, too (YAML 1.2, 10.2); what is no text is made one first.
    """
    text = str(value)
    plain = _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)


def json_value(value: object) -> str:
    """Return a value as JSON in one line."""
    return json.dumps(value, ensure_ascii=False)


def shell_word(value: object) -> str:
    """Return a value as one word of a POSIX shell."""
    return shlex.quote(str(value))


def plain_number(value: float) -> str:
    """Return a number without digits that say nothing: `2`, `0.5`."""
    return f"{value:g}"


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(data_folder("templates") / "deploy"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the output is no HTML; values go through the filters below
    )
    environment.filters.update(yaml=yaml_text, json=json_value, shell_word=shell_word, number=plain_number)
    environment.filters.update(FILTERS)
    return environment


def render_text(template: str, **values: Any) -> str:
    """Return what a template makes of values.

    Args:
        template: its path below `templates/deploy` (`kubernetes/service.yaml.j2`).
        **values: the names in its scope.
    """
    return _environment().get_template(template).render(**values)
