"""Say whether diabetes will progress much or little within a year: a model, and limits that others decide about."""

import json
import os
from pathlib import Path

import joblib

model, limits = None, None


def init():
    """Load both. The server calls this once, before the first request."""
    global model, limits
    # With several models, AZUREML_MODEL_DIR is the folder of all of them: <name>/<version>/<file>
    models = Path(os.environ["AZUREML_MODEL_DIR"])
    model = joblib.load(only(models / "progress_model") / "sklearn_regression_model.pkl")
    limits = json.loads((only(models / "limits") / "limits.json").read_text())


def only(folder):
    """Return the folder of the one version that there is."""
    (version,) = folder.iterdir()
    return version


def run(data):
    """Answer one request: a word for each patient."""
    found = model.predict(json.loads(data)["data"])
    return ["high" if each >= limits["high"] else "low" for each in found]
