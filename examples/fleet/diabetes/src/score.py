"""Predict how far diabetes progresses within a year, from ten measurements of a patient."""

import logging
import os
from pathlib import Path

import joblib
import numpy as np
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.schema_decorators import input_schema, output_schema

# age, sex, body mass index, blood pressure, and six serum values (tc, ldl, hdl, tch, ltg, glucose), one row a patient.
# The decorators take types and shapes from the samples: run() gets an array that fits, or is not called at all, and
# /swagger.json tells callers what fits.
PATIENTS = np.array([[59.0, 2.0, 32.1, 101.0, 157.0, 93.2, 38.0, 4.0, 4.8598, 87.0]])
PROGRESSION = np.array([151.0])

logger = logging.getLogger(__name__)
model = None


def init():
    """Load the model. The server calls this once, before the first request."""
    global model
    # With one model, AZUREML_MODEL_DIR is that model's own folder: azureml-models/<name>/<version>
    path = Path(os.environ["AZUREML_MODEL_DIR"]) / "sklearn_regression_model.pkl"
    model = joblib.load(path)
    logger.info("loaded %s", path)


@input_schema("data", NumpyParameterType(PATIENTS))
@output_schema(NumpyParameterType(PROGRESSION))
def run(data):
    """Answer one request: a number for each row of data."""
    return model.predict(data).tolist()
