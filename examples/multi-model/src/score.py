"""Estimate the width of iris petals from other measurements, by the version of the model that the request names.

The request is a JSON object {"flowers": [{"sepal_length", "sepal_width", "petal_length"}, ...], "version": 1}, in
centimetres; without "version" the newest answers.
"""

import json
import os
from pathlib import Path

from azureml.contrib.services.aml_response import AMLResponse

models = {}


def init():
    """Load every version. Several models: AZUREML_MODEL_DIR is the folder of all, <name>/<version>/<file> in it."""
    for folder in (Path(os.environ["AZUREML_MODEL_DIR"]) / "petal-width").iterdir():
        models[int(folder.name)] = json.loads((folder / "petal_width.json").read_text())


def run(data):
    """Answer one request: data is its body, as text."""
    request = json.loads(data)
    version = request.get("version", max(models))
    if version not in models:
        known = " and ".join(map(str, sorted(models)))
        return AMLResponse({"message": f"there is no version {version}; there are {known}"}, 400, json_str=True)
    model = models[version]
    return {"version": version, "petal_width": [round(estimate(model, flower), 4) for flower in request["flowers"]]}


def estimate(model, flower):
    """Return the width of one flower's petals, in centimetres."""
    return model["intercept"] + sum(weight * flower[name] for name, weight in model["weights"].items())
