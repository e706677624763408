"""The frameworks whose models need no entry script."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta

#: By our names.
Kind = Literal["sklearn", "onnx", "tensorflow", "mlflow"]
#: By our names, and by those of Azure ML v1 (`Model.Framework`).
Name = Literal["sklearn", "onnx", "tensorflow", "mlflow", "ScikitLearn", "Onnx", "TensorFlow"]
Framework = Annotated[Name, Meta(description="Without an entry script it says how to serve the model.")]
_VERSION = r"^[0-9]+(?:\.[0-9]+){0,3}(?:(?:a|b|rc)[0-9]+)?(?!\n)$"
FrameworkVersion = Annotated[
    str,
    Meta(
        pattern=_VERSION,
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


def named(framework: str | None, version: str | None) -> tuple[Name | None, str | None]:
    """Return framework and version of a registered model as a spec may say them; None for what it may not.

    Args:
        framework: as it is registered (`ScikitLearn`, `PyTorch`).
        version: that saved it.
    """
    name = next((each for each in _OURS if each == framework), None)
    pins = name is not None and _OURS[name] in ("sklearn", "tensorflow")
    return name, version if pins and version is not None and re.match(_VERSION, version) else None
