"""`Workspace`, `Model`, `Environment`, datasets and runs of `packager.azureml`, on a folder workspace."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from packager.azureml.core import Dataset, Datastore, Environment, Experiment, Model, Run, Workspace
from packager.azureml.core.compute import AksCompute, AmlCompute, ComputeTarget
from packager.azureml.core.conda_dependencies import CondaDependencies
from packager.azureml.core.resource_configuration import ResourceConfiguration
from packager.azureml.data.dataset_type_definitions import PromoteHeadersBehavior
from packager.azureml.exceptions import (
    ComputeTargetException,
    ModelNotFoundException,
    RunEnvironmentException,
    TrainingException,
    UserErrorException,
    WebserviceException,
    WorkspaceException,
)
from packager.azureml.packaging import declare, declared_models, find_models
from packager.steps.workspaces import create

CONFIG = {"subscription_id": "sub", "resource_group": "group", "workspace_name": "team"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    here = tmp_path / "here"
    (here / "deep/er").mkdir(parents=True)
    (here / "weights.txt").write_text("1 2 3\n")
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def ws(folder: Path) -> Workspace:
    return Workspace.create("team", exist_ok=True)


# --- Workspace --------------------------------------------------------------------------------------------------------


def test_a_workspace_is_the_one_that_a_configuration_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".azureml").mkdir()
    (folder / ".azureml/config.json").write_text(json.dumps(CONFIG))
    monkeypatch.chdir(folder / "deep/er")
    found = Workspace.from_config()
    assert (found.name, found.subscription_id, found.resource_group, found.location) == (
        "team",
        "sub",
        "group",
        "local",
    )
    assert Workspace.from_config(path=str(folder / ".azureml/config.json")).name == "team"
    found.write_config(path=str(folder / "deep"), file_name="mine.json")
    assert json.loads((folder / "deep/.azureml/mine.json").read_text()) == CONFIG
    create(str(folder / "share"))
    monkeypatch.setenv("PACKAGER_WORKSPACE", str(folder / "share"))
    assert Workspace.from_config()._facade.location == str(folder / "share")


@pytest.mark.parametrize(("text", "said"), [("{", "not valid JSON"), ("[]", "names no workspace_name")])
def test_a_broken_configuration_is_said(folder: Path, text: str, said: str) -> None:
    (folder / "ws.json").write_text(text)
    with pytest.raises(UserErrorException, match=said):
        Workspace.from_config("ws.json")
    with pytest.raises(UserErrorException, match="could not be found"):
        Workspace.from_config("none")


def test_without_a_configuration_it_is_the_workspace_of_the_verbs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Workspace.from_config().name == "default"
    assert "taking the workspace default" in capsys.readouterr().err


def test_workspaces_are_made_once_and_found(ws: Workspace) -> None:
    assert Workspace.get("team").name == "team"
    assert list(Workspace.list("sub")) == ["team"]
    with pytest.raises(WorkspaceException, match="already exists"):
        Workspace.create("team")
    with pytest.raises(WorkspaceException, match="no workspace 'other'"):
        Workspace.get("other")
    assert Workspace.get("azures", subscription_id="sub", resource_group="rg").name == "azures"
    with pytest.raises(WorkspaceException, match="by hand"):
        ws.delete()
    assert (ws.models, ws.webservices, ws.images, ws.compute_targets) == ({}, {}, {}, {})


# --- Model ------------------------------------------------------------------------------------------------------------


def test_a_model_is_registered_found_changed_and_deleted(
    ws: Workspace, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Model.register(ws, "weights.txt", "m", tags={"area": "a", "n": "1"}, properties={"p": "q"})
    second = Model.register(
        ws,
        "weights.txt",
        "m",
        tags={"area": "b"},
        description="d",
        resource_configuration=ResourceConfiguration(1, 0.5),
    )
    assert capsys.readouterr().out == "Registering model m\n" * 2
    assert (first.id, second.id, second.version) == ("m:1", "m:2", 2)
    assert (Model(ws, "m").id, Model(ws, "m", version=1).id, Model(ws, id="m:1").tags) == ("m:2", "m:1", first.tags)
    assert Model(ws, tags=[["area", "a"]]).id == "m:1"
    assert [each.id for each in Model.list(ws)] == ["m:2", "m:1"]
    assert [each.id for each in Model.list(ws, tags=["area", ["n", "1"]])] == ["m:1"]
    assert [each.id for each in Model.list(ws, name="m", latest=True)] == ["m:2"]
    assert second.resource_configuration is not None
    assert (second.resource_configuration.memory_in_gb, second.description) == (0.5, "d")
    first.add_tags({"new": "1"})
    first.remove_tags(["area"])
    first.add_properties({"more": "1"})
    assert (Model(ws, id="m:1").tags, Model(ws, id="m:1").properties) == (
        {"n": "1", "new": "1"},
        {"p": "q", "more": "1"},
    )
    with pytest.raises(WebserviceException):
        first.add_properties({"p": "other"})
    first.update(tags={"only": "this"}, description="changed")
    assert (first.tags, Model(ws, id="m:1").description) == ({"only": "this"}, "changed")
    assert ws.models["m"].id == "m:2"
    assert Model.deserialize(ws, second.serialize()).id == "m:2"
    second.delete()
    assert Model.register(ws, "weights.txt", "m").id == "m:3"
    with pytest.raises(WebserviceException, match="ModelNotFound"):
        Model(ws, id="m:2")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model_path": "none.txt"}, "cannot be found"),
        ({"model_framework_version": "1"}, "without a valid framework"),
        ({"model_name": "a b"}, "no name of a model"),
        ({"model_framework": "Magic"}, "no framework"),
        ({"tags": ["a"]}, "must be a dict"),
    ],
)
def test_what_cannot_be_registered(ws: Workspace, wrong: dict[str, object], said: str) -> None:
    arguments = {"model_path": "weights.txt", "model_name": "m", **wrong}
    with pytest.raises(WebserviceException, match=said):
        Model.register(ws, **arguments)  # type: ignore[arg-type]
    assert Model.list(ws) == []


def test_children_of_a_folder_are_taken_alone(ws: Workspace, folder: Path) -> None:
    (folder / "deep/a.txt").write_text("a")
    (folder / "deep/b.txt").write_text("b")
    model = Model.register(ws, "deep", "m", child_paths=["a.txt"])
    assert [each.path for each in model._version.files] == ["deep/a.txt"]
    with pytest.raises(WebserviceException, match="child path"):
        Model.register(ws, "deep", "m", child_paths=["../weights.txt"])


def test_a_download_has_its_own_name_and_replaces_nothing_unasked(ws: Workspace, folder: Path) -> None:
    model = Model.register(ws, "weights.txt", "m")
    assert model.download("target") == "target/weights.txt"
    with pytest.raises(WebserviceException, match="already exists"):
        model.download("target")
    assert model.download("target", exist_ok=True) == "target/weights.txt"


def test_the_path_of_a_model_as_a_script_asks_for_it(ws: Workspace, folder: Path) -> None:
    with pytest.raises(ModelNotFoundException, match="not found in cache"):
        Model.get_model_path("m")
    for version in (2, 10):
        place = folder / f"azureml-models/m/{version}"
        place.mkdir(parents=True)
        (place / "model.pkl").write_text("x")
    assert Model.get_model_path("m") == "azureml-models/m/10/model.pkl"
    assert Model.get_model_path("m", version=2) == "azureml-models/m/2/model.pkl"
    assert Model.get_model_path("weights.txt") == "weights.txt"
    (folder / "azureml-models/m/10/other").write_text("x")
    with pytest.raises(WebserviceException, match="only 1 file or folder"):
        Model.get_model_path("m")
    Model.register(ws, "weights.txt", "w")
    assert Model.get_model_path("w", _workspace=ws) == "azureml-models/w/1/weights.txt"
    with pytest.raises(ModelNotFoundException, match="not found in workspace"):
        Model.get_model_path("none", _workspace=ws)


def test_models_of_a_deployment_are_objects_ids_and_paths(ws: Workspace, folder: Path) -> None:
    model = Model.register(ws, "weights.txt", "m")
    found = find_models(ws, [model, "m:1", "weights.txt"])
    assert [getattr(each, "id", str(each)) for each in found] == ["m:1", "m:1", "weights.txt"]
    for wrong, said in (("none.txt", "neither a registered model nor"), (3, "must either be")):
        with pytest.raises(WebserviceException, match=said):
            find_models(ws, [wrong])
    other = Workspace.create("other")
    with pytest.raises(WebserviceException, match="of the workspace team, and not of other"):
        find_models(other, [model])
    with pytest.raises(WebserviceException, match="given twice"):
        declared_models(ws, [model, "m:1"])
    with pytest.raises(WebserviceException, match="needs an InferenceConfig"):
        declare(ws, "svc", [model], None)


# --- environments -----------------------------------------------------------------------------------------------------


def test_an_environment_is_registered_and_comes_back(ws: Workspace) -> None:
    made = Environment("env")
    made.environment_variables = {"A": "1"}
    made.python.conda_dependencies = CondaDependencies.create(pip_packages=["numpy"])
    first = made.register(ws)
    assert (first.name, first.version) == ("env", "1")
    assert made.register(ws).version == "2"
    found = Environment.get(ws, "env", version="1")
    assert (found.version, found.environment_variables) == ("1", {"A": "1"})
    assert found.python.conda_dependencies is not None
    assert list(found.python.conda_dependencies.pip_packages) == ["numpy"]
    assert found.python.conda_dependencies.python_is_default
    assert Environment.get(ws, "env").version == "2"
    assert Environment.list(ws)["env"].version == "2"
    with pytest.raises(UserErrorException, match="env:7"):
        Environment.get(ws, "env", version="7")
    with pytest.raises(UserErrorException, match="version or label"):
        Environment.get(ws, "env", version="1", label="x")


def test_a_curated_environment_has_its_name_of_v1(ws: Workspace) -> None:
    found = Environment.get(ws, "AzureML-Minimal").clone("mine")
    assert found.python.conda_dependencies is not None
    found.python.conda_dependencies.add_pip_package("scikit-learn")
    assert {"scikit-learn", "azureml-defaults"} <= {*found.python.conda_dependencies.pip_packages}
    assert "AzureML-Minimal" in Environment.list(ws)
    with pytest.raises(UserErrorException):
        Environment("AzureML-Minimal").register(ws)


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_samples_are_rows_of_files(ws: Workspace, folder: Path) -> None:
    (folder / "a.csv").write_text('request\n"{""data"": [1, 2]}"\n{}\n')
    store = ws.get_default_datastore()
    store.upload_files(["a.csv"], target_path="samples", overwrite=True)
    assert store.download("back") == 1
    data = Dataset.Tabular.from_delimited_files([(Datastore.get_default(ws), "samples/*.csv")])
    assert list(data.rows()) == [['{"data": [1, 2]}'], ["{}"]]
    bare = Dataset.Tabular.from_delimited_files("a.csv", header=PromoteHeadersBehavior.NO_HEADERS, separator=";")
    assert len(list(bare.rows())) == 3
    named = data.register(ws, "samples", create_new_version=True)
    assert (named.id, Dataset.get_by_name(ws, "samples").id, list(ws.datasets)) == (
        "samples:1",
        "samples:1",
        ["samples"],
    )
    assert list(Dataset.get_by_id(ws, "samples:1").rows()) == list(data.rows())
    model = Model.register(ws, "weights.txt", "m", sample_input_dataset=data)
    assert [each.path for each in model._version.samples] == ["a.csv"]
    with pytest.raises(UserErrorException, match="not there"):
        Dataset.Tabular.from_delimited_files("none.csv")
    with pytest.raises(UserErrorException, match="leads out"):
        store.upload_files(["a.csv"], target_path="../../out")


def test_compute_targets_are_names_of_this_machine(ws: Workspace) -> None:
    with pytest.raises(ComputeTargetException) as caught:
        ComputeTarget(ws, "aks")
    assert "ComputeTargetNotFound" in caught.value.message
    made = ComputeTarget.attach(ws, "aks", AksCompute.attach_configuration(resource_id="/subscriptions/x"))
    assert isinstance(made, AksCompute)
    assert (made.provisioning_state, AksCompute(ws, "aks").cluster_resource_id) == ("Succeeded", "/subscriptions/x")
    assert list(ws.compute_targets) == ["aks"]
    made.detach()
    assert ws.compute_targets == {}


def test_a_run_is_this_process_and_registers_models(ws: Workspace, folder: Path) -> None:
    run = Run.get_context()
    assert run.id.startswith("OfflineRun_")
    run.log("accuracy", 0.5)
    assert run.get_metrics() == {"accuracy": 0.5}
    with pytest.raises(RunEnvironmentException):
        Run.get_context(allow_offline=False)
    model = Run(Experiment(ws, "e"), "run-1").register_model(model_name="m", model_path="weights.txt", tags={"a": "b"})
    assert (model.run_id, model.tags) == ("run-1", {"a": "b"})
    assert [each.id for each in Model.list(ws, run_id="run-1")] == ["m:1"]


def test_training_is_refused_in_one_sentence(ws: Workspace) -> None:
    from packager.azureml.core.runconfig import ScriptRunConfig
    from packager.azureml.train.hyperdrive import HyperDriveConfig

    calls: tuple[Callable[[], Any], ...] = (
        lambda: Experiment(ws, "e").submit(None),
        lambda: ScriptRunConfig(source_directory="."),
        lambda: HyperDriveConfig(),
        lambda: AmlCompute(ws, "cpu"),
    )
    for call in calls:
        with pytest.raises(TrainingException, match=r"is training on Azure, .* Model\.register"):
            call()
