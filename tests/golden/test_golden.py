"""Committed inputs give committed texts; `pytest --update-golden` rewrites them. `cases.py` says what is committed."""

from __future__ import annotations

import functools
import re
import shutil
from pathlib import Path

import jinja2
import msgspec
import pytest

from packager.dockerfile.dialect import buildkit_only
from packager.dockerfile.lint import lint
from packager.dockerfile.render import render
from packager.handoff.instructions import ForPlatform, instructions
from packager.plan.plan import Base, Dialect
from packager.resources import data_folder
from packager.spec import load_spec
from packager.steps.check import check
from packager.steps.plan import plan_image
from tests.golden.cases import CASES, DIALECTS, GOLDEN, LIKE, REFERENCE, outputs, rendered, text_difference
from tests.unit.plans import example_conda_plan, example_plan


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str, request: pytest.FixtureRequest) -> None:
    texts = outputs(case)
    folder = GOLDEN / case
    if request.config.getoption("--update-golden"):
        for name, text in texts.items():
            (folder / name).write_text(text)
    assert {path.name for path in folder.iterdir()} == {"input", *texts}
    for name, text in texts.items():
        assert (folder / name).read_text() == text


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("case", CASES)
def test_a_golden_dockerfile_is_clean(case: str, dialect: Dialect) -> None:
    own = rendered(case, dialect)
    text = own.texts["Dockerfile"]
    assert "hadolint" not in text, "nothing is clean because a comment says so"
    # A compiler has no version there: it is the base's own, and in no image.
    unpinned = ["DL3008"] if own.plan.environment.from_source else []
    assert [finding.code for finding in lint(text) if finding.level != "ignore"] == unpinned
    assert (list(buildkit_only(text)) == []) is (dialect == "plain")


@pytest.mark.parametrize("case", CASES)
def test_the_dialects_differ_in_nothing_that_reaches_the_image(case: str) -> None:
    """All that the layers and the configuration are made of is in both, line by line."""
    whole, plain = (rendered(case, dialect).texts["Dockerfile"] for dialect in DIALECTS)
    rest = re.sub(r"^ARG PIP_INDEX_URL\n|^COPY environment/.*\n|^#.*\n| --no-cache-dir", "", plain, flags=re.M)
    expected = re.sub(r" --link(?= )| --mount=\S+| --cache /root/\.cache/wheels|^#.*\n", "", whole, flags=re.M)
    assert re.sub(r"\s*\\\n\s*", " ", rest) == re.sub(r"(\s*\\\n\s*)+", " ", expected)


def test_the_server_has_a_layer_that_is_the_same_in_all(tmp_path: Path) -> None:
    """Whatever target, environment, models and server options a spec has: it changes with packager alone."""
    plans = [rendered(case).plan for case in CASES]
    shutil.copytree(GOLDEN / REFERENCE / "input", tmp_path / "input")
    spec = tmp_path / "input/packager.yaml"
    spec.write_text(f"{spec.read_text()}server: {{auth: key, workers: 3, port: 8080, scoring_timeout: 9}}\n")
    plans.append(plan_image(load_spec(spec), "cpu").plan)
    assert {plan.server.folder for plan in plans} == {plans[0].server.folder}
    assert [plan.layers.index(plan.server) for plan in plans] == [0] * len(plans)
    for plan in plans:
        assert plan.server.tree.files
        own = [file.path for layer in plan.layers for file in layer.tree.files if file.path.startswith("opt/")]
        assert own == [file.path for file in plan.server.tree.files]


@pytest.mark.parametrize("case", CASES)
def test_a_context_has_the_locks_as_they_are_committed(case: str) -> None:
    texts = {file.path.rpartition("/")[2]: file.text for file in rendered(case).context.files}
    for path in (GOLDEN / case / "input/locks").iterdir():
        assert texts[path.name.partition(".")[2]] == path.read_text()


def test_an_override_that_breaks_lint_is_named_with_its_line(tmp_path: Path) -> None:
    """Where an expression, a loop or an included file made the text, too."""
    folder = tmp_path / "input"
    shutil.copytree(GOLDEN / REFERENCE / "input", folder)
    own = folder / "templates"
    own.mkdir()
    (own / "cpu.Dockerfile.j2").write_text(
        '{% extends "cpu.Dockerfile.j2" %}\n{% block labels %}\n{{ super() }}\n'
        "{% for layer in plan.layers %}\nRUN cd /{{ layer.name }}\n{% endfor %}\n"
        '{% include "more.j2" %}\n{% endblock %}\n'
    )
    (own / "more.j2").write_text("LABEL a=b\nMAINTAINER {{ plan.name }}\n")
    spec_file = load_spec(folder)
    findings = check(spec_file, offline=True)
    found = [(each.rule, each.file, each.line) for each in findings if each.rule.startswith("DL")]
    loop = "templates/cpu.Dockerfile.j2", 5
    assert sorted(found) == [
        ("DL3003", *loop),
        ("DL3059", *loop),
        ("DL4000", "templates/more.j2", 2),
    ]


def test_every_folder_is_a_case_and_differs_from_one_with_texts_of_its_own() -> None:
    assert {path.parent.name for path in GOLDEN.glob("*/input")} == set(CASES)
    for case in LIKE:
        while case != REFERENCE:
            case = LIKE[case][0]  # A circle would never end, and a case that is not there has no way on.


@pytest.mark.parametrize("case", LIKE)
def test_a_difference_is_not_moved_by_what_both_cases_get(case: str) -> None:
    new, old = (rendered(name).texts["Dockerfile"] for name in (case, LIKE[case][0]))
    difference = functools.partial(text_difference, "old", after_name="new")
    expected = difference(before=old, after=new)
    common = [
        ("ENV SERVICE_NAME=", 'ENV LATER="1"\nENV SERVICE_NAME='),
        ("LABEL packager.lock=", 'LABEL packager.later="1"\nLABEL packager.lock='),
        ("EXPOSE ", "EXPOSE 1"),
    ]
    for text, later in common:
        assert text in old
        old, new = old.replace(text, later), new.replace(text, later)
        assert difference(before=old, after=new) == expected
    assert difference(before=old, after=new.replace('LATER="1"', 'LATER="2"')) != expected


#: What is a page and no part of a context has tests of its own.
_PAGES = {"report.html.j2"}


@pytest.mark.parametrize(
    "template", sorted(path.name for path in data_folder("templates").glob("*.j2") if path.name not in _PAGES)
)
def test_every_word_of_a_template_is_in_a_golden(template: str) -> None:
    """But for what no case has: an engine's own base, a source build beside a channel, micromamba with pip."""
    texts = [text for case in CASES for dialect in DIALECTS for text in rendered(case, dialect).texts.values()]
    local = Base(reference="local/p:3", digest="sha256:" + "1" * 64, source="local/p:3", local=True)
    conda = example_conda_plan()
    built = msgspec.structs.replace(
        conda.environment, locked=msgspec.structs.replace(conda.environment.locked, from_source=("one",))
    )
    asked = ForPlatform(
        name="kubernetes",
        title="K",
        files={"a": "", "b": ""},
        digest="sha256:0",
        unmet=("u",),
        secrets=("s",),
        apply="a",
    )
    alone = msgspec.structs.replace(asked, files={"a": ""})
    texts += [
        instructions(example_plan(base=local), None, (asked, alone)),
        render(msgspec.structs.replace(conda, environment=built)),
    ]
    mamba = rendered("gpu-two-models").plan
    by_pip = msgspec.structs.replace(mamba.environment, installer="pip")
    texts.append(render(msgspec.structs.replace(mamba, environment=by_pip)))
    shown = "\n".join(texts)
    tokens = jinja2.Environment().lex((data_folder("templates") / template).read_text())
    words = [line.strip() for _, kind, text in tokens if kind == "data" for line in text.splitlines()]
    assert [word for word in words if word not in shown] == []
