"""The frameworks whose models need no entry script."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

#: By our names.
Kind = Literal["sklearn", "onnx", "tensorflow", "mlflow"]
#: By our names, and by those of Azure ML v1 (`Model.Framework`).
Name = Literal["sklearn", "onnx", "tensorflow", "mlflow", "ScikitLearn", "Onnx", "TensorFlow"]
Framework = Annotated[Name, Meta(description="Without an entry script it says how to serve the model.")]
FrameworkVersion = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]+(?:\.[0-9]+){0,3}(?:(?:a|b|rc)[0-9]+)?(?!\n)$",
        description="Version of the framework that saved the model, in quotes.",
    ),
]

_OURS: dict[Name, Kind] = {
    "sklearn": "sklearn",
    "onnx": "onnx",
    "tensorflow": "tensorflow",
    "mlflow": "mlflow",
    "ScikitLearn": "sklearn",
    "Onnx": "onnx",
    "TensorFlow": "tensorflow",
}

#: The entry script that is made for a model without code, below the app's root.
NO_CODE_SCRIPT = "packager_score.py"


def kind_of(name: Name | None) -> Kind | None:
    """Return a framework by our name for it."""
    return None if name is None else _OURS[name]
