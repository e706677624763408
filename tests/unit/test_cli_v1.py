"""`model deploy`, `model package` and `service update -m` as they are typed, on files of v1; without an engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result

from packager.cli import cli
from packager.environments.declare.v1_python import unasked_line
from packager.errors import PackagerError, ServiceError
from packager.programs.image.keys import Keys
from packager.serving.service import KeyPair
from packager.serving.status import Change, Status, Version
from packager.spec.load import SpecFile, load_spec
from packager.steps import service as service_steps
from packager.steps import v1_deploy, v1_images, v1_profile, v1_records
from packager.steps.declared import Declared, lay_out
from packager.steps.profile import ProfileWish
from packager.steps.run import RunWish
from tests.unit.test_outputs import hold

Run = Callable[..., Result]

CONDA = {"dependencies": ["python=3.12", {"pip": ["azureml-defaults", "numpy"]}]}
INFERENCE: dict[str, Any] = {
    "entryScript": "score.py",
    "sourceDirectory": "app",
    "environment": {
        "name": "env",
        "python": {"condaDependencies": CONDA},
        "environmentVariables": {"LEVEL": "info"},
    },
}


class Machine:
    """Services that are remembered and not run, and images that were asked for."""

    def __init__(self) -> None:
        self.running: dict[str, Status] = {}
        self.wishes: list[tuple[RunWish, SpecFile, bool]] = []
        self.changes: list[Change] = []
        self.built: list[str] = []
        self.failing = ""

    def deploy(self, name: str, wish: RunWish, spec_file: SpecFile, *, replace: bool, reporter: Any) -> Status:
        self.wishes.append((wish, spec_file, replace))
        if self.failing:
            raise ServiceError(self.failing)
        auth: Literal["key", "none"] = "key" if spec_file.spec.service.needs_key else "none"
        url = "http://127.0.0.1:4711/"
        self.running[name] = Status(
            name=name, state="Healthy", reason="", image=str(wish.reference or ""), url=url, auth=auth
        )
        return self.running[name]

    def update(self, name: str, change: Change, spec_file: Any, *, version: Any, **_: Any) -> Status:
        assert version in (None, "default", "a")
        self.changes.append(change)
        self.running[name] = msgspec.structs.replace(self.look(name), image=str(change.reference or ""))
        return self.running[name]

    def delete(self, name: str, **_: Any) -> None:
        del self.running[name]

    def without_docker(self, name: str) -> bool:
        return name in self.running and not self.running[name].image

    def look(self, name: str) -> Status:
        if name not in self.running:
            raise ServiceError(f"there is no service {name!r}")
        return self.running[name]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """An empty machine whose current folder has a project of v1, and the models m:1 and sk:1."""
    for name in ("DATA", "CACHE", "CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.delenv("PACKAGER_WORKSPACE", raising=False)
    here = tmp_path / "here"
    (here / "app").mkdir(parents=True)
    (here / "app/score.py").write_text("def init(): ...\ndef run(data): ...\n")
    (here / "weights.txt").write_text("1")
    (here / "ic.json").write_text(json.dumps(INFERENCE))
    monkeypatch.chdir(here)
    made = Machine()
    monkeypatch.setattr(service_steps, "is_without_docker", made.without_docker)
    for name in ("deploy", "update", "look", "delete"):
        monkeypatch.setattr(service_steps, name, getattr(made, name))

    def package_of(declared: Declared, folder: Path, locks: Path, *, reporter: Any) -> SpecFile:
        lay_out(declared, folder)
        return load_spec(folder / "packager.yaml")

    monkeypatch.setattr(v1_images, "package_of", package_of)
    for module in (v1_deploy, v1_profile):
        monkeypatch.setattr(module, "build_laid", lambda _spec, reference, **_: made.built.append(reference))
    return made


@pytest.fixture
def run(machine: Machine) -> Run:
    def invoke(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, list(words))
        found = result.exception.exit_code if isinstance(result.exception, PackagerError) else result.exit_code
        assert found == code, f"{result.output}{result.exception!r}"
        return result

    invoke("model", "register", "-n", "m", "-p", "weights.txt", "-t", "m.json")
    return invoke


def config(**values: Any) -> str:
    Path("dc.json").write_text(json.dumps(values))
    return "dc.json"


def deploy(run: Run, *words: str, code: int = 0) -> Result:
    return run("model", "deploy", "-n", "svc", "--ic", "ic.json", *words, code=code)


def said(result: Result) -> str:
    return str(result.exception) if isinstance(result.exception, PackagerError) else result.stderr


def test_files_are_deployed_as_the_spec_that_they_are(run: Run, machine: Machine) -> None:
    dc = config(computeType="local", port=6789)
    assert deploy(run, "-m", "m:1", "--dc", dc).stdout == "http://127.0.0.1:4711/score\n"
    ((wish, spec_file, replace),) = machine.wishes
    assert (wish.reference, wish.publish, wish.keys, replace) == ("svc:1", "6789:5001", None, True)
    spec = spec_file.spec
    assert (spec.name, spec.entry_script, spec.source_dir, spec.keep_source_dir) == ("svc", "score.py", "app", True)
    assert (spec.python, spec.env, spec.server.port) == ("3.12", {"LEVEL": "info"}, 5001)
    assert (spec_file.root / "requirements.txt").read_text() == "azureml-defaults\nnumpy\n"
    assert [each.registered for each in spec.models] == ["m:1"]
    assert machine.built == ["svc:1"]


def test_what_aks_wants_is_the_services_and_its_keys_are_in_no_file(run: Run, machine: Machine, tmp_path: Path) -> None:
    key = "k" * 32
    dc = config(
        computeType="AKS",
        containerResourceRequirements={"cpu": 0.5, "memoryInGB": 1},
        primaryKey=key,
        ComputeTarget="cluster",
        autoScaler={"autoscaleEnabled": True, "minReplicas": 2, "maxReplicas": 4, "targetUtilization": 60},
        livenessProbeRequirements={"periodSeconds": 5, "failureThreshold": 4},
        scoringTimeoutMs=1500,
    )
    words = ("model", "deploy", "-n", "svc", "-f", "m.json", "--ic", "ic.json", "--dc", dc, "--format", "json")
    result = run(*words)
    data = json.loads(result.stdout)
    hold("model-deploy", data)
    assert (data["compute"], data["target"], data["models"], data["auth"]) == ("AKS", "cluster", ["m:1"], "key")
    assert "svc: this machine is AKS here" in result.stderr
    wish, spec_file, _ = machine.wishes[0]
    assert wish.keys == key
    assert (spec_file.spec.service.cpu, spec_file.spec.service.memory) == (0.5, "1Gi")
    (path,) = tmp_path.glob("data/packager/azureml/*/services/svc.json")
    record = v1_records.find_service(path.parent.parent, "svc")
    assert record is not None
    assert record.wanted.asked == {
        "autoscale_min_replicas": 2, "autoscale_max_replicas": 4, "autoscale_target_utilization": 60,
        "period_seconds": 5, "failure_threshold": 4, "scoring_timeout_ms": 1500,
    }  # fmt: skip
    written = [each for each in (tmp_path / "data").rglob("*") if each.is_file() and key.encode() in each.read_bytes()]
    assert written == []


def test_without_a_configuration_the_framework_serves_the_model(run: Run, machine: Machine) -> None:
    result = run("model", "deploy", "-n", "svc", "-m", "m:1", code=2)
    assert "m:1 has the framework Custom, which needs an entry script" in said(result)
    result = run("model", "deploy", "-n", "svc", "-m", "m:1", "-m", "m:1", code=2)
    assert "several models need an entry script" in said(result)


def test_the_spec_is_shown_and_nothing_is_done(run: Run, machine: Machine) -> None:
    shown = deploy(run, "-m", "m:1", "--show-spec").stdout
    assert shown.startswith("# the lock will be kept in ")
    assert "entry_script: score.py" in shown
    assert "- registered: m:1" in shown
    assert not machine.wishes
    assert not machine.built
    assert "no JSON" in said(deploy(run, "-m", "m:1", "--show-spec", "--format", "json", code=2))


def test_a_name_that_is_there_is_replaced_only_when_that_is_asked_for(run: Run, machine: Machine) -> None:
    deploy(run, "-m", "m:1")
    result = deploy(run, "-m", "m:1", code=2)
    assert "there is a service 'svc' already (Healthy, svc:1)" in said(result)
    assert "--overwrite replaces it" in said(result)
    assert machine.built == ["svc:1"]
    deploy(run, "-m", "m:1", "--overwrite")
    assert machine.built == ["svc:1", "svc:2"]


def test_one_that_failed_makes_room(run: Run, machine: Machine) -> None:
    machine.failing = "score.py:1: no such thing"
    assert "no such thing" in said(deploy(run, "-m", "m:1", code=8))
    machine.failing = ""
    deploy(run, "-m", "m:1")


def test_an_update_takes_other_models_or_another_script(run: Run, machine: Machine, tmp_path: Path) -> None:
    deploy(run, "-m", "m:1")
    Path("weights.txt").write_text("2")
    run("model", "register", "-n", "m", "-p", "weights.txt")
    data = json.loads(run("service", "update", "svc", "-m", "m:2", "--cpus", "1", "--format", "json").stdout)
    hold("service-update", data)
    (change,) = machine.changes
    assert (change.reference, change.cpus, data["image"]) == ("svc:2", 1, "svc:2")
    run("service", "update", "svc", "--ic", "ic.json")
    assert machine.built == ["svc:1", "svc:2", "svc:3"]
    (record,) = tmp_path.glob("data/packager/azureml/*/services/svc.json")
    kept = json.loads(record.read_text())
    assert (kept["models"], kept["number"], kept["reference"]) == (["m:2"], 3, "svc:3")
    assert "is an image" in said(run("service", "update", "svc", "x:1", "-m", "m:1", code=2))
    other = run("service", "update", "svc", "--version", "b", "-m", "m:1", code=2)
    assert "version b of svc was not deployed from models" in said(other)
    run("service", "update", "svc", "--version", "default", "-m", "m:1")
    assert machine.built[3:] == ["svc:4"], "nothing was built for the other one"


def test_a_version_of_an_endpoint_is_updated_and_one_service_does_not_take_the_place_of_several(
    run: Run, machine: Machine, tmp_path: Path
) -> None:
    deploy(run, "-m", "m:1")
    (path,) = tmp_path.glob("data/packager/azureml/*/services/svc.json")
    record = v1_records.find_service(path.parent.parent, "svc")
    assert record is not None
    versions = {name: msgspec.structs.replace(record, name=name) for name in ("a", "b")}
    whole = msgspec.structs.replace(record, versions=versions, default="a", declared=None)
    v1_records.keep_service(path.parent.parent, whole)
    assert "an endpoint with the versions a, b" in said(run("service", "update", "svc", "-m", "m:1", code=2))
    run("service", "update", "svc", "--version", "a", "--ic", "ic.json")
    found = v1_records.find_service(path.parent.parent, "svc")
    assert found is not None
    assert ({name: each.reference for name, each in found.versions.items()}, found.number) == (
        {"a": "svc:2", "b": "svc:1"},
        2,
    )
    names = tuple(Version(name=each, traffic=50, state="Healthy", reason="", image="svc:1") for each in ("a", "b"))
    machine.running["svc"] = msgspec.structs.replace(machine.running["svc"], versions=names)
    result = deploy(run, "-m", "m:1", "--overwrite", code=2)
    assert "has the versions a, b, and a deployment in its place ends all" in said(result)
    assert machine.built == ["svc:1", "svc:2"]


def test_a_python_that_nobody_asked_for_is_packagers(run: Run, machine: Machine) -> None:
    conda = f"{unasked_line('3.8.13')}dependencies:\n- python=3.8.13\n- numpy\n- pip:\n  - azureml-defaults\n"
    Path("conda.yml").write_text(conda)
    Path("ic.json").write_text(json.dumps({"entryScript": "app/score.py", "condaFile": "conda.yml"}))
    shown = yaml.safe_load(deploy(run, "-m", "m:1", "--show-spec").stdout)
    assert ("python" in shown, shown["environment"]) == (False, "requirements.txt")
    Path("conda.yml").write_text(conda.replace("- python=3.8.13", "- python=3.11"))
    assert yaml.safe_load(deploy(run, "-m", "m:1", "--show-spec").stdout)["python"] == "3.11"


def test_without_docker_there_is_no_image(run: Run, machine: Machine) -> None:
    deploy(run, "-m", "m:1", "--no-docker")
    deploy(run, "-m", "m:1", "--no-docker", "--overwrite")
    wish, spec_file, _ = machine.wishes[-1]
    assert (wish.docker, wish.reference, spec_file.spec.entry_script) == (False, None, "score.py")
    run("service", "update", "svc", "--ic", "ic.json")
    assert (machine.built, machine.changes[0].reference) == ([], None)


def test_what_is_deleted_is_not_updated(run: Run, machine: Machine) -> None:
    deploy(run, "-m", "m:1")
    machine.running.clear()
    result = run("service", "update", "svc", "-m", "m:1", code=8)
    assert "the service 'svc' is deleted, and cannot be updated" in said(result)
    assert "there is no service 'other'" in said(run("service", "update", "other", "-m", "m:1", code=8))
    machine.running["theirs"] = Status(name="theirs", state="Healthy", reason="", image="x:1", url="")
    assert "was not deployed from models" in said(run("service", "update", "theirs", "-m", "m:1", code=2))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '{"entryScript": "score.py",\n  "sourceDirectory" "app"}',
            "is not valid JSON: expecting ':' delimiter\n  at ic.json:2:21",
        ),
        ("[]", "ic.json is no mapping"),
        ('{"computeType": "aci"}', "ic.json is no inference configuration: it has no entryScript"),
        ('{"entryScript": "score.R"}', "names no entry script that packager serves"),
    ],
)
def test_broken_files_are_told_with_line_and_column(run: Run, machine: Machine, text: str, says: str) -> None:
    Path("ic.json").write_text(text)
    assert says in said(deploy(run, "-m", "m:1", code=2))
    assert machine.built == []


def test_what_is_not_there_is_said(run: Run, machine: Machine) -> None:
    assert "there is no file nowhere.json" in said(
        run("model", "deploy", "-n", "a", "-m", "m:1", "--ic", "nowhere.json", code=6)
    )
    Path("ic.json").write_text(json.dumps({**INFERENCE, "entryScript": "other.py"}))
    assert "there is no app/other.py" in said(deploy(run, "-m", "m:1", code=6))


def test_what_a_configuration_says_and_cannot_be_meant_is_not_passed_over(run: Run, machine: Machine) -> None:
    for value in ("abc", 99999, 0, True, 6789.5):
        local = config(computeType="local", port=value)
        assert f"dc.json: {value} is no port" in said(deploy(run, "-m", "m:1", "--dc", local, code=2))
    for key in ("tags", "properties"):
        aci = config(computeType="aci", **{key: ["a"]})
        assert f"{key} are no names with values" in said(deploy(run, "-m", "m:1", "--dc", aci, code=2))
    deploy(run, "-m", "m:1", "--dc", config(computeType="local", port="6789", tags=None))
    assert machine.wishes[-1][0].publish == "6789:5001"


def test_aks_wants_a_target_and_a_configuration_its_kind(run: Run, machine: Machine) -> None:
    aks = config(computeType="aks")
    result = deploy(run, "-m", "m:1", "--dc", aks, code=2)
    assert "is for AKS, and no compute target is named" in said(result)
    assert "--ct NAME" in said(result)
    deploy(run, "-m", "m:1", "--dc", aks, "--ct", "cluster")
    assert "says no computeType" in said(deploy(run, "-m", "m:1", "--dc", config(computeType="moon"), code=2))


def test_a_model_of_another_workspace_is_said_to_be_there(run: Run, machine: Machine) -> None:
    run("workspace", "create", "other")
    run("model", "register", "-n", "theirs", "-p", "weights.txt", "-w", "other", "-t", "theirs.json")
    result = deploy(run, "-m", "theirs:1", code=6)
    assert "the model theirs:1 is of the workspace other, and not of default" in said(result)
    assert "--workspace other" in said(result)
    assert "is of the workspace other" in said(deploy(run, "-f", "theirs.json", code=6))
    assert "no model 'nowhere' is registered" in said(deploy(run, "-m", "nowhere:1", code=6))


def test_two_models_of_one_name_are_refused(run: Run, machine: Machine) -> None:
    for name in ("a", "b"):
        Path(name).mkdir()
        Path(name, "model.pkl").write_text(name)
    result = deploy(run, "-m", "a/model.pkl", "-m", "b/model.pkl", code=2)
    assert "two models are called model.pkl" in said(result)
    assert "two models are called m:1" in said(deploy(run, "-m", "m:1", "-f", "m.json", code=2))
    assert "no model is named" in said(deploy(run, code=2))


def test_a_package_is_an_image_or_a_folder(
    run: Run, machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ("model", "package", "-m", "m:1", "--ic", "ic.json")
    assert run(*words, "--in", "churn", "--il", "v1").stdout == "churn:v1\n"
    saved: list[Path] = []

    def save_targets(_spec: SpecFile, *, output: Path, reporter: Any) -> list[None]:
        saved.append(output)
        return []

    monkeypatch.setattr("packager.steps.save.save_targets", save_targets)
    data = json.loads(run(*words, "--output-path", "out", "--format", "json").stdout)
    hold("model-package", data)
    assert (data["image"], data["output"], data["models"], saved) == (None, "out", ["m:1"], [Path("out")])
    assert machine.built == ["churn:v1"]
    assert "has no name of an image" in said(run(*words, "--output-path", "out", "--in", "x", code=2))


def test_models_and_files_are_profiled_in_an_image_of_their_own(
    run: Run, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[ProfileWish, SpecFile]] = []

    def profile(wish: ProfileWish, spec_file: SpecFile, *, reporter: Any) -> None:
        asked.append((wish, spec_file))
        raise ServiceError("it was asked for")

    monkeypatch.setattr(v1_profile, "profile", profile)
    Path("request.json").write_text("[]")
    Path("dc.json").write_text(json.dumps({"computeType": "AKS", "containerResourceRequirements": {"cpu": 0.5}}))
    words: tuple[str, ...] = ("model", "profile", "-n", "Mine", "-m", "m:1", "--ic", "ic.json", "--dc", "dc.json")
    assert "there are no requests" in said(run(*words, code=2))
    words += ("--data", "request.json")
    for more, told in (
        (("x:1",), "the image x:1 is another one"),
        (("--target", "gpu"), "--target gpu is another one"),
        (("-f", "packager.yaml"), "a spec is named"),
    ):
        assert told in said(run(*words, *more, code=2))
    assert machine.built == [], "nothing was built for what cannot be measured"
    run(*words, code=8)
    run(*words, "--no-docker", code=8)
    (wish, spec_file), (without, _) = asked
    assert (wish.reference, wish.name, wish.data) == ("mine:profile", "Mine", (Path("request.json"),))
    assert (spec_file.spec.service.cpu, [each.registered for each in spec_file.spec.models]) == (0.5, ["m:1"])
    assert (without.reference, without.docker, machine.built) == (None, False, ["mine:profile"])


def test_services_have_the_names_of_az_ml(run: Run, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = KeyPair(primary="first" * 4, secondary="second" * 4)
    asked: list[tuple[Any, ...]] = []

    def show_keys(name: str, which: Any = None) -> KeyPair:
        asked.append((name, which))
        return pair

    monkeypatch.setattr(service_steps, "show_keys", show_keys)
    monkeypatch.setattr(service_steps, "logs", lambda name, lines: iter([f"{name} {lines}\n".encode()]))
    text = run("service", "get-access-token", "-n", "svc").stdout.strip()
    assert Keys({"PACKAGER_PRIMARY_KEY": pair.primary}).allow(f"Bearer {text}")
    token = json.loads(run("service", "get-access-token", "svc", "--format", "json").stdout)
    hold("service-get-access-token", token)
    assert token["access_token"].startswith("packager-token.")
    assert token["refresh_after"] < token["expires"]
    hold("service-get-keys", json.loads(run("service", "get-keys", "svc", "--format", "json").stdout))
    run("service", "regen-key", "-n", "svc", "-k", "secondary")
    assert asked[-1] == ("svc", "secondary")
    assert run("service", "get-logs", "-n", "svc", "--num-lines", "7").stdout == "svc 7\n"
    assert "are both named" in said(run("service", "get-logs", "a", "-n", "b", code=2))
    assert "no service is named" in said(run("service", "get-keys", code=2))
