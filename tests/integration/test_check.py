"""`packager check` with the real lock of an example, and real wheels."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.integration.conftest import RunPackager

EXAMPLE = Path(__file__).parents[2] / "examples" / "diabetes"

FAULTY = """\
import os
import utils
import pandas
from azureml.core.model import Model
from sklearn.externals import joblib
from sklearn import linear_modle
import helper
from lib import tool


def init():
    global model
    model = joblib.load(os.path.join(os.getenv("AZUREML_MODEL_DIR"), "model.pkl"))
    Model.get_model_path("diabetes")


def run(data):
    return [float(each) for each in model.predict(data)]
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "diabetes"
    shutil.copytree(EXAMPLE, folder)
    return folder


def found(text: str) -> dict[tuple[str, str, str, int | None], str]:
    return {
        (each["rule"], each["severity"], each["file"], each["line"]): f"{each['message']} ({each['remedy']})"
        for each in json.loads(text)
    }


@pytest.mark.usefixtures("index")
def test_an_example_has_no_findings(package: Path, run_packager: RunPackager) -> None:
    assert run_packager("check", "--fail-on", "info", cwd=package).stdout == ""


@pytest.mark.usefixtures("index")
def test_each_fault_is_found_with_its_line(package: Path, run_packager: RunPackager) -> None:
    (package / "src" / "score.py").write_text(FAULTY)
    (package / "src" / "utils.py").write_text("")
    (package / "src" / "lib").mkdir()
    (package / "src" / "lib" / "tool.py").write_text(
        "import cv2\nfrom . import other\n\nimport numpy as np\n\nx = np.int\n"
    )
    (package / "src" / "lib" / "helper.py").write_text("")
    model = package / "models" / "sklearn_regression_model.pkl"
    data = model.read_bytes()
    assert data.count(b"1.9.1") == 1
    model.write_bytes(data.replace(b"1.9.1", b"1.3.1"))
    done = run_packager("check", "--format", "json", cwd=package, check=False)
    assert done.returncode == 5, done.stderr
    findings = found(done.stdout)
    script, tool = "src/score.py", "src/lib/tool.py"
    assert findings.keys() == {
        ("import-hidden", "error", script, 2),
        ("import-missing", "error", script, 3),
        ("import-missing", "error", script, 4),
        ("api-removed", "error", script, 5),
        ("import-name-missing", "error", script, 6),
        ("import-missing", "error", script, 7),
        ("import-missing", "error", tool, 1),
        ("import-missing", "error", tool, 2),
        ("api-removed", "error", tool, 6),
        ("model-path-missing", "warning", script, 13),
        ("model-path-without-azureml-core", "error", script, 14),
        ("model-unknown", "warning", script, 14),
        ("model-sklearn-version", "warning", "models/sklearn_regression_model.pkl", None),
    }
    assert "add pandas to requirements.txt" in findings["import-missing", "error", script, 3]
    assert "opencv-python-headless" in findings["import-missing", "error", tool, 1]
    assert "there is sklearn_regression_model.pkl" in findings["model-path-missing", "warning", script, 13]


def test_offline_it_says_what_it_could_not_check(package: Path, run_packager: RunPackager, tmp_path: Path) -> None:
    script = package / "src" / "score.py"
    script.write_text(script.read_text() + "\nimport cv2\n")
    caches = {"UV_CACHE_DIR": str(tmp_path / "empty"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = run_packager("check", "--offline", "--format", "json", cwd=package, env=caches)
    messages = {(rule, severity, file): message for (rule, severity, file, _), message in found(done.stdout).items()}
    assert messages.keys() == {
        ("imports-unchecked", "info", "src/score.py"),
        ("import-missing", "warning", "src/score.py"),
    }
    assert messages["imports-unchecked", "info", "src/score.py"].startswith("could not check the import of cv2: ")


def test_what_a_pickle_needs_is_looked_up_before_the_first_build(
    package: Path, run_packager: RunPackager, tmp_path: Path
) -> None:
    """With empty caches, as every first use has: a model whose packages are not locked is an error already then."""
    model = package / "models" / "sklearn_regression_model.pkl"
    model.write_bytes(model.read_bytes().replace(b"sklearn.linear_model", b"xgboost.linear_model"))
    caches = {"UV_CACHE_DIR": str(tmp_path / "empty"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    shown = "models/sklearn_regression_model.pkl"
    done = run_packager("check", "--offline", "--format", "json", cwd=package, env=caches)
    assert {each[:3] for each in found(done.stdout)} == {
        ("imports-unchecked", "info", shown),
        ("model-module-missing", "warning", shown),
    }
    done = run_packager("check", "--format", "json", cwd=package, env=caches, check=False)
    assert done.returncode == 5, done.stderr
    assert ("model-module-missing", "error", shown, None) in found(done.stdout)


@pytest.mark.usefixtures("index")
def test_the_inference_server_goes_before_the_app_on_the_path(tmp_path: Path) -> None:
    """What `import-hidden` stands on: the server's own folder is on sys.path, before that of the app."""
    environment = tmp_path / "env"
    subprocess.run([find_uv_bin(), "venv", "--quiet", "--python", sys.executable, environment], check=True)
    python = environment / "bin" / "python"
    server = next(
        line.split()[0]
        for line in (EXAMPLE / "locks" / "cpu.requirements.txt").read_text().splitlines()
        if line.startswith("azureml-inference-server-http==")
    )
    subprocess.run([find_uv_bin(), "pip", "install", "--quiet", "--python", python, server], check=True)
    (tmp_path / "utils.py").write_text("")
    code = f"import sys, azureml_inference_server_http\nsys.path.append({str(tmp_path)!r})\n"
    code += "import utils; print(utils.__file__)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("azureml_inference_server_http/server/utils.py")
