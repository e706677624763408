from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.checks.known_modules import GONE
from tests.unit.check_images import all_findings, image, installed, short

HEAD = "import os\nimport os.path as osp\nfrom os import environ, getenv\nfrom os.path import join\n"
HEAD += "from pathlib import Path\nimport joblib\n"
AT = HEAD.count("\n")
SEVERAL = {("m", 1): "m/1/model.pkl", ("text", 2): "text/2/vocabulary.json"}
CORE = {"azureml_core": ("azureml/__init__.py", "azureml/core/__init__.py", "azureml/core/model.py")}


def paths(text: str, **options: object) -> list[tuple[str, int | None]]:
    found = all_findings(HEAD + text, **options)  # type: ignore[arg-type]
    return [(each.rule, (each.line or 0) - AT) for each in found]


@pytest.mark.parametrize(
    "path",
    [
        "os.path.join(os.getenv('AZUREML_MODEL_DIR'), 'model.pkl')",
        "osp.join(os.environ['AZUREML_MODEL_DIR'], 'model.pkl')",
        "join(environ.get('AZUREML_MODEL_DIR', '.'), 'model.pkl')",
        "Path(getenv('AZUREML_MODEL_DIR')) / 'model.pkl'",
        "Path(os.environ['AZUREML_MODEL_DIR'], 'model.pkl').resolve()",
        "Path(os.environ['AZUREML_MODEL_DIR']).joinpath('model.pkl').as_posix()",
        "os.environ['AZUREML_MODEL_DIR'] + '/model.pkl'",
        "f\"{os.environ['AZUREML_MODEL_DIR']}/model.pkl\"",
        "os.path.abspath(os.getenv('AZUREML_MODEL_DIR') + '/../1/model.pkl')",
        "str(Path(os.environ['AZUREML_MODEL_DIR']).parent / '1' / 'model.pkl')",
        "os.path.join(os.environ['AML_APP_ROOT'], 'azureml-models/m/1', 'model.pkl')",
        "os.path.join(os.environ['AZUREML_MODEL_DIR'], Path('/made/by/model.pkl').name)",
        "os.path.join(os.environ['AZUREML_MODEL_DIR'], os.path.basename('/made/by/model.pkl'))",
        "os.path.join(os.path.dirname(os.environ['AZUREML_MODEL_DIR'] + '/x'), 'model.pkl')",
        "os.path.normpath(os.environ['AZUREML_MODEL_DIR'] + '/./x/../model.pkl')",
        "os.fspath(Path(os.environ['AZUREML_MODEL_DIR']).absolute() / 'model.pkl')",
        "os.environ['AZUREML_MODEL_DIR'] + os.sep + 'model.pkl'",
    ],
)
def test_a_path_of_a_model_is_followed(path: str) -> None:
    assert paths(f"model = joblib.load({path})") == []
    wrong = path.replace("model.pkl", "other.pkl")
    # A path that does not say AZUREML_MODEL_DIR is the user's own affair.
    expected = [("model-path-missing", 1)] if "AZUREML_MODEL_DIR" in path else []
    assert paths(f"model = joblib.load({wrong})") == expected


def test_names_that_are_assigned_once_are_followed() -> None:
    text = """
folder = os.getenv("AZUREML_MODEL_DIR")
NAME = "other.pkl"
def init():
    global model
    path = os.path.join(folder, NAME)
    model = joblib.load(path)
"""
    assert paths(text) == [("model-path-missing", 6)]


@pytest.mark.parametrize(
    "text",
    [
        "d = os.environ['AZUREML_MODEL_DIR']\nd = '/elsewhere'\njoblib.load(d + '/x')",
        "def f(d):\n    joblib.load(os.path.join(d, 'x'))",
        "d = os.environ['AZUREML_MODEL_DIR']\nfor d in ['/a']:\n    joblib.load(d + '/x')",
        "joblib.load(os.path.join(os.environ['AZUREML_MODEL_DIR'], name))",
        "joblib.load(os.environ['AZUREML_MODEL_DIR'] + '/model_' + name)",
        "joblib.load(f\"{os.environ['AZUREML_MODEL_DIR']}/model_{name}\")",
        "joblib.load('{}/x'.format(os.environ['AZUREML_MODEL_DIR']))",
        "joblib.load('%s/x' % os.environ['AZUREML_MODEL_DIR'])",
        "import glob\nglob.glob(os.environ['AZUREML_MODEL_DIR'] + '/*.onnx')",
        "if os.path.exists(os.environ['AZUREML_MODEL_DIR'] + '/x'): pass",
        "p = os.environ['AZUREML_MODEL_DIR'] + '/x'\nif os.path.isfile(p):\n    joblib.load(p)",
        "p = Path(os.environ['AZUREML_MODEL_DIR']) / 'x'\nif p.exists():\n    joblib.load(p)",
        "joblib.load(os.path.join(os.environ['AZUREML_MODEL_DIR'], '/elsewhere/x'))",
        "os.listdir(os.environ['AZUREML_MODEL_DIR'])",
        *(
            f"joblib.load(os.path.join(os.environ['AZUREML_MODEL_DIR'], Path('/a/x.y').{each}))"
            for each in ("stem", "suffix")
        ),
        "joblib.load(str(Path(os.environ['AZUREML_MODEL_DIR'], 'x').with_suffix('.y')))",
        "import sys\nif sys.platform == 'win32':\n    open(os.environ['AZUREML_MODEL_DIR'] + '/x')",
        "os.environ['OTHER'] + '/x'",
    ],
)
def test_what_cannot_be_told_is_not_guessed(text: str) -> None:
    assert paths(text) == []


def test_the_finding_says_what_is_there() -> None:
    (finding,) = all_findings(HEAD + "joblib.load(os.path.join(os.environ['AZUREML_MODEL_DIR'], 'modle.pkl'))")
    assert finding.message == "AZUREML_MODEL_DIR/modle.pkl is not in the image; there is model.pkl"
    assert "did you mean 'model.pkl'" in (finding.remedy or "")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ("y", "there is b/y"),
        ("zy", "there are b/y, b/z"),
        ("edcba", "there are b/a, b/b, b/c, b/d, b/e"),
        ("gfedcba", "there are b/a, b/b, b/c, b/d, b/e and 2 more"),
    ],
)
def test_some_of_what_is_there_is_said(files: str, said: str) -> None:
    load = HEAD + "open(os.path.join(os.environ['AZUREML_MODEL_DIR'], 'b', 'lost'))"
    (finding,) = all_findings(load, models={("m", 1): "m/1/b"}, model_files=tuple(f"m/1/b/{each}" for each in files))
    assert finding.message.partition("; ")[2] == said


def test_with_several_models_paths_start_with_name_and_version() -> None:
    load = HEAD + "joblib.load(os.path.join(os.environ['AZUREML_MODEL_DIR'], {}))"
    assert all_findings(load.format("'m', '1', 'model.pkl'"), models=SEVERAL) == []
    assert all_findings(load.format("'text/2'"), models=SEVERAL) == []
    (finding,) = all_findings(load.format("'model.pkl'"), models=SEVERAL)
    assert "m/1/model.pkl, text/2/vocabulary.json" in finding.message
    assert (
        finding.remedy == "did you mean 'm/1/model.pkl'? with several models, paths in it start with <name>/<version>/"
    )


def test_folders_as_models() -> None:
    options = {"models": {("m", 1): "m/1/bundle"}, "model_files": ("m/1/bundle/a/x.json", "m/1/bundle/y.json")}
    load = "open(os.path.join(os.environ['AZUREML_MODEL_DIR'], 'bundle', {}))"
    assert paths(load.format("'a', 'x.json'"), **options) == []
    assert paths(load.format("'a'"), **options) == []
    assert paths(load.format("'x.json'"), **options) == [("model-path-missing", 1)]


def test_without_models_the_variable_is_not_set() -> None:
    assert paths("os.environ['AZUREML_MODEL_DIR']", models={}) == [("model-dir-unset", 1)]
    assert paths("os.getenv('AZUREML_MODEL_DIR')", models={}) == [("model-dir-unset", 1)]
    assert paths("os.getenv('AZUREML_MODEL_DIR', './models')", models={}) == []


# --- Model.get_model_path


def test_get_model_path_needs_azureml_core() -> None:
    text = "from azureml.core.model import Model\ndef init():\n    Model.get_model_path('m')"
    assert short(all_findings(text)) == [
        ("import-missing", "error", "score.py", 1),
        ("model-path-without-azureml-core", "error", "score.py", 3),
    ]
    assert all_findings(text, installed(**CORE)) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("'m'", None),
        ("'m', 1", None),
        ("model_name='m', version=1", None),
        ("'m', version=None", None),
        ("'lost'", "the spec has no model 'lost'"),
        ("'m', version=3", "the spec has the model 'm' in version 1, not 3"),
        ("name", None),
        ("'lost', version=number", None),
    ],
)
def test_get_model_path_is_held_against_the_spec(call: str, message: str | None) -> None:
    text = f"from azureml.core import Model\nModel.get_model_path({call})"
    found = all_findings(text, installed(**CORE), models=SEVERAL)
    assert [each.message for each in found] == ([message] if message else [])


def test_the_answer_of_get_model_path_is_followed() -> None:
    text = "import os\nfrom azureml.core.model import Model\nopen(os.path.join(Model.get_model_path('m'), {!r}))"
    options = {"models": {("m", 1): "m/1/bundle"}, "model_files": ("m/1/bundle/y.json",)}
    assert all_findings(text.format("y.json"), installed(**CORE), **options) == []
    found = all_findings(text.format("x.json"), installed(**CORE), **options)
    assert short(found) == [("model-path-missing", "warning", "score.py", 3)]


def test_the_highest_version_is_the_one_without_a_number() -> None:
    made = image({}, models={("m", 2): "m/2/a", ("m", 10): "m/10/b"})
    assert made.model_path("m", None) == "/var/azureml-app/azureml-models/m/10/b"
    assert made.model_path("m", 2) == "/var/azureml-app/azureml-models/m/2/a"
    assert made.model_path("m", 3) is None


# --- names that are gone


@pytest.mark.parametrize(
    ("text", "severity", "line"),
    [
        ("from sklearn.externals import joblib", "error", 1),
        ("import sklearn.externals.joblib", "error", 1),
        ("from sklearn.externals.six import StringIO", "error", 1),
        ("from sklearn.utils.testing import assert_equal", "error", 1),
        ("import numpy as np\nx = np.int", "error", 2),
        ("import numpy as np\ndef run(data):\n    return data.astype(np.float)", "error", 3),
        ("import numpy as np\ndef other(data):\n    return data.astype(np.float)", "warning", 3),
        ("from numpy import int", "error", 1),
        ("import collections\ncollections.Mapping", "error", 2),
        ("from collections import Mapping", "error", 1),
        ("import time\ntime.clock()", "error", 2),
        ("import numpy.linalg\nx = numpy.int", "error", 2),
        ("import numpy.linalg as np, numpy\nx = numpy.int", "error", 2),
        ("import numpy as np\ndef run(*data, **more):\n    return np.int", "error", 3),
    ],
)
def test_a_name_that_is_gone(text: str, severity: str, line: int) -> None:
    found = [each for each in all_findings(text) if each.rule == "api-removed"]
    assert short(found) == [("api-removed", severity, "score.py", line)]


@pytest.mark.parametrize(
    "text",
    [
        "import numpy as np\nx = np.int64, np.bool_, np.bool",
        "import numpy as np\nnp = object()\nx = np.int",
        "def run(np):\n    return np.int",
        *(f"import numpy as np\ndef run({each}):\n    return np.int" for each in ("*np", "**np", "*, np", "np, /")),
        "import numpy.linalg as np\nx = np.int",
        "import my.numpy\nx = my.int",
        "import numpy as np\ntry:\n    x = np.int\nexcept AttributeError:\n    x = int",
        "import numpy as np\nx = 'np.int'",
        "from collections.abc import Mapping",
        "import time\ntime.clock_gettime",
        "import pandas as pd\nx = pd.Panel",
    ],
)
def test_a_name_that_is_there_or_not_the_packages(text: str) -> None:
    assert [each for each in all_findings(text) if each.rule == "api-removed"] == []


def test_gone_names_are_dotted_and_say_what_to_do() -> None:
    assert all("." in name and gone.instead and gone.since for name, gone in GONE.items())


# --- hostile expressions

_PARTS = st.sampled_from(
    ["os.environ['AZUREML_MODEL_DIR']", "'x'", "'/'", "'..'", "a", "b", "Path(a)", "os.path.join(a, b)", "(a / b)",
     "(a + b)", "f'{a}{b}'", "str(a)", "Path(b).parent", "os.path.dirname(a)", "Path()", "os.path.join()", "'\\ud800'",
     "os.path.join(*a)", "os.environ[a]", "os.getenv(b, a)", "Path(a, x=b)", "'\\0'", "os.path.abspath(a)", "1", "None"]
)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from("abc"), _PARTS), max_size=8))
def test_no_expression_breaks_the_evaluation(lines: list[tuple[str, str]]) -> None:
    text = HEAD + "\n".join(f"{name} = {value}\nopen({value})" for name, value in lines)
    assert isinstance(all_findings(text), list)
