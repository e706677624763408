"""Which package brings which import, and so which is meant by a requirement that names an import. Data, and pure."""

from __future__ import annotations

import re

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
