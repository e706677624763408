"""The contract with entry scripts written for Azure ML v1: each form of it in a running container, asked over HTTP."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import requests

from tests.integration.conftest import PORT, RunPackager
from tests.integration.serving_package import remove_image

pytestmark = [pytest.mark.engine, pytest.mark.network]

SPEC = """\
name: form
version: "1"
entry_script: {entry}
source_dir: src
models: {models}
environment: {{pip: [{pip}]}}
env: {{AML_LOG_LEVEL: info}}
"""

COMMON = "numpy, pandas, 'inference-schema[numpy-support,pandas-support]'"

#: What each package is: entry script, files of the app, models (path → content), and requirements.
PLAIN = """\
import json
import os


def init():
    global table
    with open("tables/names.json") as file:
        table = json.load(file)


def run(raw):
    return {"kind": type(raw).__name__, "sum": sum(json.loads(raw)["data"]), "name": table["0"], "where": os.getcwd()}
"""

HEADERS = """\
import json


def init():
    pass


def run(data, request_headers):
    return {"agent": request_headers["X-Asked-By"], "data": json.loads(data)}
"""

NUMPY = """\
import numpy as np
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.schema_decorators import input_schema, output_schema


def init():
    pass


@input_schema("data", NumpyParameterType(np.array([[1.0, 2.0]])))
@input_schema("scale", StandardPythonParameterType(2.5))
@output_schema(NumpyParameterType(np.array([1.0])))
def run(data, scale):
    assert isinstance(data, np.ndarray) and isinstance(scale, float)
    return (data.sum(axis=1) * scale).tolist()
"""

PANDAS = """\
import pandas as pd
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.schema_decorators import input_schema


def init():
    pass


@input_schema("data", PandasParameterType(pd.DataFrame({"age": [1], "name": ["a"]})))
def run(data):
    assert isinstance(data, pd.DataFrame)
    return {"oldest": str(data.loc[data["age"].idxmax(), "name"])}
"""

RAW = """\
import zlib

from azureml.contrib.services.aml_request import AMLRequest, rawhttp
from azureml.contrib.services.aml_response import AMLResponse


def init():
    pass


@rawhttp
def run(request):
    if request.method == "GET":
        return AMLResponse("asked for " + request.args.get("what", "nothing"), 200)
    data = request.get_data(False)
    if request.args.get("stream"):
        def pieces():
            for start in range(0, len(data), 1000):
                yield data[start:start + 1000]
        return AMLResponse(pieces(), 200, {"Content-Type": "application/octet-stream"})
    if not data:
        return AMLResponse("nothing came", 400)
    return AMLResponse(zlib.compress(data), 201, {"Content-Type": "application/zlib", "X-Size": str(len(data))})
"""

NESTED = """\
import json
import os
from pathlib import Path

from deep.er.helper import double
from top import NAME


def init():
    global weights, folder
    folder = Path(os.environ["AZUREML_MODEL_DIR"])
    weights = json.loads((folder / "weights.json").read_text())


def run(data):
    return {"answer": double(json.loads(data)["x"]) * weights["w"], "name": NAME, "folder": str(folder)}
"""

HELPER = """\
def double(x):
    return 2 * x
"""

SEVERAL = """\
import os


def init():
    global found
    root = os.environ["AZUREML_MODEL_DIR"]
    found = sorted(
        os.path.relpath(os.path.join(folder, name), root) for folder, _, names in os.walk(root) for name in names
    )


def run(data):
    return {"found": found, "root": os.environ["AZUREML_MODEL_DIR"]}
"""

CORE = """\
import json

from azureml.core.model import Model


def init():
    global paths
    paths = {"newest": Model.get_model_path("net"), "first": Model.get_model_path("net", version=1),
             "folder": Model.get_model_path(model_name="tokens")}


def run(data):
    return {"paths": paths, "content": {name: open(path).read() for name, path in paths.items() if name != "folder"}}
"""

SWAGGER = {"swagger": "2.0", "info": {"title": "by hand", "version": "7"}, "paths": {}}


class Form(NamedTuple):
    """One package."""

    entry: str
    files: dict[str, str]
    models: Mapping[str, str] = MappingProxyType({})
    spec_models: str = "[]"
    pip: str = COMMON


FORMS = {
    "plain": Form("score.py", {"score.py": PLAIN, "tables/names.json": '{"0": "setosa"}', "config.json": "[]"}),
    "headers": Form("my-score-v2.py", {"my-score-v2.py": HEADERS, "swagger.json": json.dumps(SWAGGER),
                                       "swagger3.json": json.dumps({**SWAGGER, "openapi": "3.0.0"})}),
    "numpy": Form("score.py", {"score.py": NUMPY}),
    "pandas": Form("score.py", {"score.py": PANDAS}),
    "raw": Form("score.py", {"score.py": RAW}),
    "nested": Form(
        "deep/er/score.py",
        {"deep/er/score.py": NESTED, "deep/er/helper.py": HELPER, "top.py": "NAME = 'top'\n"},
        {"models/weights.json": '{"w": 5}'},
        "[{path: models/weights.json, name: weights, version: 3}]",
    ),
    "several": Form(
        "score.py",
        {"score.py": SEVERAL},
        {"models/a.bin": "a", "models/tree/x/y.bin": "y", "models/tree/z.bin": "z"},
        "[{path: models/a.bin}, {path: models/tree, name: tree, version: 2}]",
    ),
    "core": Form(
        "score.py",
        {"score.py": CORE},
        {"models/1/net.txt": "one", "models/10/net.txt": "ten", "models/tokens/vocabulary.txt": "t"},
        "[{path: models/1/net.txt, name: net, version: 1}, {path: models/10/net.txt, name: net, version: 10}, "
        "{path: models/tokens, name: tokens}]",
        "azureml-core",
    ),
}  # fmt: skip

ROOT = "/var/azureml-app"
JSON = {"Content-Type": "application/json"}


class Running:
    """All forms as running services."""

    def __init__(self, urls: dict[str, str], logs: Callable[[str], str]) -> None:
        self.urls, self.logs = urls, logs

    def ask(self, form: str, data: Any = None, path: str = "score", method: str = "POST", **options: Any) -> Any:
        body = data if isinstance(data, bytes | None) else json.dumps(data)
        headers = {**JSON, **options.pop("headers", {})}
        return requests.request(method, self.urls[form] + path, data=body, headers=headers, timeout=60, **options)


@pytest.fixture(scope="module")
def running(
    run_packager: RunPackager, index: None, base_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    root, locks = tmp_path_factory.mktemp("forms"), dict[str, Path]()
    prefix = f"packager-test-{secrets.token_hex(4)}"
    for name, form in FORMS.items():
        folder = root / name
        for below, files in (("src/", form.files), ("", form.models)):
            for path, text in files.items():
                (folder / below / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / below / path).write_text(text)
        spec = SPEC.format(entry=form.entry, models=form.spec_models, pip=form.pip)
        (folder / "packager.yaml").write_text(spec)
        # The lock knows nothing of scripts and models, so that packages of one environment share it.
        if form.pip in locks:
            shutil.copytree(locks[form.pip] / "locks", folder / "locks")
            shutil.copyfile(locks[form.pip] / "packager.lock", folder / "packager.lock")
        else:
            run_packager("lock", cwd=folder)
            locks[form.pip] = folder

    def start(name: str) -> str:
        reference = f"{prefix}/{name}:1"
        run_packager("build", "--builder", "oci", "--base", base_image, "--load", "-t", reference, cwd=root / name)
        words = ("-p", f"0:{PORT}", "--detach", "--name", f"{prefix}-{name}")
        return run_packager("run", reference, *words).stdout.strip().removesuffix("score")

    def logs(name: str) -> str:
        return run_command("docker", "logs", f"{prefix}-{name}")

    try:
        with ThreadPoolExecutor(2) as pool:
            urls = dict(zip(FORMS, pool.map(start, FORMS), strict=True))
        yield Running(urls, logs)
    finally:
        run_command("docker", "rm", "--force", "--volumes", *(f"{prefix}-{name}" for name in FORMS))
        remove_image(*(f"{prefix}/{name}:1" for name in FORMS))


def run_command(*words: str) -> str:
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout


def test_a_plain_script_gets_text_and_reads_files_from_the_working_directory(running: Running) -> None:
    answer = running.ask("plain", {"data": [1, 2, 3.5]})
    assert answer.json() == {"kind": "str", "sum": 6.5, "name": "setosa", "where": ROOT}
    assert running.ask("plain", method="GET", path="").text == "Healthy"
    assert running.ask("plain", method="OPTIONS").status_code == 200
    assert running.ask("plain", method="PUT", data={}).status_code == 405
    failed = running.ask("plain", b"{")
    assert (failed.status_code, failed.headers["x-ms-run-function-failed"]) == (500, "True")
    assert "message" in failed.json()


def test_a_stray_config_json_and_a_flat_model_folder_log_no_error(running: Running) -> None:
    for form in ("plain", "several", "nested"):
        text = running.logs(form)
        start = text[: text.index("ready for serving traffic")]
        # Levels are one letter in the server's log; it is azmlinfsrv.trace that lists models by name and version.
        assert not re.search(r"^\S+ \S+ [EC] \[|Traceback", start, re.MULTILINE), start


def test_request_headers_a_name_with_dashes_and_swagger_by_hand(running: Running) -> None:
    answer = running.ask("headers", {"x": 1}, headers={"X-Asked-By": "a test"})
    assert answer.json() == {"agent": "a test", "data": {"x": 1}}
    assert running.ask("headers", method="GET", path="swagger.json").json() == SWAGGER
    newer = running.ask("headers", method="GET", path="swagger.json?version=3").json()
    assert newer["openapi"] == "3.0.0"


def test_numpy_and_several_parameters(running: Running) -> None:
    body = {"data": [[1, 2], [3, 4.5]], "scale": 2.0}
    assert running.ask("numpy", body).json() == [6.0, 15.0]
    assert running.ask("numpy", {"data": [[1, 2]]}).status_code == 400
    assert running.ask("numpy", b"{").status_code == 400
    assert running.ask("numpy", body, headers={"Content-Type": "text/plain"}).status_code == 415
    described = running.ask("numpy", method="GET", path="swagger.json").json()
    assert set(described["definitions"]["ServiceInput"]["properties"]) == {"data", "scale"}
    assert described["info"] == {**described["info"], "title": "form", "version": "1"}


def test_pandas(running: Running) -> None:
    records = [{"age": 3, "name": "b"}, {"age": 2, "name": "c"}]
    assert running.ask("pandas", {"data": records}).json() == {"oldest": "b"}
    assert running.ask("pandas", {"wrong": []}).status_code == 400


def test_raw_http_binary_and_streamed(running: Running) -> None:
    data = struct.pack("<4096I", *range(4096))
    answer = running.ask("raw", data, headers={"Content-Type": "application/octet-stream"})
    assert (answer.status_code, answer.headers["X-Size"]) == (201, str(len(data)))
    assert answer.headers["Content-Type"] == "application/zlib"
    assert zlib.decompress(answer.content) == data
    streamed = running.ask("raw", data, path="score?stream=1")
    assert streamed.content == data
    assert running.ask("raw", b"").status_code == 400
    assert running.ask("raw", method="GET", path="score?what=tea").text == "asked for tea"


def test_a_nested_script_with_helpers_and_one_model(running: Running) -> None:
    folder = f"{ROOT}/azureml-models/weights/3"
    assert running.ask("nested", {"x": 4}).json() == {"answer": 40, "name": "top", "folder": folder}


def test_several_models_and_a_folder(running: Running) -> None:
    assert running.ask("several", {}).json() == {
        "found": ["a/0/a.bin", "tree/2/tree/x/y.bin", "tree/2/tree/z.bin"],
        "root": f"{ROOT}/azureml-models",
    }


def test_get_model_path_of_azureml_core(running: Running) -> None:
    models = f"{ROOT}/azureml-models"
    assert running.ask("core", {}).json() == {
        "paths": {
            "newest": f"{models}/net/10/net.txt",
            "first": f"{models}/net/1/net.txt",
            "folder": f"{models}/tokens/0/tokens",
        },
        "content": {"newest": "ten", "first": "one"},
    }
