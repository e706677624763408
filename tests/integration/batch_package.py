"""A locked package for batches: a script of a service, one of mini-batches, and a model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.integration.conftest import RunPackager

SPEC = """\
name: labels
version: "1"
entry_script: score.py
models: [{path: weights.json, name: weights, version: 3}]
environment: {pip: []}
"""

SERVICE = """\
import json, os

def init():
    global weights
    with open(os.path.join(os.environ["AZUREML_MODEL_DIR"], "weights.json")) as file:
        weights = json.load(file)

def run(data):
    return {"sum": sum(json.loads(data)["row"]) * weights[0]}
"""

BATCH = """\
import os, time
from score import init
import score

def run(mini_batch):
    out = []
    for path in mini_batch:
        with open(path) as file:
            number = int(file.read())
        time.sleep(float(os.environ.get("EACH", 0)))
        if number == 13 and os.environ.get("HANG"):
            time.sleep(100)
        out.append(f"{os.path.basename(path)}: {number * score.weights[0]}")
    return out
"""

RAW = """\
from azureml.contrib.services.aml_request import rawhttp
from azureml.contrib.services.aml_response import AMLResponse

def init():
    pass

@rawhttp
def run(request):
    if request.data == b"bad":
        return AMLResponse("not this", 400)
    return AMLResponse(b'{"method": "%s", "size": %d}' % (request.method.encode(), len(request.data)), 200)
"""

SCHEMA = """\
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.schema_decorators import input_schema

def init():
    pass

@input_schema("row", StandardPythonParameterType([1, 2]))
@input_schema("factor", StandardPythonParameterType(2))
def run(row, factor, request_headers):
    return [each * factor for each in row]
"""


def write_batch_package(run: RunPackager, folder: Path, python: str) -> Path:
    """Write it, and lock it."""
    (folder / "packager.yaml").write_text(f'{SPEC}python: "{python}"\n')
    (folder / "score.py").write_text(SERVICE)
    (folder / "batch.py").write_text(BATCH)
    (folder / "raw.py").write_text(RAW)
    (folder / "schema.py").write_text(SCHEMA)
    (folder / "weights.json").write_text("[2, 3]")
    run("lock", cwd=folder)
    return folder


def write_files(folder: Path, count: int) -> Path:
    """Write files with a number each."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:06d}").write_text(str(number))
    return folder


def expected(count: int) -> str:
    """The results for `write_files`."""
    return "".join(f"{number:06d}: {2 * number}\n" for number in range(count))


def kill_at(words: list[str], folder: Path, env: dict[str, str], journal: Path, lines: int) -> int:
    """Start the command line, and kill it when its journal has so many lines; return how many it has then."""
    process = subprocess.Popen(
        [sys.executable, "-m", "packager", *words], cwd=folder, env={**os.environ, **env}, stderr=subprocess.PIPE
    )
    try:
        while not journal.exists() or journal.read_bytes().count(b"\n") < lines:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    return journal.read_bytes().count(b"\n")


def gone(word: str, seconds: float = 10.0) -> bool:
    """Whether no process has a word in its command line any more."""
    end = time.monotonic() + seconds
    while any(word.encode() in _words(each) for each in Path("/proc").glob("[0-9]*/cmdline")):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _words(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
