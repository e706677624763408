"""One ONNX graph, ready to answer."""

import os
from pathlib import Path

import numpy as np
import onnxruntime


class OnnxModel:
    """A graph with a single input of shape (rows, columns)."""

    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        # Graphs this small lose time to threads, and every worker process would start its own.
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, rows):
        return self._session.run(None, {self._input: np.asarray(rows, dtype=np.float32)})


def model_path(name, version):
    """Find a model's file or folder.

    With several models AZUREML_MODEL_DIR is the folder of all: <name>/<version>/<file or folder>.
    """
    folder = Path(os.environ["AZUREML_MODEL_DIR"]) / name / str(version)
    (path,) = folder.iterdir()
    return path
