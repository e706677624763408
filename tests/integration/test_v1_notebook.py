"""A notebook in the manner of Azure ML v1, with one cell more, run by nbclient in a kernel of its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.v1_interpreter import interpreter

pytestmark = pytest.mark.network

CELLS = (
    "import packager.azureml\npackager.azureml.install()",
    "import azureml.core\n"
    "from azureml.core import Environment, Experiment, Run, Workspace\n"
    "from azureml.core.model import InferenceConfig, Model\n"
    "from azureml.core.webservice import AciWebservice, Webservice\n"
    'print("SDK version:", azureml.core.VERSION)',
    'ws = Workspace.create(name="notebook", subscription_id="s", resource_group="g", exist_ok=True)\n'
    'print(ws.name, ws.resource_group, ws.location, ws.subscription_id, sep="\\n")',
    'model = Model.register(model_path="weights.txt", model_name="weights",\n'
    '                       tags={"area": "notebook", "type": "test"}, description="of a cell", workspace=ws)\n'
    "print(model.name, model.description, model.version)",
    'for each in Model.list(ws, tags=["area", ["type", "test"]]):\n    print(each.id, each.tags["type"])',
    "from azureml.core.conda_dependencies import CondaDependencies\n"
    'myenv = CondaDependencies.create(conda_packages=["numpy", "scikit-learn"], pip_packages=["azureml-defaults"])\n'
    'with open("myenv.yml", "w") as f:\n    f.write(myenv.serialize_to_string())\n'
    'env = Environment.from_conda_specification(name="env", file_path="myenv.yml").register(workspace=ws)\n'
    "print(env.name, env.version)",
    'config = InferenceConfig(entry_script="score.py", environment=Environment.get(ws, "env"))\n'
    'aciconfig = AciWebservice.deploy_configuration(cpu_cores=1, memory_gb=1, tags={"area": "notebook"})\n'
    "print(config.entry_script, aciconfig.cpu_cores)",
    "from azureml.exceptions import WebserviceException\n"
    'try:\n    Webservice(ws, "none")\nexcept WebserviceException as error:\n    print(error.message)',
    'model.delete()\nprint(len(Model.list(ws)), Run.get_context().id[:11], Experiment(ws, "e").name)',
)
SCRIPT = """
import json, sys
import nbclient, nbformat

cells = [nbformat.v4.new_code_cell(each) for each in json.load(sys.stdin)]
notebook = nbformat.v4.new_notebook(cells=cells)
nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
print(json.dumps(["".join(out.text for out in cell.outputs if out.get("name") == "stdout") for cell in notebook.cells]))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with nbclient and a kernel, which finds what this one has."""
    return interpreter(tmp_path_factory.mktemp("notebook") / "venv", "nbclient", "ipykernel")


def test_a_notebook_runs_with_one_cell_more(python: Path, tmp_path: Path) -> None:
    (tmp_path / "weights.txt").write_text("1\n")
    (tmp_path / "score.py").write_text("def init(): ...\ndef run(data): ...\n")
    environ = {**os.environ, "IPYTHONDIR": str(tmp_path / "ipython"), "JUPYTER_DATA_DIR": str(tmp_path / "jupyter")}
    for name in ("DATA", "CACHE", "CONFIG"):
        environ[f"XDG_{name}_HOME"] = str(tmp_path / name.lower())
    done = subprocess.run(
        [python, "-c", SCRIPT],
        cwd=tmp_path,
        env=environ,
        input=json.dumps(CELLS),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [
        "",
        "SDK version: 1.61.0\n",
        "notebook\ng\nlocal\ns\n",
        "Registering model weights\nweights of a cell 1\n",
        "weights:1 test\n",
        "env 1\n",
        "score.py 1\n",
        "WebserviceNotFound: Webservice with name none not found in provided workspace\n",
        "0 OfflineRun_ e\n",
    ]
