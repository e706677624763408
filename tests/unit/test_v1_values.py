"""The values of `packager.azureml`: environments, configurations and exceptions, in memory and as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from packager.azureml.core import VERSION
from packager.azureml.core.authentication import ServicePrincipalAuthentication
from packager.azureml.core.conda_dependencies import CondaDependencies
from packager.azureml.core.container_registry import ContainerRegistry
from packager.azureml.core.environment import DEFAULT_CPU_IMAGE, Environment
from packager.azureml.core.inference_config import InferenceConfig
from packager.azureml.core.resource_configuration import ResourceConfiguration
from packager.azureml.core.webservice import AciWebservice, AksEndpoint, AksWebservice, LocalWebservice
from packager.azureml.deploying import wanted_service
from packager.azureml.exceptions import (
    AzureMLException,
    ComputeTargetException,
    ModelNotFoundException,
    UserErrorException,
    WebserviceException,
)
from packager.azureml.packaging import of_environment
from packager.steps.declared import package_name
from packager.steps.v1_wanted import Wanted


def packages(found: CondaDependencies) -> list[Any]:
    own: list[Any] = found.as_dict()["dependencies"]
    return own


# --- CondaDependencies ------------------------------------------------------------------------------------------------


def test_without_a_wish_it_is_what_azureml_core_writes() -> None:
    found = CondaDependencies()
    assert yaml.safe_load(found.serialize_to_string()) == {
        "name": "project_environment",
        "dependencies": ["python=3.8.13", {"pip": ["azureml-defaults"]}],
        "channels": ["anaconda", "conda-forge"],
    }
    assert found.python_is_default


def test_packages_of_conda_and_pip_go_where_they_belong() -> None:
    found = CondaDependencies.create(
        pip_packages=["numpy", "scipy[all]>=1"], conda_packages=["scikit-learn==0.22.1", "pip==20.2.4"]
    )
    assert packages(found) == [
        "python=3.10.18",
        {"pip": ["numpy", "scipy[all]>=1"]},
        "scikit-learn==0.22.1",
        "pip==20.2.4",
    ]
    assert list(found.conda_packages) == ["python=3.10.18", "scikit-learn==0.22.1", "pip==20.2.4"]
    assert list(found.pip_packages) == ["numpy", "scipy[all]>=1"]


def test_a_second_requirement_of_pip_replaces_the_first_and_one_of_conda_does_not() -> None:
    found = CondaDependencies.create(pip_packages=["numpy==1.23"], conda_packages=["scikit-learn=0.22"])
    found.add_pip_package("numpy==2.0")
    found.add_conda_package("scikit-learn")
    assert list(found.pip_packages) == ["numpy==2.0"]
    assert list(found.conda_packages)[1:] == ["scikit-learn=0.22", "scikit-learn"]
    found.remove_pip_package("numpy")
    found.remove_conda_package("scikit-learn")
    assert list(found.pip_packages) == []
    assert list(found.conda_packages)[1:] == ["scikit-learn=0.22"]


def test_python_is_set_by_its_own_method_and_as_a_package_and_stays() -> None:
    found = CondaDependencies()
    found.set_python_version("3.12")
    assert (found.get_python_version(), found.python_is_default) == ("3.12", False)
    found.add_conda_package("python=3.9")
    assert found.get_python_version() == "3.9"
    with pytest.raises(UserErrorException, match="must stay"):
        found.remove_conda_package("python=3.9")
    assert not CondaDependencies.create(python_version="3.6.2").python_is_default


def test_options_of_pip_are_no_packages_and_the_same_one_is_replaced() -> None:
    found = CondaDependencies.create(pip_packages=["numpy"], pip_indexurl="https://index.example.com/simple")
    assert list(found.pip_options) == ["--extra-index-url https://index.example.com/simple"]
    found.set_pip_option("--pre")
    found.set_pip_index_url("--extra-index-url https://other.example.com/simple")
    assert list(found.pip_options) == ["--pre", "--extra-index-url https://other.example.com/simple"]
    found.remove_pip_option("--pre")
    assert list(found.pip_options) == ["--extra-index-url https://other.example.com/simple"]
    with pytest.raises(UserErrorException, match="no option"):
        found.set_pip_option("numpy")
    with pytest.raises(UserErrorException, match="is an option"):
        found.add_pip_package("--pre")


def test_channels_requirements_and_merging() -> None:
    found = CondaDependencies()
    found.add_channel("pytorch")
    found.add_channel("pytorch")
    found.remove_channel("anaconda")
    assert list(found.conda_channels) == ["conda-forge", "pytorch"]
    assert CondaDependencies.merge_requirements(["a", "a==1", "b>1", "b<2"]) == ["a==1", "b>1,<2"]


def test_a_file_comes_back_and_a_broken_one_says_where(tmp_path: Path) -> None:
    found = CondaDependencies.create(pip_packages=["numpy"], python_version="3.12")
    assert found.save(str(tmp_path / "env.yml")) == str(tmp_path / "env.yml")
    assert CondaDependencies(str(tmp_path / "env.yml")).as_dict() == found.as_dict()
    assert found.save_to_file(str(tmp_path), "other.yml") == "other.yml"
    assert (tmp_path / "other.yml").read_text() == found.serialize_to_string()
    with pytest.raises(UserErrorException, match="is a folder"):
        found.save(str(tmp_path))
    (tmp_path / "broken.yml").write_text("dependencies:\n  - a: [\n")
    with pytest.raises(UserErrorException, match=r"broken\.yml:\d"):
        CondaDependencies(str(tmp_path / "broken.yml"))
    (tmp_path / "text.yml").write_text("dependencies: numpy\n")
    with pytest.raises(UserErrorException, match="is a list"):
        CondaDependencies(str(tmp_path / "text.yml"))
    with pytest.raises(FileNotFoundError):
        CondaDependencies(str(tmp_path / "none.yml"))


# --- Environment ------------------------------------------------------------------------------------------------------


def test_an_environment_as_a_folder_has_the_keys_of_v1(tmp_path: Path) -> None:
    made = Environment("e")
    made.environment_variables = {"A": "1"}
    made.python.conda_dependencies = CondaDependencies.create(pip_packages=["numpy"], python_version="3.12")
    made.docker.base_image_registry.address = "registry.example.com"
    made.docker.base_image_registry.password = "hunter2"
    made.save_to_directory(str(tmp_path / "e"))
    text = (tmp_path / "e/azureml_environment.json").read_text()
    assert "hunter2" not in text
    data = json.loads(text)
    assert set(data) == {
        *("name", "version", "environmentVariables", "python", "docker", "spark", "databricks", "r"),
        *("inferencingStackVersion", "assetId"),
    }
    assert set(data["python"]) == {
        *("userManagedDependencies", "interpreterPath", "condaDependenciesFile", "baseCondaEnvironment"),
    }
    assert set(data["docker"]) == {
        *("enabled", "baseImage", "baseDockerfile", "buildContext", "sharedVolumes", "shmSize", "arguments"),
        *("baseImageRegistry", "platform"),
    } - {"baseDockerfile"}
    assert data["docker"]["baseImageRegistry"]["address"] == "registry.example.com"
    again = Environment.load_from_directory(str(tmp_path / "e"))
    assert repr(again) == repr(made)
    with pytest.raises(FileExistsError):
        made.save_to_directory(str(tmp_path / "e"))
    made.save_to_directory(str(tmp_path / "e"), overwrite=True)


def test_a_dockerfile_of_an_environment_is_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3.13\n")
    made = Environment.from_dockerfile("d", str(tmp_path / "Dockerfile"))
    assert (made.docker.base_image, made.docker.base_dockerfile) == (None, "FROM python:3.13\n")
    made.save_to_directory(str(tmp_path / "d"))
    assert (tmp_path / "d/BaseDockerfile").read_text() == "FROM python:3.13\n"
    assert Environment.load_from_directory(str(tmp_path / "d")).docker.base_dockerfile == "FROM python:3.13\n"


@pytest.mark.parametrize("text", ["{", "[1", '{"python": 3}', '{"docker": []1}'])
def test_a_broken_definition_is_an_error_and_no_traceback_of_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / "azureml_environment.json").write_text(text)
    with pytest.raises(UserErrorException):
        Environment.load_from_directory(str(tmp_path))


def test_constructors_of_files_and_images(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("# ours\nnumpy\n\nscipy==1.0\n")
    (tmp_path / "env.yml").write_text("dependencies: [python=3.12, {pip: [numpy]}]\n")
    of_pip = Environment.from_pip_requirements("p", str(tmp_path / "requirements.txt"), pip_version="20.2.4")
    assert of_pip.python.conda_dependencies is not None
    assert list(of_pip.python.conda_dependencies.pip_packages) == ["numpy", "scipy==1.0"]
    assert "pip=20.2.4" in list(of_pip.python.conda_dependencies.conda_packages)
    of_conda = Environment.from_conda_specification("c", str(tmp_path / "env.yml"))
    assert of_conda.python.conda_dependencies is not None
    assert of_conda.python.conda_dependencies.get_python_version() == "3.12"
    bare = Environment.from_docker_image("i", "registry.example.com/base:1")
    assert (bare.docker.base_image, bare.python.user_managed_dependencies) == ("registry.example.com/base:1", True)
    on_image = Environment.from_docker_image("i", "base:1", conda_specification=str(tmp_path / "env.yml"))
    assert not on_image.python.user_managed_dependencies
    with pytest.raises(UserErrorException, match="one of them"):
        Environment.from_docker_image("i", "base:1", None, str(tmp_path / "env.yml"), str(tmp_path / "env.yml"))


def test_a_clone_is_another_one_that_nobody_registered() -> None:
    made = Environment("a")
    made.version = "3"
    copy = made.clone("b")
    assert copy.python.conda_dependencies is not None
    copy.python.conda_dependencies.add_pip_package("numpy")
    assert made.python.conda_dependencies is not None
    assert (copy.name, copy.version, list(made.python.conda_dependencies.pip_packages)) == (
        "b",
        None,
        ["azureml-defaults"],
    )
    assert copy.python.conda_dependencies.python_is_default
    with pytest.raises(UserErrorException):
        made.clone("")


def test_what_an_environment_means_for_a_package(capsys: pytest.CaptureFixture[str]) -> None:
    made = Environment("e")
    found = of_environment(made)
    assert found == {
        "conda": {
            "name": "project_environment",
            "dependencies": [{"pip": ["azureml-defaults"]}],
            "channels": ["anaconda", "conda-forge"],
        },
        "base": None,
        "env": {},
    }
    assert "asks for no version of Python" in capsys.readouterr().err
    made.docker.base_image = "registry.example.com/base:1"
    made.environment_variables = {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE", "A": "1"}
    assert made.python.conda_dependencies is not None
    made.python.conda_dependencies.set_python_version("3.12")
    found = of_environment(made)
    assert (found["base"], found["env"]) == ("registry.example.com/base:1", {"A": "1"})
    assert found["conda"]["dependencies"][0] == "python=3.12"
    assert DEFAULT_CPU_IMAGE.startswith("mcr.microsoft.com/azureml/")


def test_an_environment_that_only_its_image_knows_is_refused() -> None:
    with pytest.raises(WebserviceException, match="takes the packages of its base image"):
        of_environment(Environment.from_docker_image("i", "base:1"))
    with pytest.raises(WebserviceException, match="stands on a Dockerfile"):
        of_environment(Environment.from_dockerfile("i", "FROM x\n"))


# --- configurations ---------------------------------------------------------------------------------------------------


def test_what_configurations_want_of_this_machine() -> None:
    assert LocalWebservice.deploy_configuration(port=8890)._wanted() == Wanted(compute="Local", port=8890)
    aci = AciWebservice.deploy_configuration(
        cpu_cores=1, memory_gb=0.5, auth_enabled=True, primary_key="p" * 32, tags={"a": "1"}, ssl_enabled=True
    )
    wanted = aci._wanted()
    assert (wanted.cpus, wanted.memory, wanted.auth, wanted.keys) == (1, "512m", True, ("p" * 32, None))
    assert (wanted.tags, wanted.passed_over) == ({"a": "1"}, ("TLS",))
    assert "p" * 32 not in repr(aci)
    assert not AciWebservice.deploy_configuration()._wanted().auth
    aks = AksWebservice.deploy_configuration(
        cpu_cores=0.5, cpu_cores_limit=2, scoring_timeout_ms=1500, num_replicas=3, compute_target_name="aks",
        max_request_wait_time=700, replica_max_concurrent_requests=2,
    )._wanted()  # fmt: skip
    assert (aks.auth, aks.cpus, aks.passed_over) == (True, 2, ("3 replicas",))
    assert wanted_service(aks) == {
        "cpu": 2, "auth": "key", "scoring_timeout": 1.5, "max_queue_wait": 0.7, "concurrency": 2,
    }  # fmt: skip
    token = AksWebservice.deploy_configuration(token_auth_enabled=True, compute_target_name="aks")._wanted()
    assert (token.auth, token.token) == (True, True)
    assert not AksWebservice.deploy_configuration(auth_enabled=False)._wanted().auth
    assert AksEndpoint.deploy_configuration(version_name="a", traffic_percentile=10).traffic_percentile == 10


def test_a_machine_gives_what_it_has() -> None:
    wanted = Wanted(compute="ACI", cpus=64, memory_gb=1)
    assert wanted.within(128) == wanted
    small = wanted.within(2)
    assert (small.cpus, small.passed_over) == (2.0, ("64 processors (there are 2)",))
    assert small.sentence("svc") == (
        "svc: this machine is ACI here, with processors: 2, memory: 1 GB; "
        "not on one machine: 64 processors (there are 2)"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: LocalWebservice.deploy_configuration(port=70000),
        lambda: AciWebservice.deploy_configuration(cpu_cores=0),
        lambda: AciWebservice.deploy_configuration(memory_gb=-1),
        lambda: AciWebservice.deploy_configuration(primary_key="x" * 32),
        lambda: AksWebservice.deploy_configuration(cpu_cores=2, cpu_cores_limit=1),
        lambda: AksWebservice.deploy_configuration(auth_enabled=True, token_auth_enabled=True),
        lambda: AksWebservice.deploy_configuration(autoscale_enabled=True, num_replicas=2),
        lambda: AksWebservice.deploy_configuration(autoscale_min_replicas=3, autoscale_max_replicas=2),
        lambda: AksEndpoint.deploy_configuration(version_name="a", traffic_percentile=101),
    ],
)
def test_configurations_that_cannot_be_meant(wrong: Any) -> None:
    with pytest.raises(WebserviceException, match="Invalid"):
        wrong()


def test_an_inference_config_looks_at_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src/x").mkdir(parents=True)
    (tmp_path / "src/x/score.py").write_text("")
    (tmp_path / "src/env.yml").write_text("dependencies: [python=3.12]\n")
    found = InferenceConfig("x/score.py", source_directory="src", runtime="python", conda_file="env.yml")
    assert found.source_directory == str(tmp_path / "src")
    inner = found._environment().python.conda_dependencies
    assert inner is not None
    assert inner.get_python_version() == "3.12"
    for wrong, said in (
        ({"entry_script": "none.py"}, "doesn't exist"),
        ({"entry_script": "x/score.py"}, "current working directory"),
        ({"entry_script": "x/score.py", "source_directory": "no"}, "source directory"),
        ({"entry_script": "x/score.R", "source_directory": "src"}, "Python drivers"),
        ({"entry_script": "x/score.py", "source_directory": "src", "runtime": "r"}, "runtime"),
        ({"entry_script": "x/score.py", "source_directory": "src", "conda_file": "no.yml"}, "Conda file"),
        (
            {
                "entry_script": "x/score.py",
                "source_directory": "src",
                "conda_file": "env.yml",
                "environment": Environment("e"),
            },
            "along with an environment",
        ),
    ):
        with pytest.raises(WebserviceException, match=said):
            InferenceConfig(**wrong)


# --- small ones -------------------------------------------------------------------------------------------------------


def test_exceptions_have_their_message_and_print_as_those_of_v1() -> None:
    for kind in (WebserviceException, ComputeTargetException, ModelNotFoundException, UserErrorException):
        error = kind("it is gone")
        assert (error.message, isinstance(error, AzureMLException)) == ("it is gone", True)
        assert str(error).startswith(f"{kind.__name__}:\n\tMessage: it is gone\n\tInnerException None\n")
    assert json.loads(str(UserErrorException("x")).partition("ErrorResponse \n")[2]) == {
        "error": {"code": "UserError", "message": "x"}
    }
    assert WebserviceException("x", status_code=404).status_code == 404


def test_placeholders() -> None:
    assert VERSION == "1.61.0"
    assert ResourceConfiguration.deserialize(ResourceConfiguration(1, 0.5).serialize()).__dict__ == {
        "cpu": 1,
        "memory_in_gb": 0.5,
        "gpu": None,
    }
    assert ResourceConfiguration.deserialize(None) is None
    registry = ContainerRegistry()
    registry.password = "hunter2"
    assert "hunter2" not in repr(registry)
    someone = ServicePrincipalAuthentication("tenant", "who", "hunter2")
    assert "hunter2" not in str(vars(someone))
    with pytest.raises(AzureMLException, match="packager has no Azure"):
        someone.get_authentication_header()


@pytest.mark.parametrize(
    ("text", "name"), [("My_Model.v2", "my-model-v2"), ("---", "package"), ("a" * 99, "a" * 60), ("svc", "svc")]
)
def test_names_of_packages(text: str, name: str) -> None:
    assert package_name(text) == name
