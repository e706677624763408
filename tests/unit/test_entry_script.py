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
