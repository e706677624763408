"""Azure ML v1's commands through the engine: deployed, replaced, packaged; and a reload without another image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.integration.conftest import Engine, RunPackager, output

NAME = "azureml-test-commands"
SCORE = """
import os
import helper

def init():
    global weights
    with open(os.path.join(os.environ["AZUREML_MODEL_DIR"], "weights.txt")) as file:
        weights = file.read()

def run(data):
    return {"helper": helper.ANSWER, "weights": weights}
"""
INFERENCE = {
    "entryScript": "score.py",
    "sourceDirectory": "app",
    "environment": {"python": {"condaDependencies": {"dependencies": ["python=3.13", {"pip": ["azureml-defaults"]}]}}},
}
DEPLOYMENT = {"computeType": "aci", "containerResourceRequirements": {"cpu": 1, "memoryInGB": 0.5}, "authEnabled": True}
RELOAD = f"""
from pathlib import Path
from azureml.core import Workspace
from azureml.core.environment import Environment
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.model import InferenceConfig, Model
from azureml.core.webservice import LocalWebservice
from azureml.exceptions import WebserviceException

ws = Workspace.from_config()
env = Environment("env")
env.python.conda_dependencies = CondaDependencies.create(pip_packages=["azureml-defaults"], python_version="3.13")
config = InferenceConfig(entry_script="score.py", source_directory="app", environment=env)
models, local = [Model(ws, "weights")], LocalWebservice.deploy_configuration()
service = Model.deploy(ws, "{NAME}", models, config, local, overwrite=True)
Path("app/helper.py").write_text("from extra import ANSWER\\n")
Path("app/extra.py").write_text("ANSWER = 3\\n")
service.reload()
print(service.run("[]")["helper"], service.image_id)
Path("app/helper.py").write_text("raise RuntimeError('mend me')\\n")
try:
    service.reload()
except WebserviceException as error:
    print("mend me" in error.message)
service.delete()
"""


@pytest.fixture
def folder(engine: Engine, tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/score.py").write_text(SCORE)
    (tmp_path / "app/helper.py").write_text("ANSWER = 1\n")
    (tmp_path / "weights.txt").write_text("one")
    (tmp_path / "inferenceconfig.json").write_text(json.dumps(INFERENCE))
    (tmp_path / "deploymentconfig.json").write_text(json.dumps(DEPLOYMENT))
    yield tmp_path
    names = output("docker", "container", "ls", "--all", "--filter", f"name=packager_{NAME}", "--quiet") or ""
    networks = output("docker", "network", "ls", "--filter", f"name=packager_{NAME}", "--quiet") or ""
    images = output("docker", "image", "ls", "--quiet", "--filter", f"reference={NAME}*") or ""
    for kind, found in (("container", names), ("network", networks), ("image", images)):
        if found:
            subprocess.run(["docker", kind, "rm", "--force", *found.split()], capture_output=True, check=False)


def environ(folder: Path, base_image: str) -> dict[str, str]:
    """Variables of packager that keep it to the folder."""
    homes = {name: str(folder / name.lower()) for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME")}
    cache = output(find_uv_bin(), "cache", "dir") or str(folder / "uv")
    return {**homes, "UV_CACHE_DIR": cache, "PACKAGER_BASE": base_image, "PACKAGER_WORKSPACE": ""}


@pytest.mark.engine
def test_files_of_v1_are_deployed_replaced_packaged_and_reloaded(
    run_packager: RunPackager, index: None, base_image: str, folder: Path
) -> None:
    env = environ(folder, base_image)

    def packager(*words: str, check: bool = True) -> str:
        return run_packager(*words, cwd=folder, env=env, check=check).stdout

    files = ("-m", "weights:1", "--ic", "inferenceconfig.json")
    deploy = ("model", "deploy", "-n", NAME, *files, "--dc", "deploymentconfig.json")
    packager("model", "register", "-n", "weights", "-p", "weights.txt")
    data = json.loads(packager(*deploy, "--format", "json"))
    assert (data["state"], data["compute"], data["auth"], data["memory"]) == ("Healthy", "ACI", "key", 512 << 20)
    assert json.loads(packager("service", "run", "-n", NAME, "-d", "[]")) == {"helper": 1, "weights": "one"}
    again = run_packager(*deploy, cwd=folder, env=env, check=False)
    assert (again.returncode, f"there is a service '{NAME}' already" in again.stderr) == (2, True)
    (folder / "app/helper.py").write_text("ANSWER = 2\n")
    url = packager(*deploy, "--overwrite").strip()
    assert url == data["urls"]["score"], "the port stays"
    assert json.loads(packager("service", "run", "-n", NAME, "-d", "[]"))["helper"] == 2
    packager("model", "package", *files, "--output-path", "context")
    assert (folder / "context/Dockerfile").is_file()
    packager("service", "delete", NAME)

    (folder / "script.py").write_text(RELOAD)
    done = subprocess.run(
        [sys.executable, "-m", "packager.azureml", "script.py"],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-2:] == [f"3 {NAME}:3", "True"]


@pytest.mark.engine
@pytest.mark.long
def test_models_are_profiled_with_files_of_v1_under_their_limits(
    run_packager: RunPackager, index: None, base_image: str, folder: Path
) -> None:
    env = environ(folder, base_image)
    run_packager("model", "register", "-n", "weights", "-p", "weights.txt", cwd=folder, env=env)
    (folder / "request.json").write_text("[]")
    files = ("-m", "weights:1", "--ic", "inferenceconfig.json", "--dc", "deploymentconfig.json")
    words = ("model", "profile", "-n", NAME, *files, "--data", "request.json", "--duration", "0.3", "--requests", "10")
    found = json.loads(run_packager(*words, "--format", "json", cwd=folder, env=env).stdout)
    first = found["details"]
    # Of --dc, with the keys that it asks for.
    assert (first["requestedCpu"], first["requestedMemoryInGB"], first["successRate"]) == (1, 0.5, 100)
    assert (found["name"], found["image"]) == (NAME, f"{NAME}:profile")
