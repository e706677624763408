"""Committed inputs give committed outputs; `pytest --update-golden` rewrites them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from packager.checks.run import check
from packager.context.save import save
from packager.dockerfile.dialect import buildkit_only
from packager.dockerfile.lint import lint
from packager.pipeline import build_context, in_dialect, plan_image
from packager.plan.plan import Dialect
from packager.spec import load_spec
from packager.storage.models import Store

CASES = sorted(path for path in Path(__file__).parent.iterdir() if (path / "input").is_dir())
OUTPUTS = ("Dockerfile", "HANDOFF.md", "packager.json")
#: Folder of a case → the dialect of what is in it.
DIALECTS: dict[str, Dialect] = {"": "buildkit", "plain": "plain"}


@pytest.mark.parametrize("inner", DIALECTS, ids=DIALECTS.values())
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_golden(case: Path, inner: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = tmp_path / "input"
    shutil.copytree(case / "input", folder)
    spec_file = load_spec(folder)
    store = Store()
    (target,) = spec_file.spec.target_names
    planned = plan_image(spec_file, target, digest_model=store.add)
    planned = in_dialect(planned, DIALECTS[inner])
    context = build_context(planned)
    saved = save(context, spec_file.root, tmp_path / "context", store)
    for name in (*OUTPUTS, *planned.plan.files):
        text = (saved / name).read_text()
        if request.config.getoption("--update-golden"):
            (case / inner).mkdir(exist_ok=True)
            (case / inner / name).write_text(text)
        assert (case / inner / name).read_text() == text


@pytest.mark.parametrize("inner", DIALECTS, ids=DIALECTS.values())
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_a_golden_dockerfile_is_clean(case: Path, inner: str) -> None:
    text = (case / inner / "Dockerfile").read_text()
    assert "hadolint" not in text, "nothing is clean because a comment says so"
    assert [finding for finding in lint(text) if finding.level != "ignore"] == []
    assert (list(buildkit_only(text)) == []) is (inner == "plain")


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_the_dialects_differ_in_nothing_that_reaches_the_image(case: Path) -> None:
    """All that the layers and the configuration are made of is in both, line by line."""
    whole, plain = ((case / inner / "Dockerfile").read_text() for inner in DIALECTS)
    rest = re.sub(r"^ARG PIP_INDEX_URL\n|^COPY environment/.*\n|^#.*\n| --no-cache-dir", "", plain, flags=re.M)
    expected = re.sub(r" --link(?= )| --mount=\S+|^#.*\n", "", whole, flags=re.M)
    assert re.sub(r"\s*\\\n\s*", " ", rest) == re.sub(r"(\s*\\\n\s*)+", " ", expected)


def test_an_override_that_breaks_lint_is_named_with_its_line(tmp_path: Path) -> None:
    """Where an expression, a loop or an included file made the text, too."""
    folder = tmp_path / "input"
    shutil.copytree(Path(__file__).parent / "cpu-one-model/input", folder)
    own = folder / "templates"
    own.mkdir()
    (own / "cpu.Dockerfile.j2").write_text(
        '{% extends "cpu.Dockerfile.j2" %}\n{% block labels %}\n{{ super() }}\n'
        "{% for layer in plan.layers %}\nRUN cd /{{ layer.name }}\n{% endfor %}\n"
        '{% include "more.j2" %}\n{% endblock %}\n'
    )
    (own / "more.j2").write_text("LABEL a=b\nMAINTAINER {{ plan.name }}\n")
    spec_file = load_spec(folder)
    findings = check(spec_file, lambda target: plan_image(spec_file, target, digest_model=Store().add), offline=True)
    found = [(each.rule, each.file, each.line) for each in findings if each.rule.startswith("DL")]
    loop = "templates/cpu.Dockerfile.j2", 5
    assert sorted(found) == [
        ("DL3003", *loop),
        ("DL3059", *loop),
        ("DL4000", "templates/more.j2", 2),
    ]


def test_there_are_goldens() -> None:
    assert CASES
