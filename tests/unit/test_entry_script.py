from __future__ import annotations

import pytest

from packager.checks.entry_script import check_entry_script, defines_contract

INIT = "def init():\n    pass\n"


def rules(text: str) -> list[tuple[str, str, int | None]]:
    return [(finding.rule, finding.severity, finding.line) for finding in check_entry_script(text, "score.py")]


@pytest.mark.parametrize(
    "run",
    [
        "def run(data): ...",
        "def run(data, request_headers): ...",
        "def run(request_headers, data): ...",
        "def run(data, flag=True): ...",
        "def run(*, data): ...",
        "@rawhttp\ndef run(request): ...",
        "@input_schema('a', x)\n@input_schema('b', y)\n@output_schema(z)\ndef run(a, b): ...",
        "@schema.input_schema('a', x)\ndef run(a, b): ...",
        "if x:\n    def run(data): ...\nelse:\n    def run(data): ...",
        "try:\n    import y\nexcept ImportError:\n    def run(data): ...",
        "from other import run",
        "from other import *",
        "run = make()",
        "@input_schema(param_name='data', param_type=x)\ndef run(data): ...",
        "@input_schema(NAME, x)\ndef run(data): ...",
        "@input_schema('parameters', x, optional=True)\ndef run(data): ...",
        "@input_schema('parameters', x, convert_to_provided_type=False)\ndef run(data): ...",
        "from IPython import get_ipython\nget_ipython()\ndef run(data): ...",
        "try:\n    get_ipython().run_line_magic('x', '')\nexcept NameError:\n    pass\ndef run(data): ...",
        "try:\n    get_ipython()\nexcept (KeyError, NameError):\n    pass\ndef run(data): ...",
        "try:\n    get_ipython()\nexcept:\n    pass\ndef run(data): ...",
        "def run(data):\n    display = str\n    return display(data)",
        "hook = lambda: get_ipython()\ndef run(data): ...",
    ],
)
def test_what_the_server_accepts_is_accepted(run: str) -> None:
    assert rules(INIT + run) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def run(data): ...", [("entry-init-missing", "error", None)]),
        (INIT, [("entry-run-missing", "error", None)]),
        ("", [("entry-init-missing", "error", None), ("entry-run-missing", "error", None)]),
        ("def init(x): ...\ndef run(data): ...", [("entry-init-parameters", "error", 1)]),
        ("def init(*, x): ...\ndef run(data): ...", [("entry-init-parameters", "error", 1)]),
        (INIT + "def run(): ...", [("entry-run-parameters", "error", 3)]),
        (INIT + "def run(request_headers): ...", [("entry-run-parameters", "error", 3)]),
        (INIT + "def run(*args): ...", [("entry-run-parameters", "error", 3)]),
        (INIT + "def run(data, **kwargs): ...", [("entry-run-parameters", "error", 3)]),
        (INIT + "def run(data, /): ...", [("entry-run-parameters", "error", 3)]),
        (INIT + "def run(a, b): ...", [("entry-run-parameters", "error", 3)]),
        (INIT + "@mine\ndef run(a, b): ...", [("entry-run-parameters", "warning", 4)]),
        (INIT + "@rawhttp\n@input_schema('a', b)\ndef run(a): ...", [("entry-run-parameters", "error", 5)]),
        (INIT + "async def run(data): ...", [("entry-run-async", "error", 3)]),
        (INIT + "@input_schema('param', x)\ndef run(data): ...", [("entry-run-parameters", "error", 4)]),
        (INIT + "@input_schema(param_type=x, param_name='p')\n@output_schema(y)\ndef run(data): ...",
         [("entry-run-parameters", "error", 5)]),
        (INIT + "@s.input_schema('a', x)\n@s.input_schema('c', x)\ndef run(a, b): ...",
         [("entry-run-parameters", "error", 5)]),
        (INIT + "def run(data): ...\nget_ipython().system('pip install x')", [("notebook-name", "error", 4)]),
        (INIT + "def run(data):\n    display(data)", [("notebook-name", "warning", 4)]),
        (INIT + "def run(data): ...\nif data:\n    get_ipython()", [("notebook-name", "warning", 5)]),
        (INIT + "def run(data): ...\nmatch data:\n    case 1:\n        get_ipython()",
         [("notebook-name", "warning", 6)]),
        (INIT + "def run(data): ...\ntry:\n    get_ipython()\nexcept mine.Error: ...",
         [("notebook-name", "error", 5)]),
        (INIT + "def run(data): ...\ntry:\n    get_ipython()\nexcept ImportError: ...",
         [("notebook-name", "error", 5)]),
        ("def init(:\n", [("entry-syntax", "error", 1)]),
        ("class X:\n    def init(self): ...\n    def run(self): ...",
         [("entry-init-missing", "error", None), ("entry-run-missing", "error", None)]),
        ("x = '\x00'", [("entry-syntax", "error", None)]),
    ],
)  # fmt: skip
def test_what_it_refuses_is_found(text: str, found: list[tuple[str, str, int | None]]) -> None:
    assert rules(text) == found


def test_init_may_have_defaults() -> None:
    assert rules("def init(x=1, *, y=2): ...\ndef run(data): ...") == []


def test_a_script_is_never_run() -> None:
    assert rules(INIT + "def run(data): ...\nraise SystemExit('was run')\n") == []


def test_candidates_define_both() -> None:
    assert defines_contract(INIT + "def run(data): ...")
    assert not defines_contract(INIT)
    assert not defines_contract("def init(:")


@pytest.mark.parametrize(("line", "told"), [("%matplotlib inline", True), ("!pip install x", True), ("x = = 1", False)])
def test_a_line_of_a_notebook_is_said_to_be_one(line: str, told: bool) -> None:
    (found,) = check_entry_script(f"import os\n{line}\n", "score.py")
    assert (found.rule, found.line) == ("entry-syntax", 2)
    assert ("notebook's" in (found.remedy or "")) is told


def test_the_parameter_that_run_has_is_named() -> None:
    (found,) = check_entry_script(INIT + "@input_schema('param', x)\ndef run(data): ...", "score.py")
    assert "'param', and run() has 'data'" in found.message
    assert "@input_schema('data', …)" in (found.remedy or "")
