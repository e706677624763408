from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from packager import errors
from packager.cli.failure import as_data, json_is_asked
from packager.errors import Location, PackagerError, SpecError

CLASSES = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, PackagerError)]


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "packager", *words], cwd=cwd, env={**os.environ}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip


def test_every_exit_code_has_one_name_and_every_name_one_code() -> None:
    pairs = {(each.exit_code, each.exit_name) for each in CLASSES}
    assert len(pairs) == len({code for code, _ in pairs}) == len({name for _, name in pairs}) == 9


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["plan", "--format", "json"], True),
        (["plan", "--format=json"], True),
        (["check", "--format", "text", "--format", "json"], True),
        (["check", "--format", "sarif"], False),
        (["plan", "--format"], False),
        (["plan", "json"], False),
        (["environment", "run", "--", "tool", "--format", "json"], False),
    ],
)
def test_json_is_asked_by_the_words(words: list[str], asked: bool) -> None:
    assert json_is_asked(words) is asked


def test_an_error_as_data_has_all_that_its_text_has() -> None:
    where = Location(file="packager.yaml", line=2, column=3, field="name")
    assert as_data(SpecError("is wrong", where=where, remedy="mend it")) == {
        "format": "packager.error/1",
        "error": {
            "kind": "SpecError", "exit_code": 2, "exit_name": "usage", "message": "is wrong", "file": "packager.yaml",
            "line": 2, "column": 3, "field": "name", "remedy": "mend it",
        },
    }  # fmt: skip


def test_what_is_not_of_packager_has_the_same_fields() -> None:
    shown = as_data(SpecError("x"))["error"]
    for error in (click.UsageError("no such option"), click.Abort(), KeyboardInterrupt()):
        assert as_data(error)["error"].keys() == shown.keys()
    assert as_data(KeyboardInterrupt())["error"]["exit_code"] == 130


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("plan", "--format", "json"), "usage"),
        (("check", "--format=json"), "usage"),
        (("lock", "--no-such-option", "--format", "json"), "usage"),
        (("biuld", "--format", "json"), "usage"),
    ],
)
def test_an_error_is_json_on_standard_output_and_text_for_people(
    words: tuple[str, ...], name: str, tmp_path: Path
) -> None:
    done = run(*words, cwd=tmp_path)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["exit_code"], error["exit_name"]) == (2, 2, name)
    assert error["message"].splitlines()[0] in done.stderr


def test_a_result_that_stands_there_stays_the_only_document(tmp_path: Path) -> None:
    """`check` shows its findings and ends with 5: readers get one document, not two."""
    (tmp_path / "packager.yaml").write_text("name: a\nversion: '1'\nentry_script: score.py\nenvironment: {pip: []}\n")
    done = run("check", "--offline", "--format", "json", cwd=tmp_path)
    assert done.returncode == 5
    assert isinstance(json.loads(done.stdout), list)
    assert "at or above 'error'" in done.stderr


def test_without_json_nothing_is_on_standard_output(tmp_path: Path) -> None:
    assert run("plan", cwd=tmp_path).stdout == ""


def test_a_reader_that_went_away_changes_neither_code_nor_text(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "packager", "plan", "--format", "json"], cwd=tmp_path, stdout=writing,
            stderr=subprocess.PIPE, text=True, timeout=120, check=False,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no such file\n")
    assert "Traceback" not in done.stderr
