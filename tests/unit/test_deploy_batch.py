"""`deploy --batch`: which files a job has, what its tasks are told, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from msgspec.structs import replace

from packager.cli import cli
from packager.contract import CLI_LABEL, GPUS_LABEL, MODELS_LABEL, TARGET_LABEL
from packager.errors import PackagerError
from tests.unit.test_deploy import NAME, SPEC, digest, pinned, view

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the verb beside a spec; images whose tag ends with `-batch` have packager in them."""

    def pin(text: str, *_: Any) -> Any:
        found = pinned(2)
        if text.endswith("-batch"):
            found = replace(found, view=replace(found.view, labels={**found.view.labels, CLI_LABEL: "/opt/p"}))
        return replace(found, local=text.endswith("local"))

    monkeypatch.setattr("packager.steps.deploy_batch.pin_image", pin)
    (tmp_path / "packager.yaml").write_text(SPEC)
    (tmp_path / "score.py").write_text("")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, ["deploy", "--batch", *words])

    return run


IO = ("--", "--input", "/share/in", "--output", "/share/out")


def test_an_indexed_job_has_the_words_of_batch_and_what_service_asks_for(run: Run, tmp_path: Path) -> None:
    words = ("--image", f"{NAME}:2-batch", "--shards", "4", "--share", "data:/share", "--format", "json")
    result = run(*words, *IO, "--mini-batch-size", "5", "--summary-only", "-e", "A=1", "-e", "B=2")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["apply"] == "kubectl create -f job.yaml"
    assert data["merge"].endswith("packager batch --output /share/out --merge")
    job = yaml.safe_load((tmp_path / "deploy/batch-kubernetes/job.yaml").read_text())
    assert (job["metadata"]["name"], job["metadata"]["namespace"]) == ("churn-batch", "models")
    assert job["spec"]["completions"] == 4
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{NAME}:2@{digest(2)}"
    assert container["resources"]["requests"] == {"cpu": "250m", "memory": "1Gi"}
    told = container["command"]
    assert told[1:8] == ["batch", "--inside", "--input", "/share/in", "--output", "/share/out", "--shard"]

    assert [each for each in told if each in ("A=1", "B=2", "5")] == ["5", "A=1", "B=2"]


@pytest.mark.parametrize(
    ("service", "requests", "limits"),
    [
        ("memory: 64Mi, memory_limit: 160Mi", ("1", "64Mi"), ("160Mi", None)),
        ("memory_limit: 160Mi, cpu_limit: 500m", ("500m", "160Mi"), ("160Mi", "500m")),
        ("memory_limit: 4Gi", ("1", "1Gi"), ("4Gi", None)),
        ("cpu: 2", ("2", "1Gi"), ("1Gi", None)),
    ],
)
def test_limits_of_the_spec_are_those_of_a_task(
    service: str, requests: Any, limits: Any, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "packager.yaml").write_text(re.sub(r"service: .*", f"service: {{{service}}}", SPEC))
    result = run("--image", f"{NAME}:2-batch", "--shards", "4", "--share", "data:/share", *IO)
    assert result.exit_code == 0, result.output
    job = yaml.safe_load((tmp_path / "deploy/batch-kubernetes/job.yaml").read_text())
    found = job["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert (found["requests"]["cpu"], found["requests"]["memory"]) == requests
    assert (found["limits"]["memory"], found["limits"].get("cpu")) == limits


def test_a_task_of_an_image_that_wants_gpus_has_one(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {TARGET_LABEL: "gpu", GPUS_LABEL: "all", CLI_LABEL: "/opt/p"}
    image = replace(pinned(2), view=view(2, **labels))
    monkeypatch.setattr("packager.steps.deploy_batch.pin_image", lambda *_: image)
    assert run("--shards", "4", "--share", "data:/share", *IO).exit_code == 0
    pod = yaml.safe_load((tmp_path / "deploy/batch-kubernetes/job.yaml").read_text())["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
    model = {
        "name": "bert",
        "version": 3,
        "digest": digest(1),
        "path": "/var/azureml-app/azureml-models/bert/3",
        "delivery": "volume",
    }
    mounts = replace(image, view=view(2, **labels, **{MODELS_LABEL: json.dumps([model])}))
    monkeypatch.setattr("packager.steps.deploy_batch.pin_image", lambda *_: mounts)
    assert "mounts bert:3, and a task of a job mounts no models" in str(run("--shards", "4", *IO).exception)


def test_an_image_without_packager_gets_a_dockerfile_that_adds_it(run: Run, tmp_path: Path) -> None:
    result = run("--shards", "4", *IO)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "deploy/batch-kubernetes"
    assert sorted(each.name for each in folder.iterdir()) == [".packager-deploy.json", "Dockerfile"]
    text = (folder / "Dockerfile").read_text()
    assert f"FROM {NAME}:2@{digest(2)}\n" in text
    assert f'LABEL {CLI_LABEL}="/opt/packager-cli/bin/packager"' in text
    assert f"--tag {NAME}:2-batch ." in result.stderr
    # The next call writes the job in its place.
    assert run("--shards", "4", "--image", f"{NAME}:2-batch", *IO).exit_code == 0
    assert sorted(each.name for each in folder.iterdir()) == [".packager-deploy.json", "job.yaml"]


def test_slurm_runs_in_the_folder_of_the_spec(run: Run, tmp_path: Path) -> None:
    result = run("--to", "slurm", "--shards", "3", "--parallel", "2", *IO)
    assert result.exit_code == 0, result.output
    text = (tmp_path / "deploy/batch-slurm/job.sh").read_text()
    assert "#SBATCH --array=0-2%2" in text
    assert f"cd {tmp_path}\nexec packager batch --input /share/in --output /share/out --shard auto/3 --resume" in text
    (tmp_path / "packager.yaml").rename(tmp_path / "other.yaml")
    words = ("-f", "other.yaml", "--target", "cpu", "--to", "slurm", "--shards", "3")
    assert run(*words, *IO).exit_code == 0
    assert "--progress plain -f other.yaml --target cpu\n" in (tmp_path / "deploy/batch-slurm/job.sh").read_text()
    (tmp_path / "other.yaml").rename(tmp_path / "packager.yaml")
    (tmp_path / "deploy/batch-slurm/job.sh").write_text("mine\n")
    again = run("--to", "slurm", "--shards", "3", *IO)
    assert "somebody edited job.sh" in str(again.exception)
    assert "+exec packager batch" in run("--to", "slurm", "--shards", "3", "--diff", *IO).stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--to", "compose", "--shards", "2", *IO), "compose runs no jobs"),
        (IO, "a job wants a number of tasks"),
        (("--shards", "2", "--", "--output", "/x"), "a batch wants inputs"),
        (("--shards", "2", *IO, "--shard", "1/2"), "--shard is what a job says by itself"),
        (("--shards", "2", *IO, "--docker"), "--docker is what a job says by itself"),
        (("--shards", "2", "--apply", *IO), "--apply is of services"),
        (("--shards", "2", "--route", "ingress", *IO), "--route is of services"),
        (("--shards", "2", "--share", "data", *IO), "--share data names no volume"),
        (("--shards", "2", "--image", f"{NAME}:local", *IO), "in this machine's engine alone"),
    ],
)
def test_what_is_refused(run: Run, words: tuple[str, ...], says: str) -> None:
    error = run(*words).exception
    assert isinstance(error, PackagerError)
    assert says in str(error)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("kubernetes",), "'kubernetes' is nothing that a service is deployed with"),
        (("--shards", "2"), "--shards is of --batch"),
        (("--to", "slurm"), "--to slurm is of --batch"),
    ],
)
def test_a_service_takes_nothing_of_a_batch(run: Run, words: tuple[str, ...], says: str) -> None:
    error = CliRunner().invoke(cli, ["deploy", *words]).exception
    assert says in str(error)
