"""Which package brings which import, and so which is meant by a requirement that names an import. Data, and pure."""

from __future__ import annotations

import re
import sys

from packager.environments.declare.requirement import canonical_name

#: Import name → package, where they differ and the import leaves no doubt. A dotted name goes before its parents.
PACKAGES = {
    "Bio": "biopython",
    "Crypto": "pycryptodome",
    "Cryptodome": "pycryptodomex",
    "Levenshtein": "levenshtein",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "attr": "attrs",
    "azure.ai.ml": "azure-ai-ml",
    "azure.storage.blob": "azure-storage-blob",
    "azureml.automl": "azureml-automl-runtime",
    "azureml.contrib.services": "azureml-inference-server-http",
    "azureml.core": "azureml-core",
    "azureml.dataprep": "azureml-dataprep",
    "azureml.interpret": "azureml-interpret",
    "azureml.monitoring": "azureml-monitoring",
    "azureml.opendatasets": "azureml-opendatasets",
    "azureml.telemetry": "azureml-telemetry",
    "azureml.train": "azureml-train-core",
    "bs4": "beautifulsoup4",
    "cairo": "pycairo",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "pymupdf",
    "git": "gitpython",
    "google.protobuf": "protobuf",
    "grpc": "grpcio",
    "hdbscan": "hdbscan",
    "imblearn": "imbalanced-learn",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "kafka": "kafka-python",
    "magic": "python-magic",
    "mpl_toolkits": "matplotlib",
    "nacl": "pynacl",
    "onnx_tf": "onnx-tf",
    "pkg_resources": "setuptools",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "pylab": "matplotlib",
    "pymongo": "pymongo",
    "pythoncom": "pywin32",
    "rest_framework": "djangorestframework",
    "ruamel.yaml": "ruamel-yaml",
    "sentence_transformers": "sentence-transformers",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "skl2onnx": "skl2onnx",
    "skopt": "scikit-optimize",
    "slugify": "python-slugify",
    "socks": "pysocks",
    "tensorflow": "tensorflow",
    "tflite_runtime": "tflite-runtime",
    "usb": "pyusb",
    "websocket": "websocket-client",
    "wx": "wxpython",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}

#: Other packages that bring the same import: any of them in the lock is enough.
ALTERNATIVES = {
    "cv2": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "faiss": ("faiss-gpu", "faiss-gpu-cu12"),
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-openvino", "ort-nightly"),
    "psycopg2": ("psycopg2",),
    "tensorflow": ("tensorflow-cpu", "tensorflow-gpu", "intel-tensorflow"),
    "xgboost": ("xgboost-cpu",),
}

#: Names of imports that are packages, too, and bring that import: `bs4` is a package that needs beautifulsoup4.
_BOTH = frozenset({"bs4", "imblearn", "psycopg2", "slugify"})
#: Package on PyPI → in conda, where they differ.
_OF_CONDA = {"opencv-python-headless": "opencv", "psycopg2-binary": "psycopg2"}
_MEANT = {
    canonical_name(name): (name, package)
    for name, package in PACKAGES.items()
    if "." not in name and name not in _BOTH and canonical_name(name) != package
}
#: Package → what it is, and the one to ask for in its place (empty where there is none, nor any need of it).
_IN_PLACE = {
    **dict.fromkeys(("pywin32", "pypiwin32", "pywinpty", "win-inet-pton", "wmi"), ("is for Windows alone", "")),
    "tensorflow-intel": ("is TensorFlow for Windows", "tensorflow"),
    "tensorflow-macos": ("is TensorFlow for macOS", "tensorflow"),
    "tensorflow-metal": ("is for macOS alone", ""),
    "tensorflow-gpu": ("ended with 2.11", "tensorflow"),
    "dlib": ("has no wheels", "dlib-bin"),
    "fasttext": ("has no wheels", "fasttext-wheel"),
    "opencv": ("is conda's name", "opencv-python-headless"),
    "psycopg2": ("has no wheels", "psycopg2-binary"),
    "pycrypto": ("has no wheels, and ended in 2013", "pycryptodome"),
    "pytorch": ("is conda's name", "torch"),
}
_OF_SPACY = re.compile(r"[a-z]{2}-(?:core|dep|ent|sent|udv?[0-9]*)-(?:web|news|wiki|ud)-(?:sm|md|lg|trf)")
#: What to do about a model of spaCy among the packages.
SPACY_REMEDY = (
    "models of spaCy are on no index: save it (`nlp.to_disk('model')`), name the folder under `models:` of the spec "
    "and `spacy.load` it from AZUREML_MODEL_DIR; or publish its wheel to an index of your own"
)
_LOCAL = re.compile(r"(?P<name>[^\s=]+)==(?P<version>[^\s,;*+]+)\+(?P<label>[^\s,;*]+)")


def meant(name: str, *, conda: bool = False) -> str | None:
    """Return what to do about a requirement whose name is that of an import; None of any other.

    Args:
        name: canonical.
        conda: conda is asked for it.
    """
    if name == "python" and not conda:
        return 'Python is no package of an index: write `python: "3.13"` in the spec, and take it out of here'
    if name not in _MEANT:
        return None
    imported, package = _MEANT[name]
    package = _OF_CONDA.get(package, package) if conda else package
    return f"`{imported}` is the name of an import: ask for `{package}`, the package that brings it"


def is_of_spacy(name: str) -> bool:
    """Whether a canonical name is that of one of spaCy's models."""
    return _OF_SPACY.fullmatch(name) is not None


def refused_name(name: str) -> str | None:
    """Return what to do about a name that an index refused: an import's, another system's, a part of Python; or None.

    Args:
        name: canonical.
    """
    said = meant(name)
    if said is not None:
        return said
    if name in _IN_PLACE:
        what, other = _IN_PLACE[name]
        return f"{name} {what}: {f'ask for `{other}`' if other else 'take it out of here'}"
    if is_of_spacy(name):
        return SPACY_REMEDY
    return f"{name} is a part of Python: take it out of here" if name in sys.stdlib_module_names else None


def local_build(requirement: str) -> str | None:
    """Return what to do about a version such as `2.1.0+cu118`, which is on an index of its own; None of any other.

    Args:
        requirement: in normal form.
    """
    found = _LOCAL.match(requirement)
    if found is None:
        return None
    name, version, label = found.groups()
    return (
        f"`+{label}` is built for an index of its own: name that (the project tells which) as UV_INDEX or "
        "PIP_EXTRA_INDEX_URL, here and wherever the image is built; or ask for the usual index's build, "
        f"`{name}=={version}`"
    )
