from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.checks.import_findings import import_findings, undecided
from packager.checks.installed import Installed, candidates, modules_of, provider, wheel_modules
from packager.checks.known_modules import is_standard
from packager.checks.module_facts import condition
from packager.environments.declare.import_names import PACKAGES
from tests.unit.check_images import all_findings, follow, image, installed, short


@pytest.mark.parametrize(
    "text",
    [
        "import os, json, numpy as np\nimport numpy.linalg\nfrom sklearn.linear_model import LinearRegression",
        "import azure.core\nfrom azure import core\nfrom azure.core import anything",
        "import six.moves.urllib",
        "from azureml.contrib.services.aml_request import AMLRequest, rawhttp",
        "from numpy._core import _multiarray\nimport numpy._core._multiarray",
        "try:\n    import cupy\nexcept ImportError:\n    cupy = None",
        "try:\n    import cPickle as pickle\nexcept:\n    import pickle",
        "from contextlib import suppress\nwith suppress(ImportError):\n    import cupy",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import cupy",
        "import typing as t\nif t.TYPE_CHECKING:\n    import cupy",
        "import sys\nif sys.platform == 'win32':\n    import winreg",
        "import sys\nif sys.platform.startswith('win'):\n    import winreg",
        "import os\nif os.name == 'nt':\n    import msvcrt",
        "import platform\nif platform.system() == 'Windows':\n    import winreg",
        "import sys\nif sys.version_info < (3, 11):\n    import tomli\nelse:\n    import tomllib",
        "import sys\nif sys.version_info[0] == 2:\n    import urllib2",
        "import sys\nif sys.version_info >= (3, 13): pass\nelse:\n    import imp",
        "if __name__ == '__main__':\n    import argparse, cupy",
        "x = '''\nimport cupy\n'''  # import cupy",
    ],
)
def test_what_will_work_is_not_found_fault_with(text: str) -> None:
    assert all_findings(text) == []


@pytest.mark.parametrize(
    ("text", "rule", "severity", "line"),
    [
        ("import cupy", "import-missing", "error", 1),
        ("\nimport cupy.sub.sub", "import-missing", "error", 2),
        ("from cupy import array", "import-missing", "error", 1),
        ("from cupy import *", "import-missing", "error", 1),
        ("from azure import storage", "import-missing", "error", 1),
        ("import azure.storage.blob", "import-missing", "error", 1),
        ("import numpy.lost", "import-missing", "warning", 1),
        ("import importlib\nimportlib.import_module('cupy')", "import-missing", "error", 2),
        ("__import__('cupy')", "import-missing", "error", 1),
        ("import importlib, os\nimportlib.import_module(os.environ['X'])", "import-dynamic", "info", 2),
        ("def helper():\n    import cupy", "import-missing", "warning", 2),
        ("def init():\n    import cupy", "import-missing", "error", 2),
        ("def run(data):\n    if data:\n        import cupy", "import-missing", "warning", 3),
        ("class A:\n    import cupy", "import-missing", "error", 2),
        ("try:\n    import cupy\nexcept ImportError:\n    raise", "import-missing", "error", 2),
        ("try:\n    import cupy\nexcept Exception as e:\n    print(e)", "import-missing", "warning", 2),
        ("try:\n    import cupy\nexcept ValueError:\n    pass", "import-missing", "error", 2),
        ("try:\n    import numpy\nexcept ImportError:\n    import cupy", "import-missing", "warning", 4),
        ("import random\nif random.random():\n    import cupy", "import-missing", "warning", 3),
        ("import distutils.version", "import-missing", "error", 1),
        ("import winreg", "import-missing", "error", 1),
        ("import utils", "import-hidden", "error", 1),
        ("from . import helper", "import-relative", "error", 1),
        ("from azureml.core.model import Model", "import-missing", "error", 1),
    ],
)
def test_what_will_fail_is_found(text: str, rule: str, severity: str, line: int) -> None:
    assert short(all_findings(text)) == [(rule, severity, "score.py", line)]


def test_a_package_that_is_known_by_another_name_is_named() -> None:
    (finding,) = all_findings("import cv2\nimport cv2.data")
    assert finding.remedy == "add opencv-python-headless to requirements.txt and run `packager lock`"
    assert "`packager lock`" in str(all_findings("from bs4 import BeautifulSoup")[0])
    assert "beautifulsoup4" in str(all_findings("from bs4 import BeautifulSoup")[0])
    assert "(my-own?)" in str(all_findings("import my_own")[0])


@pytest.mark.parametrize(
    ("locked", "says"), [({}, "add setuptools"), ({"setuptools": ("setuptools/__init__.py",)}, "`setuptools<81`")]
)
def test_a_setuptools_without_pkg_resources_is_told(locked: dict[str, tuple[str, ...]], says: str) -> None:
    (found,) = all_findings("import pkg_resources", installed(**locked))
    assert says in (found.remedy or "")


def test_the_remedy_for_azureml_core_is_the_variable() -> None:
    (finding,) = all_findings("from azureml.core.model import Model")
    assert "AZUREML_MODEL_DIR" in (finding.remedy or "")
    assert "azureml-core" in finding.message


def test_helpers_are_followed_and_their_lines_named() -> None:
    files = {
        "score.py": "from lib import a\nimport lib.b",
        "lib/__init__.py": "",
        "lib/a.py": "from . import c\nfrom .d import x",
        "lib/b.py": "import cupy",
        "lib/c.py": "from ..outside import y",
        "lib/d.py": "import lib.a\nimport lib.lost",
        "unused.py": "import nothing_of_it",
    }
    assert sorted(short(all_findings(files))) == [
        ("import-missing", "error", "lib/b.py", 1),
        ("import-missing", "error", "lib/d.py", 2),
        ("import-relative", "error", "lib/c.py", 1),
    ]


def test_relative_imports_go_up_as_many_packages_as_they_have_dots() -> None:
    files = {
        "score.py": "import a.b.c",
        "a/__init__.py": "",
        "a/up.py": "import cupy",
        "a/b/__init__.py": "",
        "a/b/beside.py": "import cudf",
        "a/b/c.py": "from ..up import x\nfrom .beside import y\nfrom ..b.lost import z",
    }
    assert sorted(short(all_findings(files))) == [
        ("import-missing", "error", "a/b/beside.py", 1),
        ("import-missing", "error", "a/b/c.py", 3),
        ("import-missing", "error", "a/up.py", 1),
    ]


def test_a_helper_of_a_function_is_only_possible() -> None:
    files = {"score.py": "def later():\n    import helper", "helper.py": "import cupy"}
    assert short(all_findings(files)) == [("import-missing", "warning", "helper.py", 1)]


def test_a_folder_without_init_is_a_package_too() -> None:
    files = {"score.py": "from lib import a\nfrom lib import lost\nimport data", "lib/a.py": "", "data/x.csv": ""}
    assert short(all_findings(files)) == [
        ("import-missing", "error", "score.py", 2),
        ("import-missing", "error", "score.py", 3),
    ]


def test_a_helper_beside_a_nested_script_is_not_on_the_path() -> None:
    files = {"x/y/score.py": "import helper\nfrom x.y import helper as same", "x/y/helper.py": ""}
    (finding,) = all_findings(files, entry="x/y/score.py")
    assert (finding.rule, finding.line) == ("import-missing", 1)
    assert "the script's own folder is not on sys.path" in finding.message
    assert "write `from x.y import helper`" in (finding.remedy or "")


@pytest.mark.parametrize(
    "change",
    [
        "sys.path.append(os.path.dirname(__file__))",
        "sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))",
        "here = os.path.dirname(os.path.realpath(__file__))\nsys.path.append(here)",
        "sys.path.append(str(pathlib.Path(__file__).resolve().parent))",
        "sys.path.append('x/y')",
        "sys.path += ['./x/y']",
        "sys.path.extend([os.path.join(os.environ['AML_APP_ROOT'], 'x', 'y')])",
    ],
)
def test_a_folder_that_the_script_puts_on_the_path_is_searched(change: str) -> None:
    files = {"x/y/score.py": f"import os, sys, pathlib\n{change}\nimport helper", "x/y/helper.py": "import cupy"}
    assert short(all_findings(files, entry="x/y/score.py")) == [("import-missing", "error", "x/y/helper.py", 1)]


def test_a_path_that_cannot_be_told_makes_it_a_warning() -> None:
    text = "import sys, os\nsys.path.append(os.environ['SOMEWHERE'])\nimport helper"
    (finding,) = all_findings(text)
    assert (finding.severity, finding.line) == ("warning", 3)
    assert "score.py:2" in finding.message


def test_pythonpath_of_the_spec_is_searched() -> None:
    files = {"score.py": "import helper", "lib/helper.py": ""}
    assert all_findings(files, environ={"PYTHONPATH": "/var/azureml-app/lib"}) == []


@pytest.mark.parametrize(("name", "severity"), [("utils", "error"), ("calendar", "warning"), ("numpy", "warning")])
def test_a_module_of_the_app_that_another_one_hides_is_told(name: str, severity: str) -> None:
    (finding,) = all_findings({"score.py": f"import {name}", f"{name}.py": ""})
    assert (finding.rule, finding.severity) == ("import-hidden", severity)
    assert f"src/{name}.py" in finding.message


def test_what_is_first_on_the_path_is_not_hidden() -> None:
    text = "import sys\nsys.path.insert(0, '.')\nimport utils"
    assert all_findings({"score.py": text, "utils.py": ""}) == []


def test_cycles_end() -> None:
    assert all_findings({"score.py": "import a", "a.py": "import b", "b.py": "import a, score"}) == []


@pytest.mark.parametrize(
    ("text", "rule", "severity"),
    [
        ("def (:", "source-syntax", "error"),
        ("x = '\x00'", "source-syntax", "error"),
        ("# coding: nothing-known\n", "source-syntax", "error"),
        ("x = " + "(" * 400 + ")" * 400, "source-syntax", "error"),
        ("x = 1\n" * (1 << 18), "source-unread", "info"),
    ],
)
def test_helpers_that_cannot_be_parsed(text: str, rule: str, severity: str) -> None:
    assert [each[:3] for each in short(all_findings({"score.py": "import a", "a.py": text}, python="3.11"))] == [
        (rule, severity, "a.py")
    ]


@pytest.mark.parametrize(("python", "told"), [("3.8", [("source-syntax", "error", "score.py")]), ("3.11", [])])
def test_an_entry_script_for_a_newer_python_than_the_images(python: str, told: list[tuple[str, ...]]) -> None:
    text = "def run(data):\n  match data:\n    case str(): return 1"
    assert [each[:3] for each in short(all_findings({"score.py": text}, python=python))] == told


def test_what_is_no_python_at_all_is_told_once() -> None:
    assert all_findings({"score.py": "def (:"}) == []  # by `check_entry_script`


def test_deep_helpers_are_left_unread_or_read() -> None:
    text = "x = " + "+".join(["1"] * 20_000)
    found = short(all_findings({"score.py": "import a", "a.py": text}))
    assert [each[0] for each in found] in ([], ["source-unread"])


def test_other_encodings_are_read() -> None:
    made = image({"score.py": ""})
    from packager.checks.reach import reach

    source = "# -*- coding: latin-1 -*-\nname = 'é'\nimport cupy\n".encode("latin-1")
    reached = reach(made, installed(), lambda _path: source)
    assert [each.line for each in import_findings(made, reached, "r", lambda _: None)] == [3]


def test_what_is_left_out_of_the_image_is_said_to_be() -> None:
    made, reached = follow({"score.py": "import helper"})
    (finding,) = import_findings(made, reached, "r", lambda name: f"src/{name}.py")
    assert "src/helper.py is not in the image" in finding.message


# --- packages that could not be looked into


def test_an_unknown_package_is_taken_for_what_its_name_says() -> None:
    packages = installed("scikit-learn", "google-cloud-storage", "numpy")
    made, reached = follow({"score.py": "import sklearn.x, numpy.y\nfrom google.cloud import storage"}, packages)
    assert undecided(reached) == ()
    assert list(import_findings(made, reached, "r", lambda _: None)) == []


def test_what_only_an_unknown_package_could_have_is_undecided() -> None:
    text = "import cupy\nimport azure.storage\ntry:\n  import x\nexcept ImportError: pass"
    made, reached = follow({"score.py": text}, installed("numpy"))
    assert undecided(reached) == ("azure.storage", "cupy")
    assert list(import_findings(made, reached, "r", lambda _: None)) == []


# --- wheels


def test_modules_are_read_from_a_record() -> None:
    paths = ["a/__init__.py", "a/b.py", "a/c.abi3.so", "a/d.cpython-313-x86_64-linux-gnu.so", "e.py", "../../bin/x.py",
             "a-1.dist-info/RECORD", "f/g/h.py", "a/data.txt", "a/__main__.py", "no-name.py", "/abs.py"]  # fmt: skip
    modules, packages = modules_of(paths)
    assert modules == {"a", "a.b", "a.c", "a.d", "e", "f.g.h"}
    assert packages == {"a"}
    wheel = wheel_modules(paths, {})
    assert wheel.namespaces == ("f", "f.g")


def test_parts_of_one_package_in_several_wheels() -> None:
    shared = wheel_modules(["p/__init__.py", "p/a.py"], {"p": "__path__ = extend_path(__path__, __name__)"})
    packages = Installed({"one": shared, "two": wheel_modules(["p/b.py"], {})})
    assert packages.is_namespace("p")
    assert packages.has("p.a")
    assert packages.has("p.b")
    regular = Installed({"one": wheel_modules(["p/__init__.py"], {}), "two": wheel_modules(["p/b.py"], {})})
    assert regular.has("p")
    assert not regular.is_namespace("p")


def test_names_of_packages() -> None:
    assert provider("sklearn.linear_model") == "scikit-learn"
    assert provider("azureml.core.model") == "azureml-core"
    assert provider("unheard_of") is None
    assert candidates("google.cloud.storage")[0] == "google-cloud-storage"
    assert all(name == name.lower() for name in PACKAGES.values())


@pytest.mark.parametrize(
    ("name", "python", "there"),
    [("imp", "3.11", True), ("imp", "3.12", False), ("cgi", "3.12", True), ("cgi", "3.13", False), ("os", "3.9", True),
     ("tomllib", "3.10", False), ("tomllib", "3.11", True), ("annotationlib", "3.14", True), ("msvcrt", "3.13", False),
     ("numpy", "3.13", False)],
)  # fmt: skip
def test_the_standard_library_of_each_python(name: str, python: str, there: bool) -> None:
    assert is_standard(name, python) is there


# --- conditions


def is_met(text: str, python: str) -> bool | None:
    return condition(
        ast.parse(text, mode="eval").body,
        python,
        lambda each: ast.unparse(each) if isinstance(each, ast.Name | ast.Attribute) else None,
    )


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">=", "==", "!="])
@pytest.mark.parametrize("right", ["(2,)", "(3,)", "(4,)", "(2, 7)", "(3, 11)", "(3, 12)", "(3, 13)", "(4, 0)"])
@pytest.mark.parametrize("minor", [11, 12, 13])
def test_a_condition_of_python_is_as_python_decides_it(minor: int, operator: str, right: str) -> None:
    known = {"versions": (3, minor, 2, "final", 0)}
    assert is_met(f"sys.version_info {operator} {right}", f"3.{minor}") is eval(f"versions {operator} {right}", known)
    major = right[1]
    assert is_met(f"sys.version_info[0] {operator} {major}", f"3.{minor}") is eval(f"3 {operator} {major}")


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("sys.platform == 'linux'", True),
        ("sys.platform != 'linux'", False),
        ("sys.platform == 'win32'", False),
        ("os.name != 'nt'", True),
        ("platform.system() == 'Linux'", True),
        ("sys.platform.startswith('lin')", True),
        ("sys.platform.startswith('win')", False),
        ("not TYPE_CHECKING", True),
        ("six.PY3 and os.name == 'posix'", True),
        ("six.PY3 and os.name == 'nt'", False),
        ("six.PY2 or os.name == 'posix'", True),
        ("six.PY2 or os.name == 'nt'", False),
        ("six.PY3 or mine", True),
        ("six.PY2 and mine", False),
        *((text, None) for text in ("mine", "not mine", "six.PY2 or mine", "six.PY3 and mine", "sys.platform == mine")),
        *((text, None) for text in ("sys.version_info > (3, 13, 1)", "sys.version_info[1] > 9", "3 < 4 < 5")),
        *(
            (text, None)
            for text in ("sys.version_info > (3, mine)", "sys.version_info[mine] > 2", "sys.platform < 'x'")
        ),
    ],
)
def test_other_conditions(text: str, met: bool | None) -> None:
    assert is_met(text, "3.13") is met


# --- hostile sources

_LINES = st.sampled_from(
    ["import a", "from a import b", "from . import a", "from .... import *", "import a.b.c as d",
     "sys.path.append(x)",
     "sys.path[0] = __file__", "try:\n  import a\nexcept: pass", "x = y = x", "x = x + '/'", "x: int = x", "x += x",
     "def f(x, *y, z=x): global x; x = x", "class x(x): import x", "import x", "for x in x: import a", "with x as x: x",
     "x = os.path.join(x, os.getenv('AZUREML_MODEL_DIR'))", "os.environ[x]", "os.getenv()",
     "Model.get_model_path()",
     "lambda x: x", "[x for x in x]", "(x := x)", "match x:\n  case [x, *y]: import a", "del x",
     "async def g(): await x",
     "import os, sys", "from azureml.core.model import Model", "f'{x}{x!r}{x:>{x}}'",
     "__import__('')", "__import__('..')",
     "import importlib\nimportlib.import_module('a..b')",
     "if sys.version_info > (3, 'x'): pass", "np.int.int.int"]
)  # fmt: skip


@given(st.lists(_LINES, max_size=12), st.lists(_LINES, max_size=6))
def test_no_source_breaks_the_check(script: list[str], helper: list[str]) -> None:
    files = {"score.py": "\n".join(script), "a/__init__.py": "\n".join(helper), "x.py": ""}
    for finding in all_findings(files):
        assert finding.file.startswith("src/")


@given(st.text(max_size=200))
def test_no_text_breaks_the_check(text: str) -> None:
    assert isinstance(all_findings({"score.py": "import a", "a.py": text.encode("utf-8", "replace").decode()}), list)


@given(st.lists(st.text(max_size=30), max_size=10))
def test_no_record_breaks_the_reading(paths: list[str]) -> None:
    wheel = wheel_modules(paths, {})
    assert all(part.isidentifier() for name in wheel.modules for part in name.split("."))


def test_packages_that_make_modules_when_they_are_loaded() -> None:
    texts = {"r.packages": "sys.modules['r.packages.u'] = u"}
    wheel = wheel_modules(
        ["r/__init__.py", "r/packages.py", "r/fast.abi3.so", "r/__pycache__/x.pyc", "r/old.pyc"], texts
    )
    packages = Installed({"r": wheel})
    for text in ("import r.packages.u.v", "from r.fast.inner import x", "import r.old"):
        assert all_findings(text, packages) == []
    assert short(all_findings("import r.other", packages)) == [("import-missing", "warning", "score.py", 1)]
    assert not packages.has("r.__pycache__.x")
