"""Pipelines for CI systems: committed texts, held by the systems' own schemas; their commands are ones of ours."""

from __future__ import annotations

import difflib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from packager.cli import cli
from packager.errors import LockError, UsageError
from packager.handoff.pipeline import SYSTEMS, Pipeline, System, commands, pipeline_text
from packager.spec import load_spec
from packager.steps.ci import ci

GOLDEN = Path(__file__).parent / "pipelines"
#: System → the schema's name in check-jsonschema, and how it is read.
SCHEMAS: dict[System, tuple[str, ...]] = {
    "github": ("vendor.github-workflows",),
    "gitlab": ("vendor.gitlab-ci", "--data-transform", "gitlab-ci"),
    # Its patterns are of before `u`.
    "azure": (
        *("vendor.azure-pipelines", "--data-transform", "azure-pipelines", "--regex-variant", "nonunicode"),
    ),
}  # fmt: skip
YAMLLINT = "{extends: default, rules: {line-length: {max: 160}, document-start: disable, truthy: {check-keys: false}, \
comments: {min-spaces-from-content: 1}}}"
#: Below a folder, with a system package, for two platforms of which one is emulated, at two registries.
HARD = Pipeline(
    name="net_of.ours",
    spec="models/net/gpu.yaml",
    lock="models/net/gpu.packager.lock",
    python="3.12",
    references=("ghcr.io/acme/net:1", "ghcr.io/acme/net:1-gpu"),
    registries=("ghcr.io", "registry.example.com:5000"),
    targets={"cpu": ("linux/amd64", "linux/arm64"), "gpu": ("linux/amd64",)},
    here=("cpu",),
    tested=True,
    engine="Debian packages have to be installed (libgl1)",
    system_packages=("libgl1", "libgomp1=12.2.0-14"),
)


@pytest.fixture(scope="module")
def reference(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[System, str]:
    """The pipelines of the first example, at the top of a repository of its own."""
    folder = Path(shutil.copytree(checkout / "examples/diabetes", tmp_path_factory.mktemp("pipelines") / "diabetes"))
    (folder / ".git").mkdir()
    return {system: ci(load_spec(folder), system) for system in SYSTEMS}


@pytest.fixture(scope="module")
def every(reference: dict[System, str]) -> dict[tuple[System, str], str]:
    hard = {(system, "hard"): pipeline_text(HARD, system) for system in SYSTEMS}
    return {**{(system, "reference"): text for system, text in reference.items()}, **hard}


@pytest.mark.parametrize("system", SYSTEMS)
def test_golden(system: System, every: dict[tuple[System, str], str], request: pytest.FixtureRequest) -> None:
    one, other = every[system, "reference"], every[system, "hard"]
    lines = difflib.unified_diff(one.splitlines(), other.splitlines(), "reference", "hard", lineterm="", n=0)
    # Where a line stands says nothing.
    difference = "".join(f"{re.sub(r'^@@ .* @@$', '@@ @@', line)}\n" for line in lines)
    for path, text in ((GOLDEN / f"{system}.yml", one), (GOLDEN / f"{system}.diff", difference)):
        if request.config.getoption("--update-golden"):
            path.write_text(text)
        assert path.read_text() == text


@pytest.mark.parametrize("system", SCHEMAS)
def test_a_system_would_take_it(system: System, every: dict[tuple[System, str], str], tmp_path: Path) -> None:
    paths = []
    for case in ("reference", "hard"):
        (path := tmp_path / f"{case}.yml").write_text(every[system, case])
        paths.append(str(path))
    words = [sys.executable, "-m", "check_jsonschema", "--verbose", "--builtin-schema", *SCHEMAS[system], *paths]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_they_are_clean_yaml(every: dict[tuple[System, str], str], tmp_path: Path) -> None:
    for (system, case), text in every.items():
        (tmp_path / f"{system}-{case}.yml").write_text(text)
    words = [sys.executable, "-m", "yamllint", "--strict", "-d", YAMLLINT, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def scripts(system: System, text: str) -> list[str]:
    """All that a shell gets, in its order."""
    found: list[str] = []
    for document in yaml.safe_load_all(text):
        match system:
            case "github":
                found += [step["run"] for step in document["jobs"]["package"]["steps"] if "run" in step]
            case "gitlab":
                (job,) = (value for name, value in document.items() if name.startswith("package "))
                found += [*job["before_script"], *job["script"], *job["after_script"]]
            case "azure":
                found += [step["script"] for step in document["jobs"][0]["steps"] if "script" in step]
            case "tekton":
                own = document["spec"]
                tasks = [own, *(each["taskSpec"] for each in own.get("tasks", ()) if "taskSpec" in each)]
                found += [step["script"] for task in tasks for step in task.get("steps", ())]
    return found


def verbs(script: str) -> Iterator[list[str]]:
    for line in script.splitlines():
        if match := re.match(r"\s*(?:exec )?packager (.*?)(?: > .*)?$", line):
            yield shlex.split(match[1])


@pytest.mark.parametrize("case", ["reference", "hard"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_its_scripts_are_of_a_shell_and_its_commands_of_ours(
    system: System, case: str, every: dict[tuple[System, str], str]
) -> None:
    called = []
    for script in scripts(system, every[system, case]):
        # A macro of Azure's is replaced before a shell sees it.
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}\n{done.stderr}"
        for words in verbs(script):
            command = cli.get_command(click.Context(cli), words[0])
            assert command is not None
            with command.make_context(words[0], words[1:]) as context:
                called.append((words[0], context.params.get("push", False)))
    assert called[:3] == [("lock", False), ("check", False), ("build", False)]
    assert ("test", False) in called
    assert [verb for verb, push in called if push] == ["build"]
    assert called[-1] == ("build", True)


def test_every_action_is_pinned(every: dict[tuple[System, str], str]) -> None:
    used = re.findall(r"uses: (\S+)(.*)", every["github", "hard"])
    assert len(used) > 6
    for action, comment in used:
        assert re.fullmatch(r"[a-z-]+/[a-z/-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v[0-9.]+", comment), action


#: Fields of Tekton's v1 that stand in ours (tekton.dev/docs/pipelines).
TASK = {"params", "workspaces", "results", "volumes", "stepTemplate", "sidecars", "steps"}
STEP = {"name", "image", "env", "script", "workingDir", "volumeMounts"}


@pytest.mark.parametrize("case", ["reference", "hard"])
def test_what_tekton_passes_is_declared(case: str, every: dict[tuple[System, str], str]) -> None:
    task, pipeline = yaml.safe_load_all(every["tekton", case])
    assert [(each["apiVersion"], each["kind"]) for each in (task, pipeline)] == [
        ("tekton.dev/v1", "Task"), ("tekton.dev/v1", "Pipeline"),
    ]  # fmt: skip
    for each in (task, pipeline):
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", each["metadata"]["name"])
    fetch, package = pipeline["spec"]["tasks"]
    assert package["taskRef"]["name"] == task["metadata"]["name"]
    assert package["runAfter"] == [fetch["name"]]
    for own, given in ((task["spec"], package), (fetch["taskSpec"], fetch)):
        assert set(own) <= TASK
        for kind in ("params", "workspaces"):
            assert {one["name"] for one in given[kind]} == {one["name"] for one in own[kind]}
        for step in own["steps"]:
            assert set(step) <= STEP
        held_by(own, {"params", "workspaces", "results"})
    held_by(pipeline["spec"], {"params"}, passed=True)
    assert {each["workspace"] for one in (fetch, package) for each in one["workspaces"]} == {
        each["name"] for each in pipeline["spec"]["workspaces"]
    }


def held_by(spec: Any, kinds: set[str], *, passed: bool = False) -> None:
    """Fail where `$(params.x)` names what is not declared, or what is declared is used by nothing."""
    where = [each["params"] for each in spec["tasks"]] if passed else {key: spec[key] for key in spec if key != "tasks"}
    named = set(re.findall(r"\$\((params|workspaces|results)\.([a-z]+)", yaml.safe_dump(where)))
    declared = {(kind, each["name"]) for kind in kinds for each in spec.get(kind, ())}
    assert {each for each in named if each[0] in kinds} == declared


# --- what follows from a spec -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "contained", "changes", "build", "test", "push"),
    [
        (True, True, {}, ["packager build -f models/net/gpu.yaml"], 1, "packager build -f models/net/gpu.yaml --push"),
        (True, False, {}, ["packager build -f models/net/gpu.yaml"], 1, "--push --no-test"),
        (False, False, {"here": ("cpu", "gpu")}, ["--target cpu", "--target gpu"], 2, "--push --no-test"),
        # What runs nowhere is not tested, and what has no tests is pushed as it is.
        (False, False, {"here": ()}, ["--target cpu", "--target gpu"], 0, "--push --no-test"),
        (False, False, {"tested": False}, ["--target cpu", "--target gpu"], 0, "--push"),
    ],
)
def test_commands(
    engine: bool, contained: bool, changes: dict[str, Any], build: list[str], test: int, push: str
) -> None:
    pipeline = Pipeline(**{name: getattr(HARD, name) for name in HARD.__struct_fields__} | changes)
    found = commands(pipeline, engine=engine, contained=contained, files="/files")
    assert [part in each for part, each in zip(build, found.build, strict=True)] == [True] * len(build)
    assert len(found.test) == test
    assert found.push.endswith(push)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("arm64",)),
        # Without a build in containers, only what is tested is run: a target's first platform.
        ({"engine": ""}, ()),
        ({"engine": "", "targets": {"edge": ("linux/arm64",)}}, ("arm64",)),
        ({"engine": "", "targets": {"edge": ("linux/arm64",)}, "tested": False}, ()),
    ],
)
def test_what_is_emulated(changes: dict[str, Any], expected: tuple[str, ...]) -> None:
    fields = {name: getattr(HARD, name) for name in HARD.__struct_fields__} | changes
    assert Pipeline(**fields).emulated == expected


@pytest.fixture
def folder(checkout: Path, tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    return Path(shutil.copytree(checkout / "tests/golden/cpu-registered/input", tmp_path / "models/iris"))


def test_a_spec_below_the_top_is_named_from_there(folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["ci", "gitlab", "-f", str(folder), "-o", str(tmp_path / "out/ci.yml"), "-q"])
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path}/out/ci.yml\n")
    text = (tmp_path / "out/ci.yml").read_text()
    assert "packager lock -f models/iris/packager.yaml --check" in text
    assert 'files: ["models/iris/packager.lock"]' in text
    assert 'changes: ["models/iris/**/*"]' in text
    assert "warning" not in done.stderr, "its workspace is in the repository"


class Warned:
    """Keeps warnings."""

    def __init__(self) -> None:
        self.warned: list[str] = []

    def step(self, text: str) -> None: ...

    def detail(self, text: str) -> None: ...

    def warn(self, text: str) -> None:
        self.warned.append(text)


def test_a_registry_that_is_the_workspace_is_logged_in_to_and_a_folder_elsewhere_is_told(folder: Path) -> None:
    spec, reporter = folder / "packager.yaml", Warned()
    text = spec.read_text()
    ci(load_spec(folder), "github", reporter=reporter)
    assert reporter.warned == []
    spec.write_text(text.replace("./models", "oci://models.example.com/ml"))
    found = ci(load_spec(folder), "github", reporter=reporter)
    assert re.findall(r"registry: (\S+)", found) == ["registry.example.com", "models.example.com"]
    assert "${{ secrets.REGISTRY_PASSWORD_2 }}" in found
    spec.write_text(text.replace("./models", "team"))
    ci(load_spec(folder), "github", reporter=reporter)
    assert [each.partition(",")[0] for each in reporter.warned] == ["the workspace team is on this machine"]


def test_what_no_pipeline_can_be_made_of(folder: Path) -> None:
    spec = folder / "packager.yaml"
    text = spec.read_text()
    spec.write_text(text.replace("registry.example.com/ml/iris", "iris"))
    with pytest.raises(UsageError, match="names no registry"):
        ci(load_spec(folder), "azure")
    spec.write_text(text.replace("numpy", "scipy"))
    with pytest.raises(LockError):
        ci(load_spec(folder), "azure")
    spec.write_text(text)
    odd = folder.with_name("it's $HOME")
    folder.rename(odd)
    with pytest.raises(UsageError, match="cannot stand in a pipeline"):
        ci(load_spec(odd), "azure")
