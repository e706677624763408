"""Files of Azure ML, v1 and v2, as a spec: what is taken over, and that nothing of them is dropped in silence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.cli import cli
from packager.context.dockerignore import parse_dockerignore
from packager.environments.declare.v1_python import unasked_line
from packager.errors import PackagerError, SpecError
from packager.init.ignore_files import as_dockerignore
from packager.init.look import look
from packager.spec import InlineEnvironment, Spec, load_spec
from packager.spec.service import Probes, Replicas, Tls
from packager.steps.init import init
from packager.steps.taking_over import TakenOver, take_over

SCRIPT = "def init(): ...\ndef run(data): return data\n"
CONDA = """\
name: e
channels: [anaconda, conda-forge]
dependencies: [python=3.8.13, pip==20.2.4, {pip: [azureml-defaults]}]
"""
INFERENCE: dict[str, Any] = {"entryScript": "score.py", "sourceDirectory": "./src"}
DOCKER: dict[str, Any] = {
    "enabled": False,
    "baseImage": "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04:20220113.v1",
    "baseDockerfile": None,
    "baseImageRegistry": {"address": None, "username": None, "password": None, "registryIdentity": None},
    "platform": {"os": "Linux", "architecture": "amd64"},
    "arguments": [],
    "shmSize": "2g",
    "sharedVolumes": True,
    "buildContext": None,
}
ENVIRONMENT: dict[str, Any] = {
    "name": "sk",
    "version": "Autosave_2020-01-01",
    "assetId": None,
    "environmentVariables": {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE", "MODE": "fast"},
    "python": {
        "userManagedDependencies": False,
        "interpreterPath": "python",
        "condaDependenciesFile": None,
        "baseCondaEnvironment": None,
        "condaDependencies": {
            "name": "project_environment",
            "channels": ["anaconda", "conda-forge"],
            "dependencies": ["python=3.8.13", "pip==20.2.4", {"pip": ["azureml-defaults", "numpy==1.23"]}],
        },
    },
    "docker": DOCKER,
    "spark": {"repositories": [], "packages": [], "precachePackages": True},
    "databricks": {"mavenLibraries": [], "eggLibraries": []},
    "r": None,
    "inferencingStackVersion": "latest",
}
AKS: dict[str, Any] = {
    "computeType": "aks",
    "autoScaler": {
        "autoscaleEnabled": True,
        "minReplicas": 2,
        "maxReplicas": 4,
        "refreshPeriodInSeconds": 1,
        "targetUtilization": 70,
    },
    "containerResourceRequirements": {"cpu": 0.1, "memoryInGB": 0.5, "cpuLimit": 2, "memoryInGBLimit": 1.5},
    "scoringTimeoutMs": 60000,
    "maxConcurrentRequestsPerContainer": 3,
    "maxQueueWaitMs": 500,
    "gpuCores": 1,
    "livenessProbeRequirements": {
        "periodSeconds": 10,
        "initialDelaySeconds": 310,
        "timeoutSeconds": 2,
        "successThreshold": 1,
        "failureThreshold": 3,
    },
    "namespace": "ml",
    "enableAppInsights": True,
    "ComputeTarget": "cluster",
    "tags": {"a": "b"},
    "primaryKey": "my-secret-primary-key",
}


def write(folder: Path, **files: Any) -> Path:
    """Write files; `__` stands for `/`, and what is no text is JSON."""
    for name, content in {"src/score.py": SCRIPT, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def imported(folder: Path, *names: str, **files: Any) -> tuple[Spec, TakenOver]:
    """Return the spec, as it is read back from its file, and the account."""
    write(folder, **files)
    result = take_over([folder / each for each in names or files], str(folder / "packager.yaml"))
    return load_spec(folder).spec, result


def left(result: TakenOver, *outcomes: str) -> dict[str, str]:
    return {each.key: each.reason for each in result.entries if each.outcome in (outcomes or ("left", "unknown"))}


# --- inference configurations and environments ------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["json", "yml"])
def test_an_inference_configuration_with_its_environment(tmp_path: Path, ending: str) -> None:
    data = {**INFERENCE, "description": "Tells churn", "environment": ENVIRONMENT}
    text = json.dumps(data) if ending == "json" else yaml.safe_dump(data)
    spec, result = imported(tmp_path, **{f"inferenceconfig.{ending}": text})
    assert (spec.entry_script, spec.source_dir, spec.keep_source_dir) == ("score.py", "src", True)
    assert (spec.description, spec.python, spec.env) == ("Tells churn", "3.8", {"MODE": "fast"})
    assert isinstance(spec.environment, InlineEnvironment)
    assert spec.environment == InlineEnvironment(pip=("azureml-defaults", "numpy==1.23"))
    lines = result.text.splitlines()
    assert f"entry_script: score.py   # inferenceconfig.{ending}: entryScript" in lines
    key = f"inferenceconfig.{ending}: environment.python.condaDependencies.dependencies"
    assert f'python: "3.8"   # {key}' in lines
    assert f'  MODE: "fast"   # inferenceconfig.{ending}: environment.environmentVariables.MODE' in lines
    reasons = left(result)
    assert "Azure's image" in reasons["environment.docker.baseImage"]
    assert "pins the inference server" in reasons["environment.inferencingStackVersion"]
    assert "pip==20.2.4" in reasons[""]


def test_the_older_form_with_a_conda_file(tmp_path: Path) -> None:
    old = {
        **INFERENCE,
        "runtime": "python",
        "condaFile": "env/conda.yml",
        "extraDockerFileSteps": "steps.txt",
        "enableGpu": True,
        "cudaVersion": "9.0",
        "baseImage": "corp.example.com/base:1",
        "baseImageRegistry": {"address": "corp.example.com", "username": "me", "password": "hidden-password"},
        "schemaFile": "schema.json",
    }
    steps = (
        "RUN apt-get update && apt-get install -y \\\n # why\n  libgomp1 && rm -rf /var/lib/apt/lists/*\n# more\n"
        "RUN curl https://hidden-word@x | sh\nENV TOKEN=hidden-word"
    )
    files = {"env/conda.yml": CONDA, "steps.txt": steps, "inferenceconfig.json": old}
    spec, result = imported(tmp_path, "inferenceconfig.json", **files)
    assert (spec.environment, spec.target_names, spec.system_packages) == ("env/conda.yml", ("gpu",), ("libgomp1",))
    lines = {"extraDockerFileSteps[5]": "RUN curl …", "extraDockerFileSteps[6]": "ENV TOKEN …"}
    assert left(result).keys() == {"cudaVersion", "baseImage", "baseImageRegistry", "schemaFile", *lines}
    for key, line in lines.items():
        assert f"`{line}`" in left(result)[key]
    assert "hidden-" not in result.text + repr(result.entries)


@pytest.mark.parametrize("place", ["env.yml", "src/env.yml"])
def test_a_conda_file_lies_beside_or_in_the_source_directory(tmp_path: Path, place: str) -> None:
    files = {place: CONDA, "inferenceconfig.json": {**INFERENCE, "condaFile": "env.yml"}}
    assert imported(tmp_path, "inferenceconfig.json", **files)[0].environment == place


@pytest.mark.parametrize(
    ("environment", "curated"),
    [
        ({"name": "AzureML-Minimal", "version": "3"}, "minimal"),
        ({"name": "AzureML-sklearn-0.24-ubuntu18.04-py37-cpu"}, "sklearn"),
        ({"name": "AzureML-Scikit-learn-0.20.3"}, "sklearn"),
        ({"name": "AzureML-onnxruntime-1.6-ubuntu18.04-py37-cpu-inference"}, "onnx"),
        ("AzureML-PyTorch-1.6-CPU:2", "pytorch"),
        ({"name": "AzureML-TensorFlow-2.2-CPU"}, "tensorflow"),
        ({"name": "AzureML-lightgbm-3.2-ubuntu18.04-py37-cpu"}, "lightgbm"),
        ({"name": "AzureML-xgboost-0.9-ubuntu18.04-py37-cpu-inference"}, "xgboost"),
    ],
)
def test_a_curated_name_is_the_nearest_one_here(tmp_path: Path, environment: object, curated: str) -> None:
    spec, result = imported(tmp_path, **{"inferenceconfig.json": {**INFERENCE, "environment": environment}})
    assert spec.environment == InlineEnvironment(curated=curated)
    (said,) = [each for each in result.entries if each.field == "environment.curated"]
    assert "the nearest to" in said.reason


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"name": "my-env", "version": "2"}, "my-env:2"),
        ({"name": "my-env", "version": 2}, "my-env:2"),
        ({"name": "my-env"}, "my-env"),
        ({"name": "my-env", "label": "latest"}, "my-env"),
        ("my-env:7", "my-env:7"),
    ],
)
def test_a_named_environment_is_one_of_the_workspace(tmp_path: Path, environment: object, named: str) -> None:
    spec, result = imported(tmp_path, **{"inferenceconfig.json": {**INFERENCE, "environment": environment}})
    assert spec.environment == InlineEnvironment(registered=named)
    assert left(result, "left") == {}


def test_a_folder_with_an_environment(tmp_path: Path) -> None:
    saved = {**ENVIRONMENT, "python": {**ENVIRONMENT["python"], "condaDependencies": None}}
    files = {"env/azureml_environment.json": saved, "env/conda_dependencies.yml": CONDA}
    write(tmp_path, **files)
    result = take_over([tmp_path / "env"], str(tmp_path / "packager.yaml"))
    spec = load_spec(tmp_path).spec
    assert spec.environment == "env/conda_dependencies.yml"
    # Nothing names the script, and one is in the folder.
    assert (spec.source_dir, spec.entry_script) == ("src", "score.py")
    assert set(result.read) == {"env/azureml_environment.json", "env/conda_dependencies.yml"}


def test_a_conda_file_alone_is_the_environment(tmp_path: Path) -> None:
    assert imported(tmp_path, **{"conda_dependencies.yml": CONDA})[0].environment == "conda_dependencies.yml"


@pytest.mark.parametrize("bad", ["", " ", "a\nb", "x" * 5000, 5, None, ["a"]])
def test_requirements_that_are_none_are_listed(tmp_path: Path, bad: object) -> None:
    dependencies = ["python=3.8", bad, {"pip": ["six", bad]}]
    environment = {"name": "e", "python": {"condaDependencies": {"channels": ["c", bad], "dependencies": dependencies}}}
    spec, result = imported(tmp_path, **{"inferenceconfig.json": {**INFERENCE, "environment": environment}})
    assert spec.environment == InlineEnvironment(pip=("six",))
    assert len([key for key in left(result) if ".condaDependencies." in key]) == 3


def test_every_file_that_is_broken_is_named(tmp_path: Path) -> None:
    files = {"inferenceconfig.json": '{"entryScript" "score.py"}', "deploymentconfig.json": "[]", "config.json": "{}"}
    with pytest.raises(SpecError) as raised:
        imported(tmp_path, **files)
    told = str(raised.value)
    assert "3 files cannot be taken over" in told
    assert all(name in told for name in files), told
    assert "inferenceconfig.json:1:16" in told


@pytest.mark.parametrize("name", ["two words", "a/b", "", 5, ["x"], "x" * 300])
def test_a_workspace_needs_a_name(tmp_path: Path, name: object) -> None:
    _, result = imported(tmp_path, **{"config.json": {"workspace_name": name, "subscription_id": "s"}})
    assert ("workspace: " in result.text) == (name == 5)


def test_conda_packages_stay_conda_packages_where_pip_has_them_not(tmp_path: Path) -> None:
    asked = ["python=3.8", "numpy=1.19", "lightgbm"]
    python = {"condaDependencies": {"channels": ["conda-forge"], "dependencies": asked}}
    environment = {"name": "e", "python": python, "docker": {}}
    spec, _ = imported(tmp_path, **{"inferenceconfig.json": {**INFERENCE, "environment": environment}})
    wanted = InlineEnvironment(channels=("conda-forge",), conda=tuple(asked))
    assert (spec.environment, spec.python) == (wanted, None)


def test_conda_packages_that_pypi_has_are_pips_unless_the_user_names_the_conda_file(tmp_path: Path) -> None:
    text = "channels: [anaconda, conda-forge]\ndependencies: [python=3.8, numpy=1.19, {pip: [six]}]\n"
    asked = {"channels": ["anaconda"], "dependencies": ["python=3.8", "numpy=1.19", {"pip": ["six"]}]}
    inline = {"name": "e", "python": {"condaDependencies": asked}, "docker": {}}
    configs = {"inline": {**INFERENCE, "environment": inline}, "file": {**INFERENCE, "condaFile": "conda.yml"}}

    def of(name: str, config: object, text: str) -> tuple[Spec, TakenOver]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "conda.yml").write_text(text)
        return imported(tmp_path / name, **{"inferenceconfig.json": config})

    for name, config in configs.items():
        spec, result = of(name, config, text)
        assert (spec.environment, spec.python) == (InlineEnvironment(pip=("numpy==1.19.*", "six")), "3.8")
        assert "PyPI has it, too: pip installs numpy" in str(result.entries)
    text = f"{unasked_line('3.8')}{text}"
    spec, _ = of("unasked", configs["file"], text)
    assert (spec.environment, spec.python) == (InlineEnvironment(pip=("numpy==1.19.*", "six")), "3.13")
    # What pip reads relative to the file stays in it.
    assert of("options", configs["file"], text.replace("six", "-r more.txt"))[0].environment == "conda.yml"
    (tmp_path / "named").mkdir()
    assert imported(tmp_path / "named", **{"conda.yml": text})[0].environment == "conda.yml"


def test_the_version_that_the_sdk_gives_azureml_defaults_is_not_taken(tmp_path: Path) -> None:
    python = {"condaDependencies": {"dependencies": ["python=3.8.13", {"pip": ["azureml-defaults~=1.20.0", "six"]}]}}
    environment = {"name": "e", "python": python, "docker": {}}
    spec, result = imported(tmp_path, **{"inferenceconfig.json": {**INFERENCE, "environment": environment}})
    assert spec.environment == InlineEnvironment(pip=("azureml-defaults", "six"))
    assert any("azureml-defaults~=1.20.0" in each for each in left(result).values())


def test_what_an_environment_leaves_to_its_base_image_is_said(tmp_path: Path) -> None:
    docker = {"enabled": True, "baseImage": "corp.example.com/base:1", "arguments": ["--gpus"], "shmSize": "8g"}
    python = {"userManagedDependencies": True, "interpreterPath": "/opt/python"}
    environment = {"name": "e", "python": python, "docker": docker}
    _, result = imported(tmp_path, **{"inferenceconfig.json": {**INFERENCE, "environment": environment}})
    entries = {each.key.removeprefix("environment."): each for each in result.entries}
    for key in ("python.userManagedDependencies", "python.interpreterPath", "docker.arguments", "docker.shmSize"):
        assert entries[key].outcome == "left"
    assert "`base: corp.example.com/base:1`" in entries["docker.baseImage"].instead


def test_variables_that_are_secrets_or_packagers_own_stay_out(tmp_path: Path) -> None:
    variables = {"API_TOKEN": "s3cr3t-value", "WORKER_COUNT": "2", "AML_APP_ROOT": "/x", "A B": "x", "N": 5, "T": True}
    environment = {**ENVIRONMENT, "environmentVariables": variables}
    spec, result = imported(tmp_path, **{"inferenceconfig.json": {**INFERENCE, "environment": environment}})
    assert (spec.env, spec.server.workers) == ({"N": "5", "T": "true"}, 2)
    reasons = left(result)
    assert "looks like a secret" in reasons["environment.environmentVariables.API_TOKEN"]
    assert "always at" in reasons["environment.environmentVariables.AML_APP_ROOT"]
    assert "s3cr3t-value" not in result.text + repr(result.entries)


# --- deployments ------------------------------------------------------------------------------------------------------


def test_a_deployment_on_aks(tmp_path: Path) -> None:
    spec, result = imported(tmp_path, **{"deploymentconfig.json": AKS})
    service = spec.service
    assert (service.cpu, service.memory, service.cpu_limit, service.memory_limit) == (0.1, "512Mi", 2, "1536Mi")
    assert service.replicas == Replicas(min=2, max=4, target=70)
    assert (service.concurrency, service.max_queue_wait, service.scoring_timeout) == (3, 0.5, 60)
    assert service.probes == Probes(period=10, initial_delay=310, timeout=2, success_threshold=1, failure_threshold=3)
    assert (service.gpu, spec.target_names, service.namespace) == (1, ("gpu",), "ml")
    # v1 asks for keys on AKS unless it is told not to; and not on ACI.
    assert service.auth == "key"
    assert left(result).keys() == {
        "autoScaler.refreshPeriodInSeconds",
        "enableAppInsights",
        "ComputeTarget",
        "tags",
        "primaryKey",
    }
    assert "my-secret-primary-key" not in result.text + repr(result.entries)
    assert "  cpu: 0.1   # deploymentconfig.json: containerResourceRequirements.cpu" in result.text


def test_a_deployment_on_aci(tmp_path: Path) -> None:
    aci = {
        "computeType": "ACI",
        "containerResourceRequirements": {"cpu": 1, "memoryInGB": 2},
        "location": "westeurope",
        "authEnabled": True,
        "sslEnabled": True,
        "sslCertificate": "tls/cert.pem",
        "sslKey": "tls/key.pem",
        "cname": "churn.example.com",
        "dnsNameLabel": "churn",
        "vnetName": "v",
        "subnetName": "s",
        "keys": {"primaryKey": "my-secret-primary-key"},
    }
    spec, result = imported(tmp_path, **{"aci.json": aci})
    assert (spec.service.cpu, spec.service.memory, spec.service.auth) == (1, "2Gi", "key")
    assert spec.service.tls == Tls(cname="churn.example.com", cert="tls/cert.pem", key="tls/key.pem")
    assert spec.service.dns_name == "churn"
    assert left(result).keys() == {"location", "vnetName", "subnetName", "keys.primaryKey"}
    other, _ = imported(tmp_path / "other", **{"aci.json": {"computeType": "Aci"}})
    assert other.service.auth is None


def test_a_local_deployment(tmp_path: Path) -> None:
    spec, result = imported(tmp_path, **{"local.json": {"computeType": "local", "port": 6789}})
    assert (spec.server.port, left(result)) == (6789, {})
    _, result = imported(tmp_path / "b", **{"local.json": {"computeType": "LOCAL", "port": 80}})
    assert "from 1024" in left(result)["port"]


def test_the_parameters_of_the_sdk_are_understood_in_files(tmp_path: Path) -> None:
    parameters: dict[str, Any] = {
        "compute_type": "AKSENDPOINT",
        "cpu_cores": 0.5,
        "memory_gb": 1,
        "cpu_cores_limit": 1,
        "memory_gb_limit": 2,
        "gpu_cores": 0,
        "autoscale_enabled": True,
        "autoscale_min_replicas": 1,
        "autoscale_max_replicas": 3,
        "autoscale_refresh_seconds": 1,
        "autoscale_target_utilization": 60,
        "collect_model_data": True,
        "scoring_timeout_ms": 1500,
        "replica_max_concurrent_requests": 2,
        "max_request_wait_time": 750,
        "primary_key": "k",
        "secondary_key": "k",
        "properties": {"a": "b"},
        "token_auth_enabled": True,
        "period_seconds": 5,
        "initial_delay_seconds": 20,
        "timeout_seconds": 3,
        "success_threshold": 1,
        "failure_threshold": 4,
        "namespace": "ns",
        "compute_target_name": "c",
        "blobfuse_enabled": True,
        "version_name": "a",
        "traffic_percentile": 10,
        "cmk_vault_base_url": "u",
        "description": "Mine",
        "ssl_cname": "a.example.com",
        "enable_app_insights": True,
        "cmk_key_name": "n",
        "cmk_key_version": "v",
    }
    spec, result = imported(tmp_path, **{"deploymentconfig.json": parameters})
    assert (spec.service.replicas, spec.service.auth) == (Replicas(min=1, max=3, target=60), "token")
    assert (spec.service.scoring_timeout, spec.service.max_queue_wait) == (1.5, 0.75)
    assert spec.description == "Mine"
    assert left(result, "unknown") == {}


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"containerResourceRequirements": {"memoryInGB": 2, "memoryInGBLimit": 1}}, "memoryInGBLimit", "less than"),
        ({"containerResourceRequirements": {"cpu": "lots"}}, "cpu", "no number"),
        ({"containerResourceRequirements": {"cpu": -1}}, "cpu", "from 0 on"),
        ({"containerResourceRequirements": [1]}, "containerResourceRequirements", "a mapping is meant"),
        ({"autoScaler": {"minReplicas": 5, "maxReplicas": 2}}, "maxReplicas", "less than the least"),
        ({"autoScaler": {"minReplicas": 2, "targetUtilization": 70}}, "targetUtilization", "fixed"),
        ({"autoScaler": {"autoscaleEnabled": False, "minReplicas": 2}}, "minReplicas", "nothing scales"),
        ({"numReplicas": 10**9}, "numReplicas", "cannot be that"),
        ({"namespace": "My Space"}, "namespace", "cannot be that"),
        ({"scoringTimeoutMs": True}, "scoringTimeoutMs", "no number"),
        ({"sslCertificate": "-----BEGIN CERTIFICATE-----\nx"}, "sslCertificate", "no path"),
        ({"sslKey": "key.pem"}, "sslKey", "there is no cert"),
        ({"authEnabled": "maybe"}, "authEnabled", "true or false is meant"),
        ({"port": "x"}, "port", "no number"),
        ({"computeType": "Moon"}, "computeType", "'Moon' is none of local"),
        ({"computeType": ["aks"]}, "computeType", "text is meant"),
    ],
)
def test_what_cannot_be_taken_over_is_listed(tmp_path: Path, changes: dict[str, Any], key: str, words: str) -> None:
    _, result = imported(tmp_path, **{"deploymentconfig.json": {"computeType": "aks", **changes}})
    (reason,) = [reason for place, reason in left(result).items() if place.rpartition(".")[2] == key]
    assert words in reason


@pytest.mark.parametrize(
    ("conda", "python"),
    [
        ("dependencies: [python=3.10, {pip: [azureml-defaults]}]\n", None),
        ("dependencies:\n- numpy # , python=3.10\n- pip\n", "3.13"),
    ],
)
def test_a_conda_file_in_one_line_names_python_too(tmp_path: Path, conda: str, python: str | None) -> None:
    spec, _ = imported(tmp_path, "inferenceconfig.json", **{
        "inferenceconfig.json": {"entryScript": "score.py", "condaFile": "conda.yml"}, "conda.yml": conda,
    })  # fmt: skip
    assert spec.python == python


def test_two_files_that_say_different_things(tmp_path: Path) -> None:
    files = {"a.json": {"computeType": "aks", "namespace": "a"}, "b.json": {"computeType": "aks", "namespace": "b"}}
    spec, result = imported(tmp_path, **files)
    assert spec.service.namespace == "a"
    assert left(result)["namespace"] == "a.json: namespace has said it already"


# --- workspace, ignored files, v2 -------------------------------------------------------------------------------------


def test_the_workspace_and_what_is_ignored(tmp_path: Path) -> None:
    config = {"subscription_id": "s", "resource_group": "r", "workspace_name": "docs-ws"}
    files = {".azureml/config.json": config, "src/.amlignore": "*.csv\n/data/\n!keep.csv\n"}
    files |= {"inferenceconfig.json": json.dumps(INFERENCE)}
    write(tmp_path, **files)
    result = take_over([tmp_path])
    assert re.search(r"workspace: \"docs-ws\"   # \.azureml/config\.json: workspace_name", result.text)
    assert (tmp_path / "src/.dockerignore").read_text().splitlines()[1:] == ["**/*.csv", "data", "!**/keep.csv"]
    assert result.written == ("packager.yaml", "packager.schema.json", "src/.dockerignore")
    assert left(result).keys() >= {"subscription_id", "resource_group"}
    # The user's own counts, and stays.
    (tmp_path / "src/.dockerignore").write_text("mine\n")
    again = take_over([tmp_path], force=True)
    assert (tmp_path / "src/.dockerignore").read_text() == "mine\n"
    assert any("src/.dockerignore is there" in each.reason for each in again.entries)


@pytest.mark.parametrize(
    ("pattern", "out", "kept"),
    [
        ("*.csv", ["a.csv", "b/c/a.csv"], ["a.txt"]),
        ("/data/", ["data/x"], ["b/data/x"]),
        ("notebooks", ["notebooks/a", "b/notebooks/a"], ["notebook"]),
        ("docs/*.md", ["docs/a.md"], ["b/docs/a.md"]),
        ("cache/", ["b/cache/x"], ["cached"]),
        ("# no", [], ["# no", "no"]),
    ],
)
def test_an_amlignore_leaves_out_the_same_in_dockers_syntax(pattern: str, out: list[str], kept: list[str]) -> None:
    matcher = parse_dockerignore(as_dockerignore(f"{pattern}\n"), ".dockerignore")
    assert [matcher.leaves_out(each) for each in (*out, *kept)] == [True] * len(out) + [False] * len(kept)


def test_files_of_v2(tmp_path: Path) -> None:
    deployment = """
$schema: https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json
name: blue
endpoint_name: churn
model: azureml:churn-model:3
code_configuration: {code: ../src, scoring_script: score.py}
environment: {image: "mcr.microsoft.com/azureml/x:1", conda_file: conda.yml}
environment_variables: {MODE: fast}
instance_type: Standard_DS3_v2
instance_count: 1
scale_settings: {type: target_utilization, min_instances: 1, max_instances: 5, target_utilization_percentage: 70,
  polling_interval: 1}
request_settings: {request_timeout_ms: 3000, max_concurrent_requests_per_instance: 2, max_queue_wait_ms: 500}
liveness_probe: {initial_delay: 10, period: 10, timeout: 2, success_threshold: 1, failure_threshold: 30}
readiness_probe: {initial_delay: 10}
app_insights_enabled: true
odd_key: 1
"""
    endpoint = "$schema: https://x/managedOnlineEndpoint.schema.json\nname: churn\nauth_mode: aml_token\n"
    files = {"deploy/blue.yml": deployment, "deploy/conda.yml": CONDA, "deploy/endpoint.yml": endpoint}
    spec, result = imported(tmp_path, "deploy/blue.yml", "deploy/endpoint.yml", **files)
    assert (spec.source_dir, spec.entry_script, spec.environment) == ("src", "score.py", "deploy/conda.yml")
    assert spec.service.replicas == Replicas(min=1, max=5, target=70)
    assert (spec.service.scoring_timeout, spec.service.concurrency, spec.service.max_queue_wait) == (3, 2, 0.5)
    assert (spec.service.probes.failure_threshold, spec.service.auth) == (30, "token")
    assert [each.registered for each in spec.models] == ["churn-model:3"]
    assert left(result, "unknown").keys() == {"odd_key"}
    assert {"instance_type", "readiness_probe", "instance_count", "endpoint_name"} <= left(result).keys()


def test_an_environment_of_v2_and_kubernetes_resources(tmp_path: Path) -> None:
    environment = (
        "$schema: https://x/environment.schema.json\nname: e\nversion: 1\nimage: corp/x:1\nconda_file: c.yml\n"
    )
    spec, result = imported(tmp_path, "env.yml", **{"env.yml": environment, "c.yml": CONDA})
    assert spec.environment == "c.yml"
    assert "image" in left(result)
    resources = {"requests": {"cpu": "0.5", "memory": "1Gi"}, "limits": {"cpu": "1", "nvidia.com/gpu": 1}}
    deployment = {"code_configuration": {"code": "src", "scoring_script": "score.py"}, "resources": resources}
    spec, _ = imported(tmp_path / "k", **{"blue.yml": yaml.safe_dump(deployment)})
    assert (spec.service.cpu, spec.service.memory, spec.service.cpu_limit, spec.service.gpu) == (0.5, "1Gi", 1, 1)


# --- the account ------------------------------------------------------------------------------------------------------


def leaves(value: Any, path: str = "") -> list[str]:
    if isinstance(value, dict) and value:
        return [each for key, inner in value.items() for each in leaves(inner, f"{path}.{key}" if path else key)]
    return [path]


@pytest.mark.parametrize(
    "data",
    [
        {**INFERENCE, "environment": ENVIRONMENT, "odd": {"deep": 1}},
        {**INFERENCE, "runtime": "python", "enableGpu": False, "condaFile": None, "extraDockerfileSteps": ""},
        AKS,
        {**AKS, "authEnabled": False, "sslEnabled": False, "keys": {}, "dataCollection": {"storageEnabled": False}},
    ],
)
def test_no_key_is_dropped_in_silence(tmp_path: Path, data: dict[str, Any]) -> None:
    _, result = imported(tmp_path, **{"config.json": data})
    told = [each.key.partition("[")[0] for each in result.entries if each.key]
    for leaf in leaves(data):
        assert any(leaf == key or leaf.startswith(f"{key}.") for key in told), leaf


def test_unknown_keys_are_warned_of_and_kept_in_the_list(tmp_path: Path) -> None:
    write(tmp_path, **{"inferenceconfig.json": {**INFERENCE, "wat": 1, "a\nb": 2}})
    arguments = ["import", str(tmp_path / "inferenceconfig.json"), "-o", str(tmp_path / "packager.yaml")]
    answer = CliRunner().invoke(cli, arguments)
    assert answer.exit_code == 0
    assert "warning: inferenceconfig.json: wat is not taken over: packager knows no such key here" in answer.stderr
    assert "#   inferenceconfig.json: wat is not taken over" in (tmp_path / "packager.yaml").read_text()
    again = CliRunner().invoke(cli, [*arguments, "--force", "--format", "json"])
    data = json.loads(again.stdout)
    unknown = [each["key"] for each in data["left"] if each["kind"] == "unknown"]
    assert unknown == ["wat", "a\\nb"]
    assert {"file": "inferenceconfig.json", "key": "entryScript", "field": "entry_script", "note": ""} in data["taken"]


def test_the_text_alone_is_printed_and_nothing_is_written(tmp_path: Path) -> None:
    write(tmp_path, **{"inferenceconfig.json": INFERENCE})
    answer = CliRunner().invoke(cli, ["import", str(tmp_path), "-o", "-", "-q"])
    assert answer.exit_code == 0
    assert answer.stdout.startswith("# What to package.")
    assert {each.name for each in tmp_path.iterdir()} == {"inferenceconfig.json", "src"}


def test_a_spec_that_is_there_stays(tmp_path: Path) -> None:
    write(tmp_path, **{"inferenceconfig.json": INFERENCE, "packager.yaml": "mine\n"})
    with pytest.raises(SpecError, match="exists"):
        take_over([tmp_path])
    assert (tmp_path / "packager.yaml").read_text() == "mine\n"


def test_init_does_it_of_its_own_accord(tmp_path: Path) -> None:
    write(tmp_path, **{"inferenceconfig.json": {**INFERENCE, "environment": ENVIRONMENT}, "deploymentconfig.json": AKS})
    write(tmp_path, **{"src/.amlignore": "*.csv\n"})
    path, found = init(tmp_path)
    spec = load_spec(path).spec
    assert (spec.service.auth, spec.service.cpu, spec.python) == ("key", 0.1, "3.8")
    assert (tmp_path / "src/.dockerignore").exists()
    assert any("shmSize" in each for each in found.notes)


def test_files_that_the_configuration_names_need_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ic.json").write_text(json.dumps({**INFERENCE, "condaFile": "conda.yml"}))
    result = take_over([tmp_path / "ic.json"], str(tmp_path / "packager.yaml"))
    spec = load_spec(tmp_path).spec
    assert (spec.entry_script, spec.source_dir, spec.environment) == ("score.py", "src", "conda.yml")
    assert sum("is not there yet" in each.reason for each in result.entries) == 2
    # What names no script gets one, and it is said.
    (tmp_path / "dc.json").write_text('{"computeType": "aci"}')
    monkeypatch.chdir(tmp_path)
    result = take_over([Path("dc.json")], "-")
    assert any("no file names an entry script" in each.reason for each in result.entries)


@pytest.mark.parametrize("outside", ["../x/score.py", "/etc/score.py", "..\\x\\score.py"])
def test_paths_that_leave_are_not_taken(tmp_path: Path, outside: str) -> None:
    folder = write(tmp_path / "package", **{"ic.json": {"entryScript": outside}})
    result = take_over([folder / "ic.json"], str(folder / "packager.yaml"))
    assert "not below this folder" in left(result)["entryScript"]
    assert load_spec(folder).spec.entry_script == "score.py"


# --- hostile files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "place", "words"),
    [
        ("ic.json", '{"entryScript": "score.py",}', ":1:28", "not valid JSON"),
        ("ic.json", "{\n  'entryScript': 1\n}", ":2:3", "not valid JSON"),
        ("ic.json", '{"entryScript": "score.py"} x', ":1:29", "extra data"),
        ("ic.json", "", ":1:1", "empty"),
        ("ic.json", '{"entryScript": NaN}', "", "no number"),
        ("ic.json", '{"entryScript": ' + "[" * 100_000 + "]" * 100_000 + "}", "", "nested too deeply"),
        ("ic.json", '{"entryScript": ' + "[" * 60 + "]" * 60 + "}", "", "nested too deeply"),
        ("ic.json", '{"a": [' + "1," * 30_000 + "1]}", "", "too large"),
        ("ic.json", '{"entryScript": ' + "9" * 5000 + "}", "", "thousands of digits"),
        ("ic.json", '{"entryScript": "' + "x" * (2 << 20) + '"}', "", "larger than"),
        ("ic.json", "[1, 2]", "", "no file that can be taken over"),
        ("ic.json", '"text"', "", "no file that can be taken over"),
        ("ic.json", '{"other": 1}', "", "no file that can be taken over"),
        ("ic.json", b"\xff\xfe\x00", "", "not UTF"),
        ("ic.yml", "entryScript: [a\n", ":2", "not valid YAML"),
        ("ic.yml", "a: &x [1]\nb: *x\nentryScript: s\n", ":1", "aliases"),
        ("ic.yml", "entryScript: !!python/object:os.system x\n", ":1", "tag"),
        ("ic.txt", "{}", "", "no file that can be taken over"),
        ("gone.json", None, "", "no such file"),
    ],
)
def test_files_that_are_broken_are_named_with_line_and_column(
    tmp_path: Path, name: str, text: str | bytes | None, place: str, words: str
) -> None:
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SpecError) as caught:
        take_over([tmp_path / name], str(tmp_path / "packager.yaml"))
    assert words in str(caught.value).lower() or words in str(caught.value)
    assert f"{name}{place}" in str(caught.value)
    assert not (tmp_path / "packager.yaml").exists()


def test_a_key_that_is_there_twice_is_said(tmp_path: Path) -> None:
    text = '{"entryScript": "a.py", "entryScript": "score.py", "sourceDirectory": "src", "ENTRYSCRIPT": "b.py"}'
    spec, result = imported(tmp_path, **{"ic.json": text})
    assert spec.entry_script == "score.py"
    assert sum("twice" in each.reason or "second time" in each.reason for each in result.entries) == 2


@pytest.mark.parametrize(
    "key", ["entryScript", "sourceDirectory", "environment", "condaFile", "description", "runtime"]
)
@pytest.mark.parametrize("value", [1, True, [], [1], {}, {"a": 1}, "a\nb: c", "x" * 5000, "\u2028", "# {{}}", "'\""])
def test_values_of_the_wrong_kind_give_a_valid_spec_all_the_same(tmp_path: Path, key: str, value: object) -> None:
    spec, _ = imported(tmp_path, **{"ic.json": {**INFERENCE, key: value}})
    assert spec.entry_script is not None


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from(
    [
        *("entryScript", "sourceDirectory", "environment", "condaFile", "computeType", "port", "python", "docker"),
        *("containerResourceRequirements", "autoScaler", "cpu", "memoryInGB", "numReplicas", "code_configuration"),
        *("model", "resources", "scale_settings", "liveness_probe", "environment_variables", "conda_file", "name"),
        *("environmentVariables", "workspace_name", "auth_mode", "sslCertificate", "keys", "dependencies", "spark"),
    ]
)


@settings(max_examples=40, deadline=None)
@given(data=st.dictionaries(_KEYS, _VALUES, min_size=1, max_size=8))
def test_whatever_stands_there_is_a_valid_spec_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]
) -> None:
    folder = write(tmp_path_factory.mktemp("any"), **{"any.json": data})
    try:
        result = take_over([folder / "any.json"], str(folder / "packager.yaml"))
    except PackagerError:
        return
    told = [each.key.partition("[")[0] for each in result.entries if each.key]
    for key in data:
        assert any(each == key or each.startswith(f"{key}.") for each in told), key
    look(folder)
