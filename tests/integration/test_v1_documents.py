"""What documents of Azure ML v1 say, run as it stands there: their code is taken out of them, and not retyped.

The documents are not of this project: they lie in `shared/seeds` beside it, or nothing of this is run. What is written
between their blocks is what a document leaves to its reader: names that it does not define, and files that it has not.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.integration.conftest import Engine, output
from tests.integration.v1_interpreter import ROOT, interpreter

DOCUMENTS = ROOT.parent / "shared/seeds"

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not DOCUMENTS.is_dir(), reason="the documents are not beside this project"),
]

#: Of what the documents have no file: a classifier that knows one digit, a regression is made by a block of theirs.
PREPARE = """
import numpy, pickle
from sklearn.dummy import DummyClassifier
model = DummyClassifier(strategy="constant", constant=2).fit(numpy.zeros((2, 784)), [2, 1])
for path in ("sklearn_mnist_model.pkl", "outputs/sklearn_mnist_model.pkl"):
    with open(path, "wb") as file:
        pickle.dump(model, file)
"""
START = """
from azureml.core import Environment, Workspace
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.model import InferenceConfig, Model
from azureml.core.webservice import LocalWebservice
ws = workspace = Workspace.from_config()
def environment(name):
    made = Environment(name)
    packages = ["azureml-defaults", "scikit-learn=={sklearn}", "joblib"]
    made.python.conda_dependencies = CondaDependencies.create(python_version="3.13", pip_packages=packages)
    return made
"""
RUN = """
def run(raw_data):
    return model.predict(np.array(json.loads(raw_data)["data"])).tolist()
"""


def block(document: str, heading: str, number: int = 0, language: str = "python") -> str:
    """Return a block of code below a heading, by the anchor that it has in its document; as it stands there."""
    (path,) = DOCUMENTS.glob(f"{document}_*.txt")
    found, below, lines = [], "", list[str]()
    fence: str | None = None
    for line in path.read_text("utf-8").splitlines():
        mark = re.match(r"\s*```\s*(\S*)", line)
        if fence is None:
            if anchor := re.match(r'#+ <a name="([^"]+)"', line):
                below = anchor[1]
            if mark:
                fence, lines = mark[1], []
        elif mark:
            if (below, fence) == (heading, language):
                found.append(textwrap.dedent("\n".join(lines)))
            fence = None
        else:
            lines.append(line)
    return found[number]


@pytest.fixture(scope="module")
def python(index: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter of a user's: with scikit-learn and requests, and packager."""
    return interpreter(tmp_path_factory.mktemp("documents") / "venv", "scikit-learn==1.7.2", "joblib")


class Reader:
    """Somebody who does what the documents say, in a folder with a workspace, a model and its environment."""

    def __init__(self, folder: Path, python: Path, environ: dict[str, str]) -> None:
        self.folder, self._python, self._environ = folder, python, environ

    def script(self, *parts: str, edited: bool = False) -> str:
        """Run blocks, and what is between them, as one script; by our program, or with one edit by Python alone."""
        text = START.replace("{sklearn}", "1.7.2") + "\n".join(parts)
        if edited:
            text = re.sub(r"\bazureml\.(core|exceptions)\b", r"packager.azureml.\1", text)
        (self.folder / "script.py").write_text(text)
        return self._run([str(self._python), *([] if edited else ["-m", "packager.azureml"]), "script.py"])

    def command(self, text: str) -> str:
        """Run a command of theirs: `az ml` is called `packager` here."""
        words = shlex.split(text)
        assert words[:2] == ["az", "ml"]
        return self._run([str(self._python), "-m", "packager", *words[2:]])

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self._environ, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def reader(engine: Engine, python: Path, base_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder, homes = tmp_path_factory.mktemp("reader"), tmp_path_factory.mktemp("homes")
    for name in ("outputs", ".azureml", ".file-path", "mnist"):
        (folder / name).mkdir()
    config = '{"subscription_id": "s", "resource_group": "g", "workspace_name": "documents"}'
    (folder / ".azureml/config.json").write_text(config)
    (folder / ".file-path/ws_config.json").write_text(config)
    shutil.copy(ROOT / "examples/onnx-no-code/models/iris.onnx", folder / "mnist/model.onnx")
    subprocess.run([str(python), "-c", PREPARE], cwd=folder, check=True, capture_output=True)
    environ = {
        **os.environ,
        "XDG_CACHE_HOME": str(homes / "cache"),
        "XDG_DATA_HOME": str(homes / "data"),
        "XDG_STATE_HOME": str(homes / "state"),
        "UV_CACHE_DIR": output(find_uv_bin(), "cache", "dir") or str(homes / "uv"),
        "PACKAGER_BASE": base_image,
        "PYTHONUNBUFFERED": "1",
    }
    environ.pop("PACKAGER_WORKSPACE", None)
    before = set((output("docker", "container", "ls", "--all", "--quiet") or "").split())
    yield Reader(folder, python, environ)
    names = ("sklearn-mnist-local", "myservice", "aci-mnist", "mycontainer")
    for name in names:
        found = (output("docker", "container", "ls", "--all", "--filter", f"name={name}", "--quiet") or "").split()
        if left := set(found) - before:
            subprocess.run(["docker", "rm", "--force", *left], capture_output=True, check=False)


def write_script(path: Path, init: str) -> None:
    """Write an entry script with an init() of theirs, and what they leave out around it."""
    path.write_text(
        f"import json, os, joblib\nimport numpy as np\nfrom azureml.core.model import Model\n\n{init}\n{RUN}"
    )


def test_a_local_service_and_the_model_here(reader: Reader) -> None:
    """Document 000: «run and deploy locally»."""
    (reader.folder / "score.py").write_text(block("000", "prepare-your-entry-script"))
    said = reader.script(
        'Model.register(ws, "sklearn_mnist_model.pkl", "sklearn_mnist")\nenvironment("tutorial-env").register(ws)',
        # Its import of LocalWebservice is missing there.
        block("000", "deploy-as-a-local-web-service-by-using-docker"),
        block("000", "test-your-local-deployment"),
        block("000", "download-and-run-your-model-directly", 0),
        "print(type(logistic_model).__name__)",
        block("000", "download-and-run-your-model-directly", 1),
        block("000", "upload-a-retrained-model-to-azure-machine-learning", 0),
        block("000", "upload-a-retrained-model-to-azure-machine-learning", 1),
        "print(model.id, model.tags)\nlocal_service.delete()",
    )
    assert "Scoring URI is : http://localhost:6789/score\n" in said
    assert "Should be predicted as '2'\nprediction: [2]\n" in said
    assert "DummyClassifier\n" in said
    assert "sklearn_regression_model:1 {'area': 'diabetes', 'type': 'regression'}" in said


def test_a_run_registers_and_a_curated_environment_serves(reader: Reader) -> None:
    """Document 001: «how to deploy machine learning models»."""
    init = "def init():\n    global model\n    model = joblib.load(Model.get_model_path('sklearn_mnist'))"
    write_script(reader.folder / "path-to-score.py", init)
    said = reader.script(
        block("001", "python", 0),
        'from azureml.core import Run\nrun = Run.get_context()\nenv_name = "mine"',
        block("001", "register-a-model-from-an-azure-ml-training-run", 0),
        block("001", "python", 1),
        block("001", "python", 2),
        block("001", "python", 3),
        block("002", "request-response-consumption"),
        "service.delete()",
        'Model.register(ws, "sklearn_mnist_model.pkl", "mymodel")\nimport os\nos.chdir("mnist")',
        block("002", "download-a-model"),
        "print(model_path)",
    )
    assert re.search(r"^sklearn_mnist\tsklearn_mnist:\d+\t\d+$", said, re.M)
    assert "\nrunning\n" in said
    assert re.search(r"^\{'Content-Type': 'application/json'\}\n200\n[0-9:.]+\n\[2, 2\]$", said, re.M)
    assert said.endswith(("/sklearn_mnist_model.pkl\n", "\nsklearn_mnist_model.pkl\n"))
    for heading in ("register-a-model-from-an-azure-ml-training-run", "register-a-model-from-a-local-file"):
        reader.command(block("001", heading, language="azurecli-interactive"))
    reader.command(block("002", "download-a-model", language="azurecli-interactive"))
    assert (reader.folder / "model_folder/sklearn_mnist_model.pkl").is_file()
    assert "onnx_mnist" in reader.command("az ml model list")


def test_the_image_api(reader: Reader) -> None:
    """Document 003: «deploy web services to Azure Container Instances»."""
    (reader.folder / "myenv.yml").write_text(
        "dependencies:\n- python=3.13\n- pip:\n  - azureml-defaults\n  - scikit-learn==1.7.2\n  - joblib\n"
    )
    (reader.folder / "utils.py").write_text("")
    ask = "import json\nprint(service.run(input_data=json.dumps({'data': [[0.0] * 784]})))"
    by_name = "open('score.py', 'a').write('\\ndef init():\\n    global model\\n'\n"
    by_name += "    '    model = joblib.load(Model.get_model_path(\"sklearn_mnist\"))\\n')"
    for edited in (False, True):
        write_script(reader.folder / "score.py", block("003", "option-1-deploy-from-model-file", 0))
        said = reader.script(
            block("003", "prerequisites"),
            block("003", "configure-an-image"),
            block("003", "configure-the-aci-container"),
            block("003", "register-a-model-file"),
            block("003", "retrieve-a-registered-model"),
            block("003", "option-1-deploy-from-model-file", 1),
            ask,
            block("003", "clean-up-resources"),
            by_name,
            block("003", "option-2-deploy-from-registered-model"),
            ask,
            block("003", "clean-up-resources"),
            block("003", "option-3-deploy-from-image", 0),
            block("003", "option-3-deploy-from-image", 1),
            ask,
            block("003", "clean-up-resources"),
            edited=edited,
        )
        assert said.count("Healthy\n") == 3, said
        assert said.count("[2]\n") == 3, said


def test_packages(reader: Reader) -> None:
    """Document 004: «how to package a registered model with Docker»; its context is built in `test_azureml.py`."""
    (reader.folder / "score.py").write_text(block("000", "prepare-your-entry-script"))
    said = reader.script(
        'inference_config = InferenceConfig(entry_script="score.py", environment=environment("packaged"))',
        'model = Model.register(ws, "sklearn_mnist_model.pkl", "sklearn_mnist")',
        block("004", "download-a-packaged-model"),
        'package.pull()\nprint("made:", package.location)',
        block("004", "generate-a-dockerfile-and-dependencies"),
    )
    image = re.findall(r"^made: (\S+)$", said, re.M)[0]
    assert "Address:" in said
    assert {"Dockerfile", "HANDOFF.md"} <= {each.name for each in (reader.folder / "imagefiles").iterdir()}
    # What stands for itself there, for whoever reads it to fill in.
    words = shlex.split(block("004", "download-a-packaged-model", language="bash").replace("<imageid>", image))
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        try:
            end = time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen("http://localhost:6789/", timeout=5).close()
                    break
                except OSError:
                    assert time.monotonic() < end
                    time.sleep(0.2)
            assert reader.script(block("004", "example-client-to-test-the-local-container")) == "[2, 2]\n"
        finally:
            subprocess.run(shlex.split(block("004", "stop-the-docker-container", language="bash")), check=True)
