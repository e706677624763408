"""Every `--help` has examples that can be run as they stand, and the exit codes that the verb can end with."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from packager import errors
from packager.cli import cli
from packager.cli.examples import MEANINGS, VERB_HELP, WORDS


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = {" ".join(path): command for path, command in commands(cli)}


@pytest.mark.parametrize("verb", ALL)
def test_the_help_of_every_verb_has_an_example_and_its_exit_codes(verb: str) -> None:
    shown = CliRunner().invoke(cli, [*verb.split(), "--help"]).output

    assert re.search(rf"^ +Examples:\n +packager {verb}\b", shown, re.MULTILINE) or isinstance(ALL[verb], click.Group)
    assert re.search(r"^ +Examples:\n +packager ", shown, re.MULTILINE)
    assert re.search(r"^ +Exit codes: 0 done; ", shown, re.MULTILINE)


def test_no_text_of_help_is_of_a_verb_that_is_not_there() -> None:
    assert set(VERB_HELP) <= set(ALL)


@pytest.mark.parametrize("example", [each for examples, _ in VERB_HELP.values() for each in examples])
def test_examples_are_commands_that_can_be_typed(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "request.json").write_text("{}")
    program, *words = shlex.split(example.partition(" > ")[0])
    if program != "packager":
        assert program == "docker"
        return
    verb = " ".join(words[:2]) if " ".join(words[:2]) in ALL else words[0]
    command = ALL[verb]
    rest = words[len(verb.split()) :]
    if isinstance(command, click.Group):
        assert rest == []
        return
    # Reads options, and gives each its type; nothing is called.
    with command.make_context(verb, rest):
        pass


def test_the_exit_codes_are_those_of_the_errors() -> None:
    classes = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.PackagerError)
    ]

    assert {each.exit_code for each in classes} | {0, 130} == set(MEANINGS)
    assert {code for _, codes in VERB_HELP.values() for code in codes} <= set(MEANINGS)


def test_the_words_that_are_our_own_are_explained() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output

    for word in WORDS:
        assert re.search(rf"^  {word} ", shown, re.MULTILINE), word
    assert "First steps:\n  packager init\n" in shown
    assert max(map(len, shown.splitlines())) <= 80
