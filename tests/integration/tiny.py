"""The smallest package that is one: a model of a few numbers, a script, and no requirements but those a test gives."""

from __future__ import annotations

import json
from pathlib import Path

SPEC = """\
name: tiny
version: "1"
entry_script: score.py
source_dir: src
models:
  - {path: models/weights.json, name: weights, version: 1}
python: "3.13"
environment: requirements.txt
targets: {cpu: {platforms: [linux/amd64, linux/arm64]}}
image: {repository: registry.example.com/ml/tiny, tags: ["1"]}
"""
#: Plain Python, but for one compiled module of the environment that has a say in the answer.
SCRIPT = """\
import json
import os
from pathlib import Path

import psutil


def init():
    global model
    model = json.loads((Path(os.environ["AZUREML_MODEL_DIR"]) / "weights.json").read_text())


def run(data):
    rows = json.loads(data)["data"]
    assert psutil.Process().pid == os.getpid()
    return [sum(map(float.__mul__, row, model["weights"])) + model["bias"] for row in rows]
"""
REQUEST = b'{"data": [[1.0, 2.0], [0.5, -0.25]]}'
ANSWER = [-2.875, 1.4375]


def make_tiny(folder: Path, requirements: str = "psutil\n") -> Path:
    """Write the package into a new folder; its environment is the inference server and what is given."""
    for name in ("src", "models"):
        (folder / name).mkdir(parents=True)
    (folder / "packager.yaml").write_text(SPEC)
    (folder / "requirements.txt").write_text(requirements)
    (folder / "src/score.py").write_text(SCRIPT)
    (folder / "models/weights.json").write_text(json.dumps({"weights": [1.5, -2.25], "bias": 0.125}))
    return folder
