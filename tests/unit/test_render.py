from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from packager.dockerfile.lint import lint
from packager.dockerfile.render import quoted, render, render_template
from packager.errors import RenderError
from packager.handoff.instructions import instructions
from packager.plan.plan import Base
from tests.unit.plans import example_conda_plan, example_plan

PRINTABLE = st.text(alphabet=st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=60)


def unquote(word: str) -> str:
    r"""What BuildKit makes of a double-quoted word: `\` takes `"`, `$` and itself; a bare `$` would be a variable."""
    assert word[0] == word[-1] == '"'
    inner = word[1:-1]
    assert re.fullmatch(r'(?:[^"$\\]|\\["$\\])*', inner), "an unescaped quote, variable or backslash"
    return re.sub(r'\\(["$\\])', r"\1", inner)


@given(PRINTABLE | st.text(alphabet='\\"$a ', max_size=6))
@example("\\")
@example("C:\\new $x")
@example('\\"')
def test_a_quoted_value_is_read_back_as_it_was(value: str) -> None:
    assert unquote(quoted(value)) == value


@given(value=PRINTABLE, description=PRINTABLE)
def test_no_value_becomes_an_instruction(value: str, description: str) -> None:
    more = f"models: []\nenv: {{A: {json.dumps(value, ensure_ascii=False)}}}\n"
    more += f"description: {json.dumps(description, ensure_ascii=False)}\n"
    before = render(example_plan("models: []\nenv: {A: x}\ndescription: y\n", models=0)).splitlines()
    after = render(example_plan(more, models=0)).splitlines()
    assert len(after) in (len(before), len(before) - (not description))
    assert [line.split()[0:1] for line in after if line.startswith("ENV A=")] == [["ENV"]]
    assert [line for line in after if line.split("=")[0] not in ("ENV A",) and "description" not in line] == [
        line for line in before if line.split("=")[0] not in ("ENV A",) and "description" not in line
    ]


def test_each_layer_is_one_linked_copy_in_cache_order() -> None:
    plan = example_plan("models: [{path: a, name: one}, {path: b, name: two}]\n", models=2)
    copies = [line for line in render(plan).splitlines() if line.startswith("COPY")]
    assert copies == [
        "COPY --link --from=environment /layer/ /",
        *(f"COPY --link {layer.folder}/ /" for layer in plan.layers),
    ]


def test_system_packages_are_a_stage_of_their_own() -> None:
    text = render(example_plan("system_packages: [libgomp1=14.2.0-19]\n", models=0))
    assert "install --yes --no-install-recommends libgomp1=14.2.0-19 \\" in text
    assert "COPY --link --from=system /layer/ /" in text
    assert "AS system" not in render(example_plan())
    assert [finding for finding in lint(text) if finding.level != "ignore"] == []


def test_an_unpinned_system_package_is_a_finding_of_hadolint() -> None:
    text = render(example_plan("system_packages: [libgomp1]\n", models=0))
    assert [finding.code for finding in lint(text)] == ["DL3008"]


def test_only_named_packages_may_be_built_from_source() -> None:
    from tests.unit.plans import example_locked

    locked = example_locked(build_from_source=("one", "two"))
    text = render(example_plan(locked=locked))
    assert "--uv /tmp/environment/uv.txt --cache /root/.cache/wheels --no-binary one --no-binary two" in text
    text = render(example_plan("installer: pip\n", locked=locked))
    assert "--only-binary :all: --no-binary one --no-binary two" in text
    assert "build-essential" in text
    plain = render(example_plan())
    assert "--no-binary" not in plain
    assert "build-essential" not in plain


def test_the_instructions_hold_the_commands() -> None:
    text = instructions(example_plan("image: {repository: r.example.com/d, tags: ['1', latest]}\n", models=0))
    assert "--tag r.example.com/d:1 \\\n        --tag r.example.com/d:latest .\n" in text
    assert "docker push r.example.com/d:latest" in text
    assert "--build-context" in text
    local = Base(reference="local/p:3", digest="sha256:" + "1" * 64, source="local/p:3", local=True)
    assert "--build-context" not in instructions(example_plan(base=local))


def test_errors_of_templates_name_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "bad.j2").write_text("FROM x\n{% for %}\n")
    (tmp_path / "undefined.j2").write_text("FROM {{ plan.nothing }}\n")
    with pytest.raises(RenderError, match=r"(?s)not valid.*templates/bad\.j2:2"):
        render_template("bad.j2", example_plan(), tmp_path)
    with pytest.raises(RenderError, match=r"(?s)nothing.*templates/undefined\.j2:1"):
        render_template("undefined.j2", example_plan(), tmp_path)
    with pytest.raises(RenderError, match="no template"):
        render_template("missing.j2", example_plan(), tmp_path)


def test_a_template_that_is_edited_is_read_again_by_the_same_process(tmp_path: Path) -> None:
    plan, own = example_plan(), tmp_path / "cpu.Dockerfile.j2"
    for mark in ("first", "other"):  # of one length
        own.write_text(f'{{% extends "cpu.Dockerfile.j2" %}}{{% block header %}}# {mark}\n{{% endblock %}}')
        assert render(plan, tmp_path).startswith(f"# {mark}\n")
    base = tmp_path / "base.Dockerfile.j2"
    base.write_text("# a base of ours\n{% block header %}{% endblock %}")
    assert render(plan, tmp_path) == "# a base of ours\n# other\n"
    base.unlink()
    own.unlink()
    assert render(plan, tmp_path) == render(plan)


def test_conda_is_installed_in_a_stage_of_its_own_image() -> None:
    plan = example_conda_plan()
    text = render(plan)
    assert plan.environment.conda is not None
    assert f"FROM {plan.environment.conda.installer_base.source} AS environment" in text
    assert f"FROM {plan.base.source} AS base" in text
    assert "--subdir linux-64" in text
    assert "python3 -m venv --without-pip" not in text
    assert lint(text) == ()
    assert lint(render(example_conda_plan("models: []\nconda: {installer: micromamba}\n", models=0))) == ()
    assert "2 conda packages from https://conda.example.com/forge" in instructions(plan)
    assert "2 conda packages and 2 Python packages" in instructions(plan)


def test_mirrors_of_channels_are_words_of_the_shell() -> None:
    mirrors = {"https://conda.example.com/forge": "https://m.example/$(id)/forge"}
    assert "--mirror 'https://conda.example.com/forge=https://m.example/$(id)/forge'" in render(
        example_conda_plan(channel_mirrors=mirrors)
    )
    assert "--mirror" not in render(example_conda_plan())
