"""What the standard library holds in which Python, which package brings which import, and names that are gone. Data."""

from __future__ import annotations

import sys
from typing import NamedTuple

#: Modules of the standard library → the minor version (of Python 3) that brought them. Source: "What's New in Python".
_ADDED = {"zoneinfo": 9, "graphlib": 9, "tomllib": 11, "compression": 14, "annotationlib": 14}

#: … → the minor version that has them no more. Sources: PEP 594, PEP 632, and "What's New in Python".
REMOVED = {
    **dict.fromkeys(("macpath",), 8),
    **dict.fromkeys(("formatter", "parser", "symbol"), 10),
    **dict.fromkeys(("binhex",), 11),
    **dict.fromkeys(("asynchat", "asyncore", "distutils", "imp", "smtpd"), 12),
    **dict.fromkeys(("aifc", "audioop", "cgi", "cgitb", "chunk", "crypt", "imghdr", "lib2to3", "mailcap"), 13),
    **dict.fromkeys(("msilib", "nis", "nntplib", "ossaudiodev", "pipes", "sndhdr", "spwd", "sunau"), 13),
    **dict.fromkeys(("telnetlib", "uu", "xdrlib"), 13),
}

#: What to use instead of a removed module, where there is one answer.
INSTEAD = {
    "imp": "use importlib",
    "distutils": "use setuptools, packaging.version or shutil",
    "cgi": "use email.message, or add legacy-cgi",
    "pipes": "use shlex and subprocess",
    "asyncore": "use asyncio",
    "imghdr": "use Pillow, or add standard-imghdr",
    "audioop": "add audioop-lts",
    "telnetlib": "add standard-telnetlib",
    "lib2to3": "use ast or LibCST",
    "formatter": "write plain text",
    "parser": "use ast",
    "binhex": "use base64",
    "crypt": "use hashlib, or add legacycrypt",
}

#: A package on PyPI that brings a removed module back under its own name, for the sake of packages that import it.
BACK = {
    "asyncore": "standard-asyncore",
    "audioop": "audioop-lts",
    "cgi": "legacy-cgi",
    "cgitb": "legacy-cgi",
    "crypt": "standard-crypt",
    "imghdr": "standard-imghdr",
    "pipes": "standard-pipes",
    "telnetlib": "standard-telnetlib",
}

#: Listed for every platform by `sys.stdlib_module_names`, and not there on Linux.
NOT_ON_LINUX = frozenset({"_msi", "_overlapped", "_scproxy", "_winapi", "msilib", "msvcrt", "nt", "winreg", "winsound"})

#: Packages that people use in scripts and whose import has the same name.
SAME = frozenset(
    {
        *(
            "boto3",
            "catboost",
            "cloudpickle",
            "dask",
            "datasets",
            "dill",
            "fastapi",
            "flask",
            "gensim",
            "httpx",
            "joblib",
        ),
        *("keras", "lightgbm", "matplotlib", "mlflow", "networkx", "nltk", "numba", "numpy", "onnx", "onnxruntime"),
        *("openpyxl", "pandas", "plotly", "polars", "prophet", "psutil", "pyarrow", "pydantic", "requests", "scipy"),
        *(
            "seaborn",
            "shap",
            "six",
            "spacy",
            "sqlalchemy",
            "statsmodels",
            "sympy",
            "tokenizers",
            "torch",
            "torchvision",
        ),
        *("tqdm", "transformers", "xgboost"),
    }
)

#: Packages of hundreds of megabytes, which are not fetched for the sake of a check.
LARGE = frozenset(
    {"jaxlib", "mxnet", "paddlepaddle", "pyspark", "tensorflow", "tensorflow-cpu", "torch", "torchvision", "vllm"}
)

#: The inference server puts this folder of its own on sys.path, before the app (`azureml_inference_server_http/
#: __init__.py` of 1.5), and these two modules into `sys.modules` (`server/__init__.py`).
SERVER_PACKAGE = "azureml-inference-server-http"
SERVER_FOLDER = "azureml_inference_server_http.server"
SERVER_MODULES = frozenset({"azureml.contrib.services.aml_request", "azureml.contrib.services.aml_response"})


def is_standard(name: str, python: str) -> bool:
    """Whether a top-level module belongs to the standard library of a Python (`3.13`) on Linux."""
    minor = int(python.partition(".")[2])
    if name in NOT_ON_LINUX:
        return False
    if name in REMOVED:
        return minor < REMOVED[name]
    if name in _ADDED:
        return minor >= _ADDED[name]
    return name in sys.stdlib_module_names


class Gone(NamedTuple):
    """A name that a package has no more.

    Attributes:
        package: whose, normalised; `python` for the standard library.
        since: first version without it.
        instead: what to do.
        until: first version that has it again.
    """

    package: str
    since: str
    instead: str
    until: str | None = None


def _gone(package: str, since: str, names: dict[str, str], until: str | None = None) -> dict[str, Gone]:
    return {name: Gone(package, since, instead, until) for name, instead in names.items()}


_ABC: tuple[str, ...] = (
    "Callable",
    "Container",
    "Hashable",
    "Iterable",
    "Iterator",
    "Mapping",
    "MutableMapping",
    "MutableSequence",
)
_ABC += ("MutableSet", "Sequence", "Set", "Sized")

#: Dotted name → since when it is gone. Sources: the release notes of each project.
GONE: dict[str, Gone] = {
    **_gone("scikit-learn", "0.20", {"sklearn.cross_validation": "use sklearn.model_selection"}),
    **_gone("scikit-learn", "0.20", {"sklearn.grid_search": "use sklearn.model_selection"}),
    **_gone("scikit-learn", "0.22", {"sklearn.preprocessing.Imputer": "use sklearn.impute.SimpleImputer"}),
    **_gone("scikit-learn", "0.23", {"sklearn.externals.joblib": "write `import joblib`"}),
    **_gone("scikit-learn", "0.23", {"sklearn.externals.six": "add six, and write `import six`"}),
    **_gone("scikit-learn", "0.24", {"sklearn.utils.testing": "use numpy.testing or sklearn.utils._testing"}),
    **_gone("scikit-learn", "1.2", {"sklearn.datasets.load_boston": "use another data set"}),
    **_gone("numpy", "1.24", {f"numpy.{each}": f"write `{each}`" for each in ("int", "float", "complex", "object")}),
    **_gone("numpy", "1.24", {"numpy.str": "write `str`", "numpy.unicode": "write `str`"}),
    **_gone("numpy", "1.24", {"numpy.bool": "write `bool`", "numpy.long": "write `int`"}, until="2.0"),
    **_gone("numpy", "2.0", {"numpy.float_": "use numpy.float64", "numpy.complex_": "use numpy.complex128"}),
    **_gone("numpy", "2.0", {"numpy.unicode_": "use numpy.str_", "numpy.string_": "use numpy.bytes_"}),
    **_gone("numpy", "2.0", {"numpy.NaN": "use numpy.nan"}),
    **_gone("numpy", "2.0", dict.fromkeys(("numpy.Inf", "numpy.Infinity", "numpy.infty"), "use numpy.inf")),
    **_gone("numpy", "2.0", {"numpy.product": "use numpy.prod", "numpy.cumproduct": "use numpy.cumprod"}),
    **_gone("numpy", "2.0", {"numpy.alltrue": "use numpy.all", "numpy.sometrue": "use numpy.any"}),
    **_gone("numpy", "2.0", {"numpy.asfarray": "use numpy.asarray(x, dtype=float)"}),
    **_gone("pandas", "1.0", {"pandas.Panel": "use a DataFrame with a MultiIndex"}),
    **_gone("pandas", "2.0", {"pandas.np": "import numpy", "pandas.datetime": "import datetime"}),
    **_gone("pandas", "2.0", {"pandas.util.testing": "use pandas.testing", "pandas.Int64Index": "use pandas.Index"}),
    **_gone("scipy", "1.2", {"scipy.misc.imread": "use imageio", "scipy.misc.imsave": "use imageio"}),
    **_gone("scipy", "1.3", {"scipy.misc.imresize": "use Pillow", "scipy.misc.logsumexp": "use scipy.special"}),
    **_gone("tensorflow", "2.0", {"tensorflow.contrib": "port the code to TensorFlow 2"}),
    **_gone("tensorflow", "2.0", {"tensorflow.Session": "use tensorflow.compat.v1.Session, or port the code"}),
    **_gone("tensorflow", "2.0", {"tensorflow.placeholder": "use tensorflow.compat.v1, or port the code"}),
    **_gone("pillow", "10.0", {"PIL.Image.ANTIALIAS": "use PIL.Image.LANCZOS"}),
    **_gone("flask", "2.3", {"flask.json.JSONEncoder": "use flask.json.provider"}),
    **_gone("flask", "3.0", {"flask.Markup": "use markupsafe.Markup", "flask.escape": "use markupsafe.escape"}),
    **_gone("jinja2", "3.1", {"jinja2.Markup": "use markupsafe.Markup", "jinja2.escape": "use markupsafe.escape"}),
    **_gone("python", "3.8", {"time.clock": "use time.perf_counter"}),
    **_gone("python", "3.10", {f"collections.{each}": f"use collections.abc.{each}" for each in _ABC}),
    **_gone("python", "3.11", {"inspect.getargspec": "use inspect.getfullargspec"}),
    **_gone("python", "3.11", {"asyncio.coroutine": "write `async def`"}),
}
