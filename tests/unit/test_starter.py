from __future__ import annotations

from pathlib import Path

import pytest

from packager.errors import SpecError
from packager.init.look import look
from packager.init.starter import starter_spec
from packager.spec import Spec, parse_spec
from packager.spec.model import InlineEnvironment

SCRIPT = "import json, numpy\nfrom sklearn import linear_model\nimport helper\ndef init(): ...\ndef run(data): ...\n"


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def starter(folder: Path) -> Spec:
    text = starter_spec(look(folder))
    return parse_spec(text, folder / "packager.yaml").spec


def test_a_usual_folder(tmp_path: Path) -> None:
    folder = tmp_path / "My Model"
    (folder / "src").mkdir(parents=True)
    (folder / "src/score.py").write_text(SCRIPT)
    (folder / "src/helper.py").write_text("")
    (folder / "train.py").write_text("raise SystemExit('was run')")
    (folder / "requirements.txt").write_text("numpy\n")
    (folder / "models").mkdir()
    (folder / "models/m.pkl").write_bytes(b"x")
    spec = starter(folder)
    assert spec.name == "my-model"
    assert (spec.source_dir, spec.entry_script) == ("src", "score.py")
    assert [(model.path, model.called, model.version) for model in spec.models] == [("models/m.pkl", "m", 1)]
    assert spec.environment == "requirements.txt"


def test_an_environment_is_guessed_from_the_imports(tmp_path: Path) -> None:
    folder = write(tmp_path, **{"score.py": SCRIPT, "helper.py": ""})
    found = look(folder)
    assert found.imports == ("numpy", "scikit-learn")
    environment = starter(folder).environment
    assert isinstance(environment, InlineEnvironment)
    assert environment.pip == ("numpy", "scikit-learn")


def test_folders_that_are_models(tmp_path: Path) -> None:
    folder = write(
        tmp_path, **{"score.py": SCRIPT, "tf/saved_model.pb": "x", "tf/variables/v.h5": "x", "a b.onnx": "x"}
    )
    models = [(model.path, model.called) for model in starter(folder).models]
    assert models == [("a b.onnx", "a-b"), ("tf", "tf")]


def test_what_is_installed_hidden_or_saved_is_not_looked_at(tmp_path: Path) -> None:
    write(
        tmp_path,
        **{
            "score.py": SCRIPT,
            ".venv/x/score.py": SCRIPT,
            "env/pyvenv.cfg": "",
            "env/entry.py": SCRIPT,
            "context/packager.json": "{}",
            "context/layers/m.pkl": "x",
        },
    )
    found = look(tmp_path)
    assert found.entry_scripts == ("score.py",)
    assert found.models == ()


def test_the_likeliest_entry_script_comes_first(tmp_path: Path) -> None:
    write(tmp_path, **{"a.py": SCRIPT, "deep/score.py": SCRIPT, "main.py": SCRIPT})
    assert look(tmp_path).entry_scripts == ("deep/score.py", "main.py", "a.py")
    assert look(tmp_path, "a.py").entry_scripts[0] == "a.py"
    assert "# also defines init() and run(): main.py" in starter_spec(look(tmp_path))


def test_python_and_version_come_from_the_project(tmp_path: Path) -> None:
    project = (
        '[project]\nname = "Nice_Name"\nversion = "2.1"\nrequires-python = ">=3.11,<3.13"\ndependencies = ["numpy"]\n'
    )
    write(tmp_path, **{"score.py": SCRIPT, "pyproject.toml": project})
    spec = starter(tmp_path)
    assert (spec.name, spec.version, spec.python, spec.environment) == ("nice-name", "2.1", "3.12", "pyproject.toml")
    (tmp_path / ".python-version").write_text("3.11.4\n")
    assert starter(tmp_path).python == "3.11"


@pytest.mark.parametrize(
    "name", ["environment.yml", "environment.yaml", "conda.yml", "conda.yaml", "conda_dependencies.yml"]
)
def test_a_conda_file_is_the_environment_and_names_python(tmp_path: Path, name: str) -> None:
    conda = "channels: [conda-forge]\ndependencies:\n  - conda-forge::python=3.12\n  - numpy\n"
    write(tmp_path, **{"score.py": SCRIPT, name: conda, "requirements.txt": "six\n"})
    spec = starter(tmp_path)
    assert (spec.environment, spec.python) == (name, None)


def test_a_conda_file_without_python_gets_one_from_the_spec(tmp_path: Path) -> None:
    write(tmp_path, **{"score.py": SCRIPT, "environment.yml": "dependencies:\n  - python-dateutil\n  - numpy\n"})
    assert starter(tmp_path).python == "3.13"


def test_the_requirements_of_a_model_folder_go_before_its_conda_file(tmp_path: Path) -> None:
    conda = "dependencies:\n- python=3.12\n"
    write(tmp_path, **{"score.py": SCRIPT, "m/MLmodel": "", "m/conda.yaml": conda, "m/requirements.txt": "six\n"})
    assert starter(tmp_path).environment == "m/requirements.txt"
    (tmp_path / "m/requirements.txt").unlink()
    assert starter(tmp_path).environment == "m/conda.yaml"


@pytest.mark.parametrize(
    "name", ["näme.pkl", "a'b.pkl", 'a"b.pkl', "true.pkl", "1.pkl", "a#b.pkl", "x: y.pkl", "-a.pkl"]
)
def test_odd_file_names_give_a_valid_spec_or_a_clear_error(tmp_path: Path, name: str) -> None:
    write(tmp_path, **{"score.py": SCRIPT})
    (tmp_path / name).write_bytes(b"x")
    if name.startswith("-"):
        with pytest.raises(SpecError, match=r"'-a.pkl' is not valid here"):
            starter(tmp_path)
    else:
        assert starter(tmp_path).models[0].path == name


def test_a_folder_without_an_entry_script_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="both init"):
        look(tmp_path)
    with pytest.raises(SpecError, match="not a folder"):
        look(tmp_path / "missing")
    with pytest.raises(SpecError, match=r"there is no 'x\.py'"):
        look(tmp_path, "x.py")


@pytest.mark.parametrize(
    ("files", "path", "framework", "environment"),
    [
        ({"models/model.pkl": "m", "train.py": "print()\n"}, "models/model.pkl", "sklearn", None),
        ({"net.onnx": "m", "requirements.txt": "onnxruntime\n"}, "net.onnx", "onnx", "requirements.txt"),
        ({"net/saved_model.pb": "m"}, "net", "tensorflow", None),
        ({"m/MLmodel": "flavors: {}\n", "m/model.pkl": "m", "m/conda.yaml": "dependencies: []\n"}, "m", "mlflow", None),
    ],
)
def test_one_model_without_script_is_served_by_its_framework(
    tmp_path: Path, files: dict[str, str], path: str, framework: str, environment: str | None
) -> None:
    found = starter(write(tmp_path, **files))
    assert found.entry_script is None
    assert [(each.path, each.framework) for each in found.models] == [(path, framework)]
    assert found.environment == environment


def test_several_models_without_script_need_one(tmp_path: Path) -> None:
    folder = write(tmp_path, **{"a.onnx": "", "b.onnx": ""})
    with pytest.raises(SpecError, match="defines both") as caught:
        look(folder)
    assert "one model of scikit-learn, ONNX" in str(caught.value.remedy)
