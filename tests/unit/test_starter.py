from __future__ import annotations

import json
from pathlib import Path

import pytest

from packager.checks.script import entry_script_findings
from packager.errors import SpecError
from packager.init.look import look
from packager.init.starter import starter_spec
from packager.spec import Spec, load_spec, parse_spec
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
        assert starter(tmp_path).models == ()
        assert "'-a.pkl' is left out" in look(tmp_path).notes[0]
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


# --- what people's files say ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["01", "007", "2026", "no", "null", "1e3", "~", "0x1f", "on", "Österreich", "a.b_c"])
def test_folders_whose_names_yaml_takes_for_something_else(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    folder = write(tmp_path / name, **{"score.py": SCRIPT, "- x.pkl": "x", "m.pkl": "x"})
    found = starter(folder)
    assert found.name == found.image.repository
    assert [each.path for each in found.models] == ["m.pkl"]


@pytest.mark.parametrize(
    "name", ["a.sav", "a.bin", "a.h5", "a.keras", "a.pt", "a.safetensors", "a.gguf", "a.cbm", "a.ubj", "a.PKL"]
)
def test_models_of_every_kind_are_found(tmp_path: Path, name: str) -> None:
    found = starter(write(tmp_path, **{"score.py": SCRIPT, f"out/{name}": "x"}))
    assert [each.path for each in found.models] == [f"out/{name}"]


JOINED = "import os\nimport joblib\ndef init():\n    joblib.load({})\ndef run(data):\n    return 1\n"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("os.path.join(os.environ['AZUREML_MODEL_DIR'], 'm.pkl')", ("out/best/m.pkl", "m", 1)),
        ("os.path.join(os.getenv('AZUREML_MODEL_DIR'), 'best', 'm.pkl')", ("out/best", "best", 1)),
        ("os.environ['AZUREML_MODEL_DIR'] + '/out/best/m.pkl'", ("out", "out", 1)),
        ("os.path.join(os.environ['AZUREML_MODEL_DIR'], 'iris', '3', 'm.pkl')", ("out/best/m.pkl", "iris", 3)),
    ],
)
def test_a_model_lies_where_the_script_looks_for_it(tmp_path: Path, path: str, expected: tuple[str, str, int]) -> None:
    files = {"score.py": JOINED.format(path), "out/best/m.pkl": "x", "out/best/vocabulary.txt": "x"}
    found = starter(write(tmp_path, **files)).models
    assert [(each.path, each.called, each.version) for each in found] == [expected]


def test_models_that_lie_about_are_no_models_of_the_spec(tmp_path: Path) -> None:
    other = "mlruns/0/abc/artifacts/model/model.pkl"
    for name in ("models/model.pkl", "models/model_v1.pkl", other, "wandb/run-1/files/model.h5"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "score.py").write_text(SCRIPT)
    assert look(tmp_path).models == ("models/model.pkl", "models/model_v1.pkl")
    script = "import os\n\n\ndef init():\n    open(os.path.join(os.getenv('AZUREML_MODEL_DIR'), 'model.pkl'))\n"
    (tmp_path / "score.py").write_text(f"{script}\n\ndef run(data):\n    pass\n")
    found = look(tmp_path)
    assert found.models == ("models/model.pkl",)
    assert [each for each in found.notes if "models/model_v1.pkl: no model of the spec" in each]
    (tmp_path / "models/old").mkdir()
    (tmp_path / "models/old/model.pkl").touch()
    assert look(tmp_path).models == ("models/model.pkl",), "what lies deeper is of before"
    for name in ("models/old/model.pkl", "models/model.pkl", "models/model_v1.pkl"):
        (tmp_path / name).unlink()
    (tmp_path / "wandb/run-1/files/model.h5").unlink()
    assert look(tmp_path).models == (other,), "where there is no other one"


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbf" + SCRIPT.encode(),
        b"# -*- coding: cp1252 -*-\r\n# Gr\xf6\xdfe\r\n" + SCRIPT.replace("\n", "\r\n").encode(),
        b"# Gr\xf6\xdfe\n" + SCRIPT.encode(),
    ],
    ids=["mark", "named", "refused"],
)
def test_a_script_in_any_encoding_is_the_entry_script(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "score.py").write_bytes(raw)
    (tmp_path / "model.pkl").touch()
    assert look(tmp_path).entry_scripts == ("score.py",)
    (tmp_path / "packager.yaml").write_text('name: a\nversion: "1"\nentry_script: score.py\nenvironment: {pip: []}\n')
    if b"coding" in raw or raw[:1] == b"\xef":
        assert not [each for each in entry_script_findings(load_spec(tmp_path)) if each.severity == "error"]
        return
    with pytest.raises(SpecError, match="not UTF-8 text, and names no other encoding") as refused:
        entry_script_findings(load_spec(tmp_path))
    assert refused.value.where is not None
    assert refused.value.where.line == 1


@pytest.mark.parametrize("body", ['print "hi"', "x = 1\n        y = 2", "match = (", "x = '\0'"])
def test_a_script_with_an_error_in_it_is_the_entry_script(tmp_path: Path, body: str) -> None:
    (tmp_path / "model.pkl").touch()
    (tmp_path / "score.py").write_text(f"def init():\n\t{body}\n\ndef run(data):\n    return 1\n")
    assert look(tmp_path).entry_scripts == ("score.py",)
    (tmp_path / "score.py").write_text(f"def init():\n\t{body}\n")
    assert look(tmp_path).entry_scripts == ()


def test_a_file_of_a_model_folder_that_a_script_loads_by_itself(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for name, text in {
        "MLmodel": "",
        "model.pkl": "",
        "requirements.txt": "six\n",
        "python_env.yaml": "python: 3.10.9\nbuild_dependencies:\n- pip\n",
    }.items():
        (tmp_path / "model" / name).write_text(text)
    (tmp_path / "score.py").write_text(SCRIPT)
    found = look(tmp_path)
    assert (found.models, found.environment, found.python) == (("model",), "model/requirements.txt", "3.10")
    (tmp_path / "model/python_env.yaml").unlink()
    (tmp_path / "model/conda.yaml").write_text("dependencies: [pip, python=3.9.16, {pip: [six]}]\n")
    script = "import os\n\n\ndef init():\n    open(os.path.join(os.getenv('AZUREML_MODEL_DIR'), 'model.pkl'))\n"
    (tmp_path / "score.py").write_text(f"{script}\n\ndef run(data):\n    pass\n")
    found = look(tmp_path)
    assert (found.models, found.python) == (("model/model.pkl",), "3.9")


def test_the_requirements_of_a_service_go_before_those_of_developers(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    for name in ("base", "dev", "prod"):
        (tmp_path / f"requirements/{name}.txt").write_text("six\n")
    (tmp_path / "score.py").write_text(SCRIPT)
    found = look(tmp_path)
    assert found.environment == "requirements/prod.txt"
    assert "requirements/base.txt, requirements/dev.txt: not read by themselves" in found.notes[-1]


def test_ways_that_are_not_taken_are_said(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").touch()
    (tmp_path / "runtime.txt").write_text("python-3.9.18\n")
    (tmp_path / "requirements.txt").write_text("six\n")
    (tmp_path / "app.py").write_text("from flask import Flask\n\napp = Flask(__name__)\n")
    source = ["%%writefile score.py\n", "def init():\n", "    pass\n"]
    cells = [{"cell_type": "markdown", "source": "a"}, {"cell_type": "code", "source": source}]
    (tmp_path / "deploy.ipynb").write_text(json.dumps({"cells": cells}))
    (tmp_path / "odd.ipynb").write_text('{"cells": [1]}')
    found = look(tmp_path)
    assert any("a cell of it writes score.py" in each for each in found.notes)
    assert any("app.py: not taken: it is a Flask application" in each for each in found.notes)
    assert 'python: "3.9"\nenvironment: requirements.txt\n' in starter_spec(found)
    (tmp_path / "requirements.txt").unlink()
    (tmp_path / "runtime.txt").unlink()
    (tmp_path / "score.py").write_text(SCRIPT)
    poetry = '[tool.poetry]\nname = "churn"\nversion = "0.3"\n[tool.poetry.dependencies]\npython = "~3.12"\nsix = "*"\n'
    (tmp_path / "pyproject.toml").write_text(poetry)
    found = look(tmp_path)
    assert (found.name, found.version, found.environment, found.python) == ("churn", "0.3", "pyproject.toml", "3.12")
    (tmp_path / "pyproject.toml").write_text('[tool.poetry.dependencies]\nsix = "^1 || ^2"\n')
    found = look(tmp_path)
    assert found.environment is None
    assert any("alternatives, which no requirement has; `poetry export" in each for each in found.notes)


def test_the_name_of_a_registered_model(tmp_path: Path) -> None:
    script = "from azureml.core.model import Model\ndef init():\n    Model.get_model_path('churn', version=4)\n"
    found = starter(write(tmp_path, **{"score.py": script + "def run(data): ...\n", "m.pkl": "x"})).models
    assert [(each.called, each.version) for each in found] == [("churn", 4)]


@pytest.mark.parametrize("name", ["env.yml", "my-conda.yaml", "config/conda_dependencies.yml", "deploy/any.yml"])
def test_a_conda_file_is_one_by_what_is_in_it(tmp_path: Path, name: str) -> None:
    files = {"score.py": SCRIPT, name: "dependencies:\n- python=3.9\n- pip:\n  - six\n", "ci.yml": "on: push\n"}
    found = starter(write(tmp_path, **files))
    assert (found.environment, found.python) == (name, None)


V1 = """{"entryScript": "score.py", "sourceDirectory": "./src", "environment": {"name": "e",
"environmentVariables": {"EXAMPLE_ENV_VAR": "x", "MODE": "fast", "API_TOKEN": "t", "WORKER_COUNT": "2"},
"docker": {"baseImage": "corp.example.com/base:1"},
"python": {"condaDependencies": {"dependencies": ["python=3.8.13", "pip==20.2.4", {"pip": ["six==1.16.0"]}]}}}}"""
DEPLOYMENT = '{"computeType": "aks", "scoringTimeoutMs": 90000, "numReplicas": 2, "ComputeTarget": "x"}'


def test_files_of_azure_ml_v1(tmp_path: Path) -> None:
    files = {"src/score.py": SCRIPT, "other/score.py": SCRIPT, "inferenceconfig.json": V1}
    folder = write(tmp_path, **files, **{"deploymentconfig.json": DEPLOYMENT})
    spec = starter(folder)
    assert (spec.source_dir, spec.entry_script, spec.python) == ("src", "score.py", "3.8")
    assert spec.keep_source_dir
    assert isinstance(spec.environment, InlineEnvironment)
    assert (spec.environment.conda, spec.environment.pip) == ((), ("six==1.16.0",))
    assert spec.env == {"MODE": "fast"}
    assert (spec.service.auth, spec.server.workers) == ("key", 2)
    assert (spec.service.scoring_timeout, spec.service.replicas) == (90, 2)
    notes = "\n".join(look(folder).notes)
    for passed_over in ("docker.baseImage", "API_TOKEN", "ComputeTarget"):
        assert passed_over in notes
    assert "EXAMPLE_ENV_VAR is not taken over: v1 writes it" in notes


def test_an_inference_configuration_with_a_conda_file(tmp_path: Path) -> None:
    text = "entryScript: app/score.py\nruntime: python\ncondaFile: env/e.yml\nextraDockerfileSteps: steps.txt\n"
    conda = "dependencies: [python=3.12, numpy, {pip: [six]}]\n"
    folder = write(tmp_path, **{"app/score.py": SCRIPT, "my-inference.yml": text, "env/e.yml": conda})
    spec = starter(folder)
    assert (spec.source_dir, spec.entry_script, spec.environment) == (".", "app/score.py", "env/e.yml")
    assert not spec.keep_source_dir
    assert any("extraDockerfileSteps is not taken over" in each for each in look(folder).notes)


@pytest.mark.parametrize(
    "call",
    [
        *("open('./app/extra.json')", "open('app/extra.json')", "json.load(open('app/sub/../extra.json'))"),
        *("open(os.path.join('.', 'app', 'extra.json'))", "(Path('app') / 'extra.json').read_text()"),
        *("open(Path('app') / 'extra.json')", "os.listdir('./app')"),
    ],
)
@pytest.mark.parametrize("above", ["", "code/"])
def test_a_source_directory_that_scripts_name_keeps_its_name(tmp_path: Path, call: str, above: str) -> None:
    files = {f"{above}app/score.py": SCRIPT, f"{above}app/helper.py": call, f"{above}app/extra.json": "{}"}
    folder = write(tmp_path, **files)
    found = look(folder)
    assert found.named_folders == (f"{above}app",)
    spec = starter(folder)
    # What is deeper is packaged as it lies, below the folder of the spec.
    assert (spec.source_dir, spec.keep_source_dir) == (("code", False) if above else ("app", True))


@pytest.mark.parametrize(
    "call",
    [
        *("open('extra.json')", "open('app/extra.json', 'w')", "open('app/gone.json')", "open('other/extra.json')"),
        *("open(os.path.join(HERE, 'app', 'extra.json'))", "print('app/extra.json')", "open('app/twice.json')"),
        *("open('/app/extra.json')", "def broken(:"),
    ],
)
def test_a_source_directory_that_nobody_names_does_not(tmp_path: Path, call: str) -> None:
    files = {"app/score.py": SCRIPT, "app/helper.py": call, "app/extra.json": "{}"}
    files |= {"app/twice.json": "{}", "app/app/twice.json": "{}", "other/extra.json": "{}"}
    assert not starter(write(tmp_path, **files)).keep_source_dir


def test_the_folder_of_models_cannot_keep_its_name(tmp_path: Path) -> None:
    folder = write(
        tmp_path, **{"azureml-models/score.py": SCRIPT, "inferenceconfig.json": V1.replace("src", "azureml-models")}
    )
    assert not starter(folder).keep_source_dir


def test_a_deployment_of_azure_ml_v2(tmp_path: Path) -> None:
    text = """
$schema: https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json
name: blue
model: {path: ../model/}
code_configuration: {code: ../src, scoring_script: handle.py}
environment: {conda_file: conda.yaml, image: "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04:latest"}
environment_variables: {MODE: fast, DEBUG: true}
request_settings: {request_timeout_ms: 3000}
instance_type: Standard_DS3_v2
"""
    files = {"deploy/blue.yml": text, "deploy/conda.yaml": "dependencies: [python=3.11, numpy]\n"}
    files |= {"src/handle.py": SCRIPT, "src/score.py": SCRIPT, "model/weights.xyz": "x"}
    folder = write(tmp_path, **files)
    spec = starter(folder)
    assert (spec.source_dir, spec.entry_script, spec.environment) == ("src", "handle.py", "deploy/conda.yaml")
    assert [each.path for each in spec.models] == ["model"]
    assert (spec.env, spec.service.scoring_timeout) == ({"MODE": "fast", "DEBUG": "true"}, 3)
    assert any("instance_type" in each for each in look(folder).notes)
    (folder / "deploy/blue.yml").write_text(text.replace("{path: ../model/}", "azureml:churn:3"))
    assert 'registered: "churn:3"' in starter_spec(look(folder))


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("inferenceconfig.json", '{"entryScript": "score.py",}', "inferenceconfig.json:1:2"),
        ("deploymentconfig.json", "{\n  computeType: aks\n}", "deploymentconfig.json:2:3"),
        ("deployment.yml", "a: [\n", "deployment.yml:"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, name: str, text: str, place: str) -> None:
    (note,) = look(write(tmp_path, **{"score.py": SCRIPT, name: text})).notes
    assert note.startswith(place)
    assert "not read" in note


def test_a_dockerfile_is_a_hint(tmp_path: Path) -> None:
    text = """\
FROM docker.io/library/python:3.10-slim
RUN apt-get update && apt-get install -y --no-install-recommends \\
    libgomp1 \\
    # a comment
    ffmpeg=7:5.1.6-0+deb12u1 && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir --index-url https://x/simple numpy==1.26.4 "scikit-learn>=1.3" ./own.whl
COPY . /app
CMD ["python", "app.py"]
"""
    folder = write(tmp_path, **{"score.py": SCRIPT, "Dockerfile": text})
    spec = starter(folder)
    assert spec.python == "3.10"
    assert spec.system_packages == ("libgomp1", "ffmpeg=7:5.1.6-0+deb12u1")
    assert isinstance(spec.environment, InlineEnvironment)
    assert spec.environment.pip == ("numpy==1.26.4", "scikit-learn>=1.3")
    assert "how the service starts is packager's" in look(folder).notes[0]
    write(folder, **{"Dockerfile": "RUN pip install -r /tmp/reqs-prod.txt\n", "reqs-prod.txt": "six\n"})
    assert starter(folder).environment == "reqs-prod.txt"


def test_sample_requests_are_tests(tmp_path: Path) -> None:
    files = {"score.py": SCRIPT, "sample_request.json": '{"data": [[1]]}', "examples/payload.json": "[1]"}
    files |= {"sample_response.json": "1", "request.schema.json": "{}", "sample-broken.json": "{", "package.json": "{}"}
    found = starter(write(tmp_path, **files))
    assert [each.file for each in found.test] == ["sample_request.json", "examples/payload.json"]


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    found = look(write(tmp_path, **{"score.py": SCRIPT, "Pipfile": "", "setup.py": ""}))
    assert [each.partition(":")[0] for each in found.notes] == ["Pipfile", "setup.py"]


@pytest.mark.parametrize("name", ["uv.lock", "poetry.lock", "pdm.lock"])
def test_the_lock_of_another_tool_alone_is_told(tmp_path: Path, name: str) -> None:
    (note,) = look(write(tmp_path, **{"score.py": SCRIPT, name: ""})).notes
    assert note.startswith(f"{name}: not read")
    assert "-o requirements.txt" in note
    found = look(write(tmp_path, **{"env.yml": "dependencies: [python=3.12]\n", "requirements.txt": "six\n"}))
    assert found.notes == (
        "requirements.txt: not read, as env.yml is the environment; `environment:` names one of them",
    )


# --- what a folder tells besides --------------------------------------------------------------------------------------


class Pickled:
    """Writes pickles of classes that are not installed here."""

    def __init__(self, *names: str, version: str = "") -> None:
        self._names, self._version = names, version

    @property
    def data(self) -> bytes:
        parts = b"".join(f"c{name.replace(':', chr(10))}\n".encode() for name in self._names)
        value = f"V_sklearn_version\nV{self._version}\n".encode() if self._version else b""
        return b"\x80\x02(" + parts + b"(" + value + b"dt."


def test_what_a_pickle_needs_is_in_the_environment(tmp_path: Path) -> None:
    """The script of most people imports joblib, and not what the model is of."""
    folder = write(tmp_path, **{"score.py": SCRIPT.replace("from sklearn import linear_model", "import joblib")})
    (folder / "m.joblib").write_bytes(
        Pickled("sklearn.svm:SVC", "numpy:dtype", "helper:Mine", "xgboost.core:Booster", version="1.2.2").data
    )
    (folder / "helper.py").touch()
    found = look(folder)
    assert [(each.requirement, each.file) for each in found.needed] == [
        ("scikit-learn==1.2.2", "m.joblib"),
        ("xgboost", "m.joblib"),
    ]
    # The newest Python that has wheels of it.
    assert found.python == "3.11"
    environment = starter(folder).environment
    assert isinstance(environment, InlineEnvironment)
    assert environment.pip == ("joblib", "numpy", "scikit-learn==1.2.2", "xgboost")
    (folder / "requirements.txt").write_text("scikit-learn\n")
    assert (look(folder).needed, starter(folder).environment) == ((), "requirements.txt")


def test_a_copy_of_a_spec_is_no_file_of_azure_ml(tmp_path: Path) -> None:
    folder = write(tmp_path, **{"score.py": SCRIPT, "helper.py": ""})
    before = starter_spec(look(folder))
    (folder / "good.yaml").write_text(before)
    found = look(folder)
    assert starter_spec(found) == before
    assert (found.hints.read, found.notes) == ([], ("good.yaml is not read: it is a spec of packager",))
    with pytest.raises(SpecError, match="is a spec of packager already"):
        look(folder, named=["good.yaml"])


def test_scripts_that_are_not_taken_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path, **{"score.py": SCRIPT.replace("def run(", "def runn("), "helper.py": ""})
    with pytest.raises(SpecError, match=r"score\.py has init\(\) and no run\(\)"):
        look(folder)
    (folder / "m.onnx").write_bytes(b"x")
    found = look(folder)
    note = "score.py has init() and no run(), so that it is no entry script"
    assert (found.framework, found.notes) == ("onnx", (note,))
    write(folder, **{"score.py": SCRIPT, "score2.py": SCRIPT})
    assert look(folder).notes == ("score2.py defines init() and run(), too: `entry_script:` names one of them",)
