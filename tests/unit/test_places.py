"""Lines of a Dockerfile and the lines of the users' templates that they come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.dockerfile.places import line_places
from packager.dockerfile.render import render
from packager.plan.plan import Plan
from tests.unit.plans import example_plan

START = '{% extends "cpu.Dockerfile.j2" %}\n{% block labels %}\n'
END = "{% endblock %}\n"


def write(folder: Path, body: str, **more: str) -> Path:
    folder.mkdir()
    (folder / "cpu.Dockerfile.j2").write_text(START + body + END)
    for name, text in more.items():
        (folder / f"{name}.j2").write_text(text)
    return folder


def places(plan: Plan, own: Path) -> dict[str, str]:
    """Line of the Dockerfile → place in a template of the user's; nothing for lines that are ours."""
    text = render(plan, own)
    found = zip(text.splitlines(), line_places(plan, own, text), strict=True)
    return {line: str(place) for line, place in found if place is not None}


@pytest.mark.parametrize(
    ("body", "line", "expected"),
    [
        ("RUN cd /tmp\n", "RUN cd /tmp", 3),
        ("{{ super() }}\nRUN cd /tmp\n", "RUN cd /tmp", 4),
        ("{{ super() }}RUN cd /tmp\n", "RUN cd /tmp", 3),
        ("\n{# none #}\nRUN cd {{ plan.config.working_dir }}\n", "RUN cd /var/azureml-app", 5),
        ("{{ 'RUN cd ' ~ '/tmp' }}\n", "RUN cd /tmp", 3),
        ("{% for n in [1, 2] %}\nRUN cd /{{ n }}\n{% endfor %}\n", "RUN cd /2", 4),
        ("{% for n in [1, 2] %}\nRUN echo\n{{ 'RUN cd /' ~ n }}\n{% endfor %}\n", "RUN cd /2", 5),
        ("{% set a %}\nRUN cd /a\n{% endset %}\nRUN cd /b\n{{ a }}\n", "RUN cd /a", 4),
        ("{%- if plan.models -%}\n  RUN cd /tmp\n{%- endif %}\n\n", "RUN cd /tmp", 4),
        ("{% macro go(to) %}\nRUN cd {{ to }}\n{% endmacro %}\n{{ go('/a') }}{{ go('/b') }}\n", "RUN cd /b", 4),
        ("{{ super() | replace('LABEL', 'ENV') }}", 'ENV packager.target="cpu"', 3),
        ("{% raw %}RUN {{\n{% endraw %}\nRUN cd /tmp\n", "RUN cd /tmp", 5),
    ],
)
def test_a_line_comes_from_where_it_was_written(tmp_path: Path, body: str, line: str, expected: int) -> None:
    own = write(tmp_path / "templates", body)
    assert places(example_plan(), own)[line] == f"templates/cpu.Dockerfile.j2:{expected}"


def test_what_is_ours_has_no_place(tmp_path: Path) -> None:
    own = write(tmp_path / "templates", "{{ super() }}\nRUN cd /tmp\n")
    plan = example_plan()
    assert places(plan, own).keys() == {"RUN cd /tmp"}
    text = render(plan)
    assert set(line_places(plan, None, text)) == set(line_places(plan, tmp_path / "none", text)) == {None}


def test_what_is_included_has_its_own_file(tmp_path: Path) -> None:
    own = write(tmp_path / "templates", "{% include 'more.j2' %}\n", more="RUN true\nRUN cd {{ plan.name }}\n")
    assert places(example_plan(), own)["RUN cd diabetes"] == "templates/more.j2:2"


def test_a_template_that_looks_at_its_own_text_is_left_alone(tmp_path: Path) -> None:
    own = write(tmp_path / "templates", "{% set a %}RUN cd /tmp{% endset %}\n{{ a | length }}\n{{ a }}\n")
    plan = example_plan()
    text = render(plan, own)
    assert "\n11\n" in text
    assert set(line_places(plan, own, text)) == {None}
