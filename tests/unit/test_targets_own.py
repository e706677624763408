"""Targets and templates of the user's, in the folder `templates` beside the spec."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from packager.builders.choose import needs_engine
from packager.cli.target import command
from packager.context.sources import scan_sources
from packager.dockerfile.render import render
from packager.environments.locks.status import lock_status
from packager.errors import PackagerError, RenderError, SpecError
from packager.resources import data_folder
from packager.spec import load_spec
from packager.targets import load_target, target_names
from tests.unit.plans import example_conda_plan, example_plan

LABEL = '{% extends "cpu.Dockerfile.j2" %}\n{% block labels %}\n{{ super() }}LABEL team="ml"\n{% endblock %}\n'


def write(folder: Path, **texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.Dockerfile.j2").write_text(text)
    return folder


def test_a_block_of_a_target_is_overridden_and_the_rest_is_ours(tmp_path: Path) -> None:
    own = write(tmp_path / "templates", cpu=LABEL)
    plan = example_plan()
    ours, theirs = render(plan), render(plan, own)
    assert set(theirs.splitlines()) - set(ours.splitlines()) == {'LABEL team="ml"'}
    assert set(ours.splitlines()) <= set(theirs.splitlines())
    assert render(plan, tmp_path / "none") == ours
    # Not for other targets, whose template is another one.
    edge = example_plan(target="arm-edge", platform="linux/arm64")
    assert render(edge, own) == render(edge)


def test_the_base_of_all_targets_can_be_overridden(tmp_path: Path) -> None:
    text = '{% extends "base.Dockerfile.j2" %}\n{% block user %}\nUSER 4711\n{% endblock %}\n'
    own = write(tmp_path / "templates", base=text)
    for plan in (example_plan(), example_conda_plan()):
        assert "USER 4711" in render(plan, own)


@pytest.mark.parametrize(
    ("body", "says", "line"),
    [
        ("{% block labels %}\n{{ plan.nothing }}\n{% endblock %}\n", "nothing", 3),
        ("{% block labels %}\n\n{{ nothing }}\n{% endblock %}\n", "'nothing' is undefined", 4),
        ("{% block labels %}\n{% for %}\n", "not valid", 3),
        ("{% block labels %}\n{{ 1 / 0 }}\n{% endblock %}\n", "division", 3),
        ("{% block labels %}\n{{ plan.models + 1 }}\n{% endblock %}\n", "concatenate", 3),
        ("{% block labels %}\n{% include 'no.j2' %}\n{% endblock %}\n", "no template 'no.j2'", 3),
        ("{% block labels %}\n{{ plan.name.__class__.__mro__ }}\n{% endblock %}\n", "unsafe", 3),
        ("{% block labels %}\n{{ plan.name | nofilter }}\n{% endblock %}\n", "nofilter", 3),
    ],
)
def test_errors_name_the_users_file_and_line(tmp_path: Path, body: str, says: str, line: int) -> None:
    own = write(tmp_path / "templates", cpu='{% extends "cpu.Dockerfile.j2" %}\n' + body)
    with pytest.raises(RenderError, match=says) as caught:
        render(example_plan(), own)
    assert f"templates/cpu.Dockerfile.j2:{line}" in str(caught.value)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "missing.j2"])
def test_templates_come_from_the_two_folders_alone(tmp_path: Path, name: str) -> None:
    own = write(tmp_path / "templates", cpu=f'{{% extends "{name}" %}}\n')
    with pytest.raises(RenderError, match="no template"):
        render(example_plan(), own)


def test_templates_that_include_each_other_end(tmp_path: Path) -> None:
    own = write(
        tmp_path / "templates", cpu='{% extends "gpu.Dockerfile.j2" %}', gpu='{% extends "cpu.Dockerfile.j2" %}'
    )
    with pytest.raises(RenderError):
        render(example_plan(), own)


@pytest.mark.parametrize(
    "body",
    [
        "{{ 'a' * 10**11 }}",
        "{{ 10**11 * 'a' }}",
        "{{ [plan] * 10**11 }}",
        "{{ plan.name * 10**11 }}",
        "{{ 10**(10**10) }}",
        "{{ 2**(2**60) }}",
        "{{ 'a'.ljust(10**11) }}",
        "{{ '%100000000000d' | format(1) }}",
        "{{ '%100000000000d' % 1 }}",
        "{{ '{:>100000000000}'.format(1) }}",
        "{{ plan.name | center(10**11) }}",
        "{{ 'a' | indent(10**11, first=true) }}",
        "{{ plan.name ~ plan.name.zfill(10**11) }}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}",
        "{% set x = namespace(a='aaaaaaaa') %}{% for i in range(60) %}{% set x.a = x.a ~ x.a %}{% endfor %}",
    ],
)
def test_templates_fill_no_memory(tmp_path: Path, body: str) -> None:
    own = write(tmp_path / "templates", cpu=f"FROM x\n{body}\n")
    limit = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(RenderError) as caught:
        render(example_plan(), own)
    assert "templates/cpu.Dockerfile.j2" in str(caught.value) or "cpu.Dockerfile.j2" in str(caught.value)
    assert resource.getrlimit(resource.RLIMIT_AS) == limit


_DOUBLING = "".join(f"{{% macro m{n + 1}() %}}{{{{ m{n}() }}}}{{{{ m{n}() }}}}{{% endmacro %}}" for n in range(40))


@pytest.mark.parametrize(
    "body",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) if j < 0 %}x{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% set x = namespace() %}{% endfor %}",
        f"{{% macro m0() %}}{{% endmacro %}}{_DOUBLING}{{{{ m40() }}}}",
        "{% include 'other.Dockerfile.j2' %}",
    ],
)
def test_templates_that_make_nothing_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    monkeypatch.setattr("packager.dockerfile.render.MAX_STEPS", 50_000)
    loops = "{% for i in range(99999) %}\n{% for j in range(99999) %}\n{% endfor %}{% endfor %}"
    own = write(tmp_path / "templates", cpu=f"FROM x\n{body}\n", other=loops)
    before = sys.gettrace()
    with pytest.raises(RenderError, match=r"ran 50000 lines(?s:.*)templates/(?:cpu|other)\.Dockerfile\.j2:[12]"):
        render(example_plan(), own)
    assert sys.gettrace() is before


def test_templates_whose_lines_take_long_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packager.dockerfile.render.MAX_SECONDS", -1)
    own = write(tmp_path / "templates", cpu="FROM x\n{% for i in range(99) %}{{ range(9)|sum }}{% endfor %}\n")
    with pytest.raises(RenderError, match="had no end"):
        render(example_plan(), own)


def test_what_a_plan_does_for_a_template_is_no_step_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packager.dockerfile.render.MAX_STEPS", 100)
    own = write(
        tmp_path / "templates", cpu="FROM x\n# {{ plan.app.folder }} {{ range(9000)|map('string')|join|length }}\n"
    )
    assert render(example_plan(), own).endswith(" 34890\n")


def test_templates_may_count_and_repeat(tmp_path: Path) -> None:
    own = write(tmp_path / "templates", cpu="FROM x\n# {{ '-' * 40 }} {{ 2**10 }} {{ 1.5 * 2 }} {{ 3 * 4 }}\n")
    assert render(example_plan(), own).splitlines()[1] == f"# {'-' * 40} 1024 3.0 12"


def test_a_dockerfile_of_the_users_is_for_buildkit() -> None:
    assert needs_engine((), (), "") is None
    assert "cpu.Dockerfile.j2" in (needs_engine((), (), "cpu.Dockerfile.j2") or "")


# --- the verb ---------------------------------------------------------------------------------------------------------


def run(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("start", target_names())
def test_a_new_target_is_that_which_it_starts_from(tmp_path: Path, start: str) -> None:
    written = run("new", "my-own", "--from", start, "-f", str(tmp_path)).split()
    own = tmp_path / "templates"
    assert [Path(each).name for each in written] == ["my-own.toml", "my-own.Dockerfile.j2"]
    new, old = load_target("my-own", own), load_target(start)
    assert (new.name, new.template, new.bases, new.conda) == ("my-own", "my-own.Dockerfile.j2", old.bases, old.conda)
    assert "my-own" in target_names(own)
    assert "my-own" not in target_names()
    with pytest.raises(PackagerError, match="is there already"):
        run("new", "my-own", "--from", start, "-f", str(tmp_path))
    if old.bases:
        import msgspec

        plan = example_plan(target=start, platform=old.platforms[0])
        assert render(msgspec.structs.replace(plan, template=new.template), own) == render(plan)


def test_names_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    for name in ("../x", "Own", "a b", ""):
        with pytest.raises(PackagerError, match="is not a name of a target"):
            run("new", name, "-f", str(tmp_path))
    with pytest.raises(SpecError, match="unknown target 'tpu'"):
        run("new", "own", "--from", "tpu", "-f", str(tmp_path))


def test_list_and_show_know_the_users_targets(tmp_path: Path) -> None:
    run("new", "own", "-f", str(tmp_path))
    listed = json.loads(run("list", "-f", str(tmp_path), "--format", "json"))
    assert [each["name"] for each in listed if each["own"]] == ["own"]
    assert {"cpu", "gpu", "fpga", "arm-edge"} <= {each["name"] for each in listed}
    assert "own" in run("list", "-f", str(tmp_path))
    assert run("show", "gpu") == (data_folder("templates") / "gpu.toml").read_text()
    shown = json.loads(run("show", "gpu", "--format", "json"))
    assert shown["cuda"]["bases"]["12.8"].endswith("0a1eb34bc")
    with pytest.raises(SpecError, match="unknown target 'tpu'"):
        run("show", "tpu")


@pytest.mark.parametrize("targets", ["[cpu, tpu]", "{cpu: {}, tpu: {}}"])
def test_an_unknown_target_of_a_spec_is_named_with_its_line(tmp_path: Path, targets: str) -> None:
    text = f'name: a\nversion: "1"\nentry_script: s.py\nenvironment: {{pip: []}}\ntargets: {targets}\n'
    (tmp_path / "packager.yaml").write_text(text)
    with pytest.raises(SpecError, match="unknown target 'tpu'") as caught:
        lock_status(load_spec(tmp_path))
    assert caught.value.where is not None
    assert (caught.value.where.line, (caught.value.where.field or "")[:7]) == (5, "targets")
    assert "arm-edge, cpu, fpga, gpu" in (caught.value.remedy or "")


def test_the_folder_of_templates_is_beside_the_spec_and_no_part_of_the_app(tmp_path: Path) -> None:
    (tmp_path / "packager.yaml").write_text('name: a\nversion: "1"\nentry_script: s.py\nenvironment: {pip: []}\n')
    own = write(tmp_path / "templates", cpu=LABEL)
    (own / "page.html").write_text("<p>of the service itself</p>")
    (tmp_path / "s.py").write_text("def init(): ...\n")
    spec_file = load_spec(tmp_path)
    assert spec_file.templates == own
    app = scan_sources(spec_file.for_target("cpu"), lambda path, _: ("0" * 64, path.stat().st_size)).app
    assert [file.path for file in app.files] == ["s.py", "templates/page.html"]
