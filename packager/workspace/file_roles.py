"""What a file of a model is, told from its name, in the words of the CNCF model-spec. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from packager.workspace.values import File

Role = Literal["weight", "weight.config", "doc", "code", "dataset"]

_SUFFIXES: dict[Role, tuple[str, ...]] = {
    "weight.config": ("json", "yaml", "yml", "toml", "ini", "cfg", "txt", "jinja", "xml", "properties"),
    "doc": ("md", "rst", "pdf", "html", "png", "jpg", "jpeg", "svg"),
    "code": ("py", "ipynb", "sh", "js", "ts", "go", "rs", "c", "cc", "cpp", "cu", "h", "java", "r"),
    "dataset": ("csv", "tsv", "parquet", "jsonl", "arrow", "avro"),
}
_ROLES = {suffix: role for role, suffixes in _SUFFIXES.items() for suffix in suffixes}
_DOCUMENTS = re.compile(r"(?:readme|license|licence|notice|copying|changelog)(?:\..*)?\Z", re.IGNORECASE)
#: Files without a suffix, or with another's, that say how weights are to be read.
_CONFIGS = frozenset({"mlmodel", "tokenizer.model", "fingerprint.pb"})

#: Suffix → `format` of a configuration.
_FORMATS = {
    "onnx": "onnx", "safetensors": "safetensors", "gguf": "gguf", "pt": "pytorch", "pth": "pytorch",
    "pb": "tensorflow", "keras": "keras", "h5": "keras", "tflite": "tflite",
    "pkl": "pickle", "pickle": "pickle", "joblib": "pickle",
}  # fmt: skip


def role_of(path: str) -> Role:
    """Return what a file is; weights where its name tells nothing."""
    name = path.rpartition("/")[2].lower()
    if _DOCUMENTS.match(name):
        return "doc"
    return "weight.config" if name in _CONFIGS else _ROLES.get(_suffix(name), "weight")


def has_no_model(paths: Iterable[str]) -> bool:
    """Whether no file, by its name, can be a model: scripts, documents and data, with configurations or without.

    Configurations alone can be one: of a tokenizer, or of trees in JSON.
    """
    roles = {role_of(path) for path in paths}
    return "weight" not in roles and roles != {"weight.config"}


def format_of(files: Iterable[File]) -> str:
    """Return the format of the largest weights whose suffix tells one; empty where none does."""
    weights = [file for file in files if role_of(file.path) == "weight" and _suffix(file.path.lower()) in _FORMATS]
    if not weights:
        return ""
    largest = max(weights, key=lambda file: (file.size, file.path))
    return _FORMATS[_suffix(largest.path.lower())]


def _suffix(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[2]
