from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from packager.checks.frameworks import framework_findings
from packager.context.no_code import no_code_files
from packager.context.sources import scan_sources
from packager.environments.declare.environment import Environment, read_environment, read_environments
from packager.environments.declare.no_code import default_in_words, of_framework
from packager.errors import ContextError, SpecError
from packager.plan.trees import Tree
from packager.spec import parse_spec
from packager.spec.load import SpecFile, load_spec
from packager.spec.model import Model, Spec, packaged
from tests.unit.context_factory import read_digest, write_files

ROOT = Path(__file__).parents[2]
HEAD = 'name: demo\nversion: "1"\n'
DIABETES = (ROOT / "examples/diabetes/models/sklearn_regression_model.pkl").read_bytes()
IRIS = (ROOT / "examples/onnx-no-code/models/iris.onnx").read_bytes()
SKLEARN = "models: [{path: d.pkl, framework: sklearn}]\n"


def parse(more: str) -> SpecFile:
    return parse_spec(HEAD + more, Path("packager.yaml"))


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("models: [{path: d.pkl}]", "entry_script", "'entry_script' is missing"),
        ("entry_script: score.py", "environment", "'environment' is missing"),
        (
            "models: [{path: a, framework: onnx}, {path: b, framework: onnx}]",
            "models",
            "there is exactly one model, and there are 2",
        ),
        ("models: [{path: a, framework: onnx}, {path: b}]", "models", "exactly one model"),
        ("models: [{path: a, framework: keras}]", "models[0].framework", "'keras' is not valid here"),
        (
            "models: [{path: a, framework: onnx, framework_version: 1.9}]",
            "models[0].framework_version",
            "1.9 is a number",
        ),
        ('models: [{path: a, framework: onnx, framework_version: "1;x"}]', "models[0].framework_version", "not valid"),
        ('models: [{path: a, framework_version: "1"}]', "models[0].framework_version", "without a framework"),
        ('models: [{path: a, framework: mlflow, framework_version: "1"}]', "models[0].framework_version", "itself"),
        (f"source_dir: .\n{SKLEARN}", "source_dir", "the whole folder of the spec is no source directory"),
        (
            "targets: {cpu: {models: [{path: a, framework: onnx}]}, arm-edge: {}}",
            "models",
            "exactly one model, and there are 0 for the target 'arm-edge'",
        ),
        (
            "targets: {cpu: {models: [{path: a, framework: onnx}]}, arm-edge: {models: [{path: b}]}}",
            "targets.arm-edge.models[0]",
            "the model for the target 'arm-edge' needs a framework",
        ),
    ],
)
def test_rules_of_a_spec_without_entry_script(text: str, field: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert message in caught.value.message
    assert caught.value.where is not None
    assert caught.value.where.field == field
    assert caught.value.remedy


def test_what_a_framework_adds_to_a_spec() -> None:
    spec = parse(SKLEARN).spec
    assert (spec.script, spec.packages_sources, spec.models[0].kind) == ("packager_score.py", False, "sklearn")
    assert parse(f"source_dir: lib\n{SKLEARN}").spec.packages_sources
    assert Model(path="a", framework="TensorFlow").kind == "tensorflow"
    without = Spec(name="a", version="1", entry_script="s.py", environment="r.txt", models=(Model(path="a"),))
    assert packaged(without)["models"] == [{"path": "a"}]
    assert packaged(spec)["models"] == [{"path": "d.pkl", "framework": "sklearn"}]


# --- the environment --------------------------------------------------------------------------------------------------


def test_the_version_that_saved_a_model_is_locked() -> None:
    current = of_framework("sklearn", "1.9.1", None)
    assert current.inline is not None
    assert (current.inline.curated, current.inline.pip, current.python) == ("sklearn", ("scikit-learn==1.9.1",), None)
    unknown = of_framework("sklearn", None, None).inline
    assert unknown is not None
    assert (unknown.curated, unknown.pip) == ("sklearn", ())
    minor = of_framework("tensorflow", "2.20", None).inline
    assert minor is not None
    assert minor.pip == ("tensorflow==2.20.*",)


@pytest.mark.parametrize(
    ("kind", "version", "python", "pip", "newest"),
    [
        ("sklearn", "1.5.2", None, ("scikit-learn==1.5.2", "joblib", "numpy", "pandas"), "3.12"),
        ("sklearn", "1.3.2", None, ("scikit-learn==1.3.2", "joblib", "numpy<2", "pandas"), "3.12"),
        ("sklearn", "1.2", None, ("scikit-learn==1.2.*", "joblib", "numpy<2", "pandas"), "3.11"),
        ("sklearn", "1.9.1", "3.12", ("scikit-learn==1.9.1", "joblib", "numpy", "pandas"), "3.12"),
        ("sklearn", None, "3.11", ("scikit-learn<2,>=1.6", "joblib", "numpy", "pandas"), None),
        ("tensorflow", "2.16.1", None, ("tensorflow==2.16.1",), "3.12"),
        ("tensorflow", "2.12.0", None, ("tensorflow==2.12.0",), "3.11"),
        ("onnx", None, "3.12", ("onnxruntime<2,>=1.20", "numpy"), None),
    ],
)
def test_where_the_curated_environment_does_not_fit(
    kind: str, version: str | None, python: str | None, pip: tuple[str, ...], newest: str | None
) -> None:
    found = of_framework(kind, version, python)  # type: ignore[arg-type]
    assert found.inline is not None
    assert (found.inline.curated, found.inline.pip, found.python) == (None, pip, newest)


def environment(folder: Path, more: str, files: dict[str, str | bytes]) -> Environment:
    write_files(folder, {**files, "packager.yaml": HEAD + more})
    return read_environment(load_spec(folder).for_target("cpu"))


def test_environments_of_frameworks(tmp_path: Path) -> None:
    found = environment(tmp_path, SKLEARN, {"d.pkl": DIABETES})
    assert "scikit-learn==1.9.1" in found.requirements
    assert (found.curated, found.python) == ("sklearn", "3.13")
    assert [each.partition(": ")[2] for each in found.notes] == [
        "the model was saved by scikit-learn 1.9.1, which is locked for it"
    ]
    declared = SKLEARN.replace("sklearn}", 'sklearn, framework_version: "1.3.2"}')
    found = environment(tmp_path, declared, {"d.pkl": DIABETES})
    assert {"scikit-learn==1.3.2", "numpy<2"} <= set(found.requirements)
    assert (found.curated, found.python, found.notes) == (None, "3.12", ())
    graph = 'models: [{path: m.onnx, framework: Onnx, framework_version: "1.3"}]\n'
    found = environment(tmp_path, graph, {"m.onnx": IRIS})
    assert found.curated == "onnx"
    assert "pins nothing" in found.notes[0]
    own = environment(tmp_path, f"{SKLEARN}environment: {{pip: [scikit-learn==1.8.0]}}\n", {"d.pkl": DIABETES})
    assert own.requirements == ("azureml-inference-server-http", "scikit-learn==1.8.0")


@pytest.mark.parametrize(
    ("version", "pin", "python"),
    [
        ("1", "scikit-learn==1.*", "3.9"),  # as 1.0
        ("1.1", "scikit-learn==1.1.*", "3.10"),
        ("1.2.2", "scikit-learn==1.2.2", "3.11"),
        ("1.3", "scikit-learn==1.3.*", "3.12"),
        ("1.6", "scikit-learn==1.6.*", "3.13"),
        ("1.7.0", "scikit-learn==1.7.0", "3.13"),
    ],
)
def test_a_declared_version_is_pinned_as_far_as_it_is_given_and_chooses_the_python(
    tmp_path: Path, version: str, pin: str, python: str
) -> None:
    declared = SKLEARN.replace("sklearn}", f'sklearn, framework_version: "{version}"}}')
    found = environment(tmp_path, declared, {"d.pkl": DIABETES})
    assert pin in found.requirements
    assert found.python == python


def test_targets_with_models_of_their_own(tmp_path: Path) -> None:
    edge = "arm-edge: {models: [{path: m.onnx, framework: onnx}]}"
    more = f"targets: {{cpu: {{{SKLEARN.strip()}}}, {edge}}}\n"
    write_files(tmp_path, {"d.pkl": DIABETES, "m.onnx": IRIS, "packager.yaml": HEAD + more})
    found = read_environments(load_spec(tmp_path))
    assert {name: each.curated for name, each in found.items()} == {"cpu": "sklearn", "arm-edge": "onnx"}


# --- MLflow's folder --------------------------------------------------------------------------------------------------

MLFLOW = "models: [{path: m, framework: mlflow}]\n"
MLMODEL = "flavors: {python_function: {loader_module: mlflow.sklearn}}\nmlflow_version: 2.9.2\n"
CONDA = """\
channels: [conda-forge]
dependencies:
- python=3.12.3
- pip<=23.2.1
- pip:
  - mlflow==2.9.2
  - scikit-learn==1.3.0
"""


def test_a_conda_file_that_asks_conda_for_python_alone(tmp_path: Path) -> None:
    found = environment(tmp_path, MLFLOW, {"m/MLmodel": MLMODEL, "m/conda.yaml": CONDA, "m/requirements.txt": "x\n"})
    assert (found.conda, found.python, list(found.inputs)) == (None, "3.12", ["m/conda.yaml"])
    assert found.requirements == ("azureml-inference-server-http", "mlflow==2.9.2", "scikit-learn==1.3.0")
    assert "on the base image of Python 3.12" in found.notes[0]


def test_a_conda_file_with_packages_is_conda(tmp_path: Path) -> None:
    conda = CONDA.replace("- pip<=23.2.1\n", "- numpy=1.26\n")
    found = environment(tmp_path, MLFLOW, {"m/MLmodel": MLMODEL, "m/conda.yaml": conda})
    assert found.conda is not None
    assert "numpy 1.26.*" in " ".join(found.conda.specs) or "numpy=1.26" in " ".join(found.conda.specs)
    assert found.python == "3.12"


def test_requirements_and_python_env(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "m/MLmodel": MLMODEL,
        "m/requirements.txt": "scikit-learn==1.3.0\n",
        "m/python_env.yaml": "python: 3.11.7\nbuild_dependencies: [pip]\ndependencies: [-r requirements.txt]\n",
    }
    found = environment(tmp_path, MLFLOW, files)
    assert (found.python, list(found.inputs)) == ("3.11", ["m/requirements.txt"])
    # What loads the model is added, of the version that wrote it.
    assert {"mlflow-skinny==2.9.2", "pandas", "scikit-learn==1.3.0"} <= set(found.requirements)
    assert "added mlflow-skinny==2.9.2, pandas" in found.notes[0]
    other = environment(tmp_path, f'{MLFLOW}python: "3.13"\n', files)
    assert other.python == "3.13"


def test_a_folder_without_environment(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="names no environment") as caught:
        environment(tmp_path, MLFLOW, {"m/MLmodel": MLMODEL})
    assert "environment: requirements.txt" in str(caught.value.remedy)


# --- what is made -----------------------------------------------------------------------------------------------------


def generated(folder: Path, more: str = "", files: dict[str, str | bytes] | None = None) -> dict[str, str]:
    write_files(folder, {"d.pkl": DIABETES, **(files or {}), "packager.yaml": HEAD + more + SKLEARN})
    spec_file = load_spec(folder).for_target("cpu")
    app = scan_sources(spec_file, read_digest).app
    return {each.path: each.text or "" for each in no_code_files(spec_file, "3.13", app)}


def test_the_files_that_are_made(tmp_path: Path) -> None:
    made = generated(tmp_path, files={"secret.txt": "not for the image"})
    assert [each.removeprefix("var/azureml-app/") for each in made] == [
        "packager_score.py",
        "packager_json.py",
        "swagger2.json",
        "swagger3.json",
        "swagger3.1.json",
    ]
    assert 'MODEL = "d.pkl"' in made["var/azureml-app/packager_score.py"]
    assert scan_sources(load_spec(tmp_path), read_digest).app == Tree(), "the folder of the spec is not packaged"


def test_a_source_directory_that_is_named(tmp_path: Path) -> None:
    made = generated(tmp_path, "source_dir: lib\n", {"lib/features.py": "", "lib/swagger.json": "{}"})
    assert "var/azureml-app/swagger2.json" not in made, "theirs goes before ours"
    assert "var/azureml-app/swagger3.json" in made
    assert [each.path for each in scan_sources(load_spec(tmp_path), read_digest).app.files] == [
        "features.py",
        "swagger.json",
    ]
    with pytest.raises(ContextError, match=r"'packager_json\.py', which is the name of one that packager makes"):
        generated(tmp_path, "source_dir: lib\n", {"lib/packager_json.py": ""})


def test_a_python_too_old_for_the_script(tmp_path: Path) -> None:
    write_files(tmp_path, {"d.pkl": DIABETES, "packager.yaml": HEAD + SKLEARN})
    with pytest.raises(ContextError, match=r"needs Python 3\.10, and the image has 3\.9"):
        no_code_files(load_spec(tmp_path), "3.9", Tree())


# --- what check says --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("framework", "declared", "written", "locked", "said"),
    [
        ("sklearn", "1.9.1", ("1.9.1",), "1.8.0", ""),
        ("sklearn", "1.9", ("1.9.1",), "1.9.1", ""),
        ("sklearn", "1.9", (), "1.9.1", ""),
        ("sklearn", "1.9", ("1.90.1",), "1.9.1", "scikit-learn 1.9 saved it, and the file 1.90.1"),
        ("sklearn", "1.3.2", ("1.9.1",), "1.3.2", "scikit-learn 1.3.2 saved it, and the file 1.9.1"),
        ("tensorflow", "2.20", (), "2.20.4", ""),
        ("tensorflow", "2.16", (), "2.20.4", "TensorFlow 2.16, as the spec says; the lock has 2.20.4"),
        ("onnx", "1.3", ("1.9.1",), "1.31.1", ""),
    ],
)
def test_a_declared_version_is_held_against_file_and_lock(
    framework: str, declared: str, written: tuple[str, ...], locked: str, said: str
) -> None:
    model = Model(path="m", framework=framework, framework_version=declared)  # type: ignore[arg-type]
    versions = dict.fromkeys(("scikit-learn", "tensorflow", "onnxruntime"), locked)
    found = list(framework_findings(model, written, versions))
    assert [each.rule for each in found] == (["model-framework-version"] if said else [])
    assert all(said in each.message for each in found)


@pytest.mark.parametrize(
    "inline", ["{pip: [dill]}", "{curated: sklearn, pip: [dill]}", "{pip: ['dill>=0.3', numpy<2]}"]
)
def test_packages_beside_the_default_in_one_line(tmp_path: Path, inline: str) -> None:
    files: dict[str, str | bytes] = {"d.pkl": DIABETES}
    default = environment(tmp_path / "a", SKLEARN, files)
    found = environment(tmp_path / "b", f"{SKLEARN}environment: {inline}\n", files)
    added = {each for each in found.requirements if each not in default.requirements}
    assert "dill" in {each.partition(">")[0] for each in added}
    assert (found.python, found.curated) == (default.python, default.curated)
    assert {each for each in default.requirements if each.startswith("scikit-learn")} <= set(found.requirements)


@pytest.mark.parametrize("inline", ["{pip: [dill, scikit-learn==1.5.2, joblib]}", "{pip: [-r r.txt]}"])
def test_an_environment_that_names_the_framework_is_taken_as_it_is(tmp_path: Path, inline: str) -> None:
    files: dict[str, str | bytes] = {"d.pkl": DIABETES, "r.txt": "six\n"}
    found = environment(tmp_path, f"{SKLEARN}environment: {inline}\n", files)
    assert found.curated is None
    assert not any(each.startswith("pandas") for each in found.requirements)


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (["sklearn"], "`environment: {curated: sklearn, pip: […]}`"),
        (["onnx", None, "mlflow", "onnx"], "`environment: {curated: onnx, pip: […]}`"),
        (["mlflow"], "an `environment:` of yours"),
        (["sklearn", "onnx"], "an `environment:` of yours"),
    ],
)
def test_where_a_package_is_added_to_what_follows_from_models(kinds: list[Any], words: str) -> None:
    assert default_in_words([SimpleNamespace(kind=each) for each in kinds]) == words  # type: ignore[misc]
