"""Environments as Azure ML v1 had them, locked with the package index; of what cannot be had the nearest is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.conftest import RunPackager

pytestmark = [pytest.mark.network]

#: A base by its digest: nothing is asked of a registry.
SPEC = """\
name: v1
version: "1"
entry_script: score.py
python: "{python}"
base: registry.example.com/python:{python}@sha256:{digest}
environment: {{pip: [{pip}]}}
"""


def write(folder: Path, python: str, pip: str) -> Path:
    (folder / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
    (folder / "packager.yaml").write_text(SPEC.format(python=python, pip=pip, digest="a" * 64))
    return folder


INFERENCE = {
    "entryScript": "score.py",
    "sourceDirectory": "src",
    "environment": {
        "name": "own",
        "environmentVariables": {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE", "MODE": "fast"},
        "python": {
            "condaDependencies": {"dependencies": ["pip==20.2.4", {"pip": ["azureml-defaults~=1.20.0", "six"]}]}
        },
        "docker": {"enabled": False, "baseImage": "mcr.microsoft.com/azureml/base:1"},
    },
}
DEPLOYMENT = {"computeType": "AKS", "containerResourceRequirements": {"cpu": 0.5, "memoryInGB": 1}, "numReplicas": 2}


def test_imported_files_are_locked_checked_and_planned(run_packager: RunPackager, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/score.py").write_text("def init(): ...\ndef run(data): return data\n")
    (tmp_path / "src/.amlignore").write_text("*.csv\n")
    (tmp_path / "src/data.csv").write_text("1,2\n")
    (tmp_path / "inferenceconfig.json").write_text(json.dumps(INFERENCE))
    (tmp_path / "deploymentconfig.json").write_text(json.dumps(DEPLOYMENT))
    run_packager("import", "inferenceconfig.json", "deploymentconfig.json", "src/.amlignore", cwd=tmp_path)
    run_packager("lock", cwd=tmp_path)
    run_packager("check", cwd=tmp_path)
    (planned,) = json.loads(run_packager("plan", "--files", "--format", "json", cwd=tmp_path).stdout)
    text = json.dumps(planned)
    assert "src/score.py" in text
    assert "data.csv" not in text


def test_what_can_be_had_is_locked(run_packager: RunPackager, tmp_path: Path) -> None:
    folder = write(tmp_path, "3.8", "azureml-defaults, numpy==1.23, scikit-learn==0.22.1")
    run_packager("lock", cwd=folder)
    lines = (folder / "locks/cpu.requirements.txt").read_text().splitlines()
    names = {line.split()[0] for line in lines if "==" in line}
    assert {"numpy==1.23.0", "scikit-learn==0.22.1"} <= names
    assert any(each.startswith("azureml-inference-server-http==") for each in names)
    # It stands for the inference server alone.
    assert not any(each.startswith(("azureml-defaults", "azureml-core")) for each in names)


@pytest.mark.parametrize(
    ("python", "pip", "remedy"),
    [
        ("3.13", "scikit-learn==0.22.1", 'scikit-learn 0.22.1 has wheels for Python 3.8 (`python: "3.8"`)'),
        ("3.8", "tensorflow==1.13.1", "the nearest with wheels for Python 3.8 is tensorflow==2.2.0"),
        ("3.8", "azureml-defaults==1.47.0", "write azureml-defaults without a version"),
    ],
)
def test_what_cannot_be_had_is_said_with_the_nearest_that_can(
    run_packager: RunPackager, tmp_path: Path, python: str, pip: str, remedy: str
) -> None:
    done = run_packager("lock", cwd=write(tmp_path, python, pip), check=False)
    assert (done.returncode, f"to do: {remedy}" in done.stderr) == (3, True), done.stderr
