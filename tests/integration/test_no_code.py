"""Models without code, in containers: what is made of the framework alone answers every form of request.

An ONNX graph is `examples/onnx-no-code`, which test_examples.py builds and asks.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.conftest import PORT, RunPackager
from tests.integration.serving_package import remove_image

pytestmark = [pytest.mark.engine, pytest.mark.network]

ROW = [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8598, 87]

# An MLflow model needs no framework of machine learning: `loader_module` is any module of its `code` folder.
MLMODEL = """\
flavors:
  python_function:
    loader_module: weighted
    data: weights.json
    code: code
    env: {virtualenv: python_env.yaml}
    python_version: 3.13.1
signature:
  inputs: '[{"type": "double", "name": "a", "required": true}, {"type": "long", "name": "b", "required": true}]'
  outputs: '[{"type": "double", "name": "sum", "required": true}]'
"""
LOADER = """\
import json


class Weighted:
    def __init__(self, weights):
        self.weights = weights

    def predict(self, table):
        return table[["a", "b"]] @ self.weights


def _load_pyfunc(path):
    with open(path) as stream:
        return Weighted(json.load(stream))
"""


class Served:
    """A service in a container."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, body: Any, path: str = "/score") -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"}
        answer = requests.post(self.url.removesuffix("/score") + path, data, headers=kind, timeout=60)
        return answer.status_code, json.loads(answer.text, parse_constant=pytest.fail)

    def swagger(self) -> Any:
        answer = requests.get(self.url.replace("/score", "/swagger.json?version=3"), timeout=60)
        assert answer.status_code == 200
        return answer.json()["components"]["schemas"]["ServiceInput"]

    def refuses(self, body: Any) -> str:
        status, answer = self.ask(body)
        assert (status, list(answer)) == (400, ["message"])
        assert "Traceback" not in answer["message"]
        return str(answer["message"])


def serve(run: RunPackager, folder: Path, base: str) -> Iterator[Served]:
    name = f"packager-test-nocode-{secrets.token_hex(4)}"
    run("lock", cwd=folder)
    done = run("check", cwd=folder)
    assert "error" not in done.stdout, done.stdout
    run("build", "--base", base, "--load", "-t", f"{name}:1", cwd=folder)
    try:
        done = run("run", f"{name}:1", "-q", "-p", f"0:{PORT}", "--detach", "--name", name, cwd=folder)
        yield Served(done.stdout.strip())
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
        remove_image(f"{name}:1")


@pytest.fixture(scope="module")
def sklearn(
    run_packager: RunPackager, base_image: str, checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("sklearn")
    shutil.copy(checkout / "examples/diabetes/models/sklearn_regression_model.pkl", folder / "model.pkl")
    spec = 'name: diabetes\nversion: "1"\nmodels: [{path: model.pkl, framework: ScikitLearn}]\n'
    (folder / "packager.yaml").write_text(spec)
    yield from serve(run_packager, folder, base_image)


@pytest.fixture(scope="module")
def mlflow(run_packager: RunPackager, base_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("mlflow")
    (folder / "model/code").mkdir(parents=True)
    (folder / "model/MLmodel").write_text(MLMODEL)
    (folder / "model/weights.json").write_text("[2.0, 10.0]")
    (folder / "model/code/weighted.py").write_text(LOADER)
    (folder / "model/requirements.txt").write_text("pandas\n")
    (folder / "model/python_env.yaml").write_text("python: 3.13.1\ndependencies:\n- -r requirements.txt\n")
    (folder / "packager.yaml").write_text('name: weighted\nversion: "1"\nmodels: [{path: model, framework: mlflow}]\n')
    yield from serve(run_packager, folder, base_image)


def test_an_estimator(sklearn: Served) -> None:
    status, answer = sklearn.ask({"data": [ROW, ROW], "method": "predict"})
    assert (status, answer) == (200, {"predict": [pytest.approx(209.9975)] * 2})
    assert sklearn.ask({"data": ROW}) == (200, {"predict": [pytest.approx(209.9975)]})
    assert "the model has no method 'predict_proba'" in sklearn.refuses({"data": [ROW], "method": "predict_proba"})
    assert "row 0 has 3 values" in sklearn.refuses({"data": [ROW[:3]]})
    assert "could not convert string to float" in sklearn.refuses({"data": [["x", *ROW[1:]]]})
    assert "contains NaN" in sklearn.refuses({"data": [[None, *ROW[1:]]]})
    assert "not fitted with names" in sklearn.refuses({"data": [{"age": 59}]})
    for body in (b"", b"{", b"[]", b'{"data": [[NaN]]}', b"\xff\xfe", b"[" * 100_000):
        assert sklearn.refuses(body)
    assert sklearn.swagger()["required"] == ["data"]


def test_an_mlflow_folder(mlflow: Served) -> None:
    for body in (
        {"dataframe_split": {"columns": ["b", "a"], "data": [[1, 0.5]]}},
        {"dataframe_records": [{"a": 0.5, "b": 1}]},
        {"instances": [{"a": 0.5, "b": 1}]},
        {"inputs": {"a": [0.5], "b": [1]}},
        {"input_data": {"columns": ["a", "b"], "index": [0], "data": [[0.5, 1]]}},
        {"input_data": [[0.5, 1]]},
    ):
        assert mlflow.ask(body) == (200, {"predictions": [11.0]})
    assert "the column 'b' is missing" in mlflow.refuses({"dataframe_records": [{"a": 1}]})
    # MLflow's own word on the signature: 1.5 is no `long`.
    assert "does not take this data" in mlflow.refuses({"dataframe_records": [{"a": 1, "b": 1.5}]})
    assert "double" in mlflow.refuses({"dataframe_records": [{"a": "x", "b": 1}]})
    assert mlflow.swagger()["example"] == {"dataframe_split": {"columns": ["a", "b"], "data": [[0.5, 1]]}}


def test_a_model_that_is_not_of_its_framework_is_never_built(run_packager: RunPackager, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"<html>404</html>")
    (tmp_path / "packager.yaml").write_text('name: x\nversion: "1"\nmodels: [{path: model.onnx, framework: onnx}]\n')
    for verb in ("lock", "build"):
        done = run_packager(verb, cwd=tmp_path, check=False)
        assert done.returncode == 6
        assert "the model 'model.onnx' is no ONNX graph" in done.stderr
        assert "packager.yaml:3 (models[0].framework)" in done.stderr
