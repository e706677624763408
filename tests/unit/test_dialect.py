"""The plain dialect: nothing in it is for BuildKit alone, whoever wrote the template."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.dockerfile.dialect import buildkit_only
from packager.dockerfile.lint import lint
from packager.dockerfile.render import render
from packager.dockerfile.text import dockerfile
from packager.errors import RenderError
from packager.handoff.context import build_context
from packager.handoff.instructions import instructions
from packager.plan.plan import Plan
from packager.plan.planned import Planned
from packager.spec import parse_spec
from packager.spec.model import packaged
from tests.unit.plans import LEAST, example_conda_plan, example_locked, example_plan

SYSTEM = "models: []\nsystem_packages: [libgomp1=14.2.0-19]\n"
PLANS = {
    "pip": example_plan(),
    "system": example_plan(SYSTEM, models=0),
    "source": example_plan(locked=example_locked(build_from_source=("one",))),
    "edge": example_plan(target="arm-edge", platform="linux/arm64"),
    "rattler": example_conda_plan(),
    "micromamba": example_conda_plan("models: []\nconda: {installer: micromamba}\n", models=0),
}


def plain(plan: Plan) -> Plan:
    return Planned(plan=plan, spec=Path("/packager.yaml"), requirements="").in_dialect("plain").plan


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_every_plan_has_a_plain_dockerfile(plan: Plan) -> None:
    whole, text = render(plan), render(plain(plan))
    assert list(buildkit_only(text)) == []
    assert "--mount" not in text
    assert {what for _, what in buildkit_only(whole)} == {"RUN --mount", "COPY --link"}
    assert [each.code for each in lint(text)] == [each.code for each in lint(whole)]
    assert "--link" not in text.replace("--link-scripts", "")
    said = instructions(plain(plan))
    assert "buildah bud" in said
    assert "dialect `plain`" in said
    assert "--secret" not in said
    assert "buildx" not in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN --mount=type=cache,target=/x true\n", [(1, "RUN --mount")]),
        ("# COPY --link a b\nCOPY --from=a --link b /\n", [(2, "COPY --link")]),
        ("run \\\n  # why\n  --mount=type=tmpfs,target=/x \\\n  true\nADD --checksum=sha256:1 a b\n",
         [(1, "RUN --mount"), (5, "ADD --checksum")]),
        ("COPY <<EOF /x\nhello\nEOF\n", [(1, "a heredoc of COPY")]),
        ("RUN cat <<-'EOT' && true\n", [(1, "a heredoc of RUN")]),
        ("COPY --from=a --chown=1:1 --link=false b /\n", [(1, "COPY --link")]),
        ("FROM --platform=linux/amd64 a AS b\nRUN prog --link --mount=x $((1 << 3)) <<< x\nENV A=--link\n", []),
        ('LABEL a="<<EOF"\nCOPY --from=a --chown=1 /a /b\n', []),
        ("RUN true \\\n", []),
        ("", []),
    ],
)  # fmt: skip
def test_what_only_buildkit_reads_is_found(text: str, expected: list[tuple[int, str]]) -> None:
    assert list(buildkit_only(text)) == expected


def test_a_template_of_ones_own_is_right_in_both(tmp_path: Path) -> None:
    start = '{% extends "cpu.Dockerfile.j2" %}\n{% block accelerator %}\n'
    template = tmp_path / "templates/cpu.Dockerfile.j2"
    template.parent.mkdir()
    template.write_text(f"{start}COPY {{{{ link }}}}--from=tools /x /\n{{% endblock %}}\n")
    planned = Planned(plan=example_plan(), spec=tmp_path / "packager.yaml", requirements="")
    assert "COPY --link --from=tools /x /\n" in dockerfile(planned)
    assert "COPY --from=tools /x /\n" in dockerfile(planned.in_dialect("plain"))


@pytest.mark.parametrize("line", ["COPY --link a /{{ plan.name }}", "RUN --mount=type=cache,target=/c true"])
def test_a_template_for_buildkit_alone_is_named(tmp_path: Path, line: str) -> None:
    template = tmp_path / "templates/cpu.Dockerfile.j2"
    template.parent.mkdir()
    template.write_text('{% extends "cpu.Dockerfile.j2" %}\n{% block accelerator %}\n' + line + "\n{% endblock %}\n")
    planned = Planned(plan=example_plan(), spec=tmp_path / "packager.yaml", requirements="")
    dockerfile(planned)
    with pytest.raises(RenderError, match="is for BuildKit alone") as caught:
        build_context(planned.in_dialect("plain"))
    assert "templates/cpu.Dockerfile.j2:3" in str(caught.value)
    assert "plan.dialect" in (caught.value.remedy or "")


def test_the_spec_may_ask_for_it_and_the_image_is_the_same() -> None:
    asked, usual = (parse_spec(LEAST + more, Path("packager.yaml")).spec for more in ("dialect: plain\n", ""))
    assert packaged(asked) == packaged(usual)
    plan = example_plan("dialect: plain\nmodels: []\n", models=0)
    assert plan.dialect == "plain"
    planned = Planned(plan=plan, spec=Path("/packager.yaml"), requirements="")
    assert planned.in_dialect(None) is planned
    assert planned.in_dialect("buildkit").plan.dialect == "buildkit"


def test_the_manifest_says_which_it_is() -> None:
    planned = Planned(plan=example_plan(), spec=Path("/packager.yaml"), requirements="")
    texts = {name: build_context(planned.in_dialect(name)).manifest_text for name in ("plain", "buildkit")}
    for name, text in texts.items():
        assert f'"dialect": "{name}"' in text
