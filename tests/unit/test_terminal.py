"""Colours and tables: on a terminal, and nowhere else."""

from __future__ import annotations

import io
from collections.abc import Mapping

import pytest
from click.testing import CliRunner

from packager.cli import cli
from packager.cli.common import Reporter, emit
from packager.cli.terminal import is_coloured, painted, styled, table, terminal_width, wrapped

RED, GREEN, YELLOW, CYAN = ("\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m")
END = "\x1b[0m"


class Stream(io.StringIO):
    """A stream that is a terminal, or none."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize(
    ("terminal", "environ", "coloured"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {}, True),
        (False, {"TERM": "xterm"}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True),
        (False, {"FORCE_COLOR": "1"}, True),
        (True, {"TERM": "dumb", "FORCE_COLOR": "3"}, True),
        (False, {"FORCE_COLOR": "0"}, False),
        (False, {"FORCE_COLOR": ""}, False),
        (True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_where_text_is_coloured(terminal: bool, environ: Mapping[str, str], coloured: bool) -> None:
    assert is_coloured(Stream(terminal), environ) is coloured


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("error: no such file", f"{RED}error:{END} no such file"),
        ("Error: No such option", f"{RED}Error:{END} No such option"),
        ("warning: old", f"{YELLOW}warning: old{END}"),
        ("  to do: mend it", f"  {CYAN}to do:{END} mend it"),
        ("ok    iris (12 ms)", f"{GREEN}ok{END}    iris (12 ms)"),
        ("FAIL  iris (12 ms)", f"{RED}FAIL{END}  iris (12 ms)"),
        ("a/score.py:3: error import-missing: no", f"a/score.py:3: {RED}error{END} import-missing: no"),
        ("score.py: warning model-main: x", f"score.py: {YELLOW}warning{END} model-main: x"),
        ("Dockerfile:1: info DL3008: x", f"Dockerfile:1: {CYAN}info{END} DL3008: x"),
    ],
)
def test_what_is_coloured(line: str, shown: str) -> None:
    assert painted(line) == shown
    assert painted(f"before\n{line}\nafter") == f"before\n{shown}\nafter"


@pytest.mark.parametrize(
    "line", ["healthy after 2 s", "ok, done", "the error: x", "http://a/b: error", "", "okay    x"]
)
def test_what_is_not(line: str) -> None:
    assert painted(line) == line


def test_a_colour_ends_with_its_line() -> None:
    assert styled("a\n\nb", "red") == f"{RED}a{END}\n\n{RED}b{END}"


def test_what_others_wrote_colours_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    emit("FAIL  \x1b[32mok", paint=True)
    Reporter().warn("\x1b[32mx")
    Reporter().step("FAIL  a")
    shown = capsys.readouterr()
    assert shown.out == f"{RED}FAIL{END}  \\x1b[32mok\n"
    assert shown.err == f"{YELLOW}warning: \\x1b[32mx{END}\n{RED}FAIL{END}  a\n"


def test_results_are_plain_where_nobody_asked_for_colours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    emit("FAIL  x", paint=True)
    Reporter().warn("x")
    assert capsys.readouterr() == ("FAIL  x\n", "warning: x\n")


ROWS = (("base", "docker.io/library/python:3.13-slim-trixie", "at its registry"), ("app", "the app", "3 files"))


def test_a_table_is_whole_where_there_is_no_terminal() -> None:
    assert table(ROWS, indent="  ") == [
        "  base  docker.io/library/python:3.13-slim-trixie  at its registry",
        "  app   the app                                    3 files",
    ]
    assert table(()) == []


@pytest.mark.parametrize("width", [66, 60, 40, 30])
def test_a_table_fits_the_terminal(width: int) -> None:
    lines = table(ROWS, indent="  ", width=width)
    assert max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines] == ["base", "app"]
    assert ("…" in lines[0]) is (width < 66)
    if width == 60:
        assert lines[0] == "  base  docker.io/library…:3.13-slim-trixie  at its registry", "both ends tell most"


def test_the_columns_of_a_table_stay_readable_on_the_narrowest_terminal() -> None:
    assert table([("a" * 30, "b" * 30)], width=5) == ["aaa…aaaa  bbb…bbbb"]


def test_the_width_is_that_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "47")
    assert terminal_width(Stream(terminal=True)) == 47
    assert terminal_width(Stream(terminal=False)) is None


def test_descriptions_are_broken_between_words_on_a_terminal_alone() -> None:
    text = "scikit-learn with numpy and pandas, for models of tables"
    assert wrapped(text, indent="  ") == f"  {text}"
    assert wrapped(text, indent="  ", width=30) == "  scikit-learn with numpy and\n  pandas, for models of tables"


def test_an_error_of_the_command_line_is_coloured_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    from packager.cli import _say

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = Stream(terminal=False)
    monkeypatch.setattr("sys.stderr", stream)
    assert _say("error: no\n  to do: yes", 3) == 3
    assert stream.getvalue() == f"{RED}error:{END} no\n  {CYAN}to do:{END} yes\n"


def test_the_help_has_no_colours() -> None:
    assert "\x1b" not in CliRunner(env={"FORCE_COLOR": "1"}).invoke(cli, ["--help"]).output
