"""Advice can be followed as it stands: the verbs and options that texts of ours name are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import packager
from packager.cli import cli
from packager.laying.wheels import explain_unpack

PACKAGE = Path(packager.__file__).parent
_COMMAND = re.compile(r"packager ((?:[a-z][a-z-]* )+)[^`;\n]*?(--[a-z][a-z-]+)")


def commands() -> Iterator[tuple[str, str, str]]:
    """Yield file, words and option of each `packager VERB … --option` that a text of ours holds."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            text = ""
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            elif isinstance(node, ast.JoinedStr):
                text = "".join(str(each.value) if isinstance(each, ast.Constant) else "X" for each in node.values)
            for words, option in _COMMAND.findall(text):
                yield path.name, words, option


def options(words: str) -> set[str]:
    command: click.Command | None = cli
    context = click.Context(cli)
    for word in words.split():
        if isinstance(command, click.Group) and (found := command.get_command(context, word)) is not None:
            command = found
    assert command not in (None, cli), f"no verb packager {words}"
    return {each for parameter in command.params for each in (*parameter.opts, *parameter.secondary_opts)}


def test_options_that_our_texts_name_exist() -> None:
    found = set(commands())
    assert len(found) > 10
    lost = {(file, words, option) for file, words, option in found if option not in {*options(words), "--help"}}
    assert lost == set()


@pytest.mark.parametrize(
    ("stderr", "says"),
    [
        ("error: Hash mismatch for `six==1.17.0`", "`packager lock --upgrade six`"),
        (
            "error: Failed to install: six-1.0.whl (six==1.0)\n  cause: The wheel is invalid",
            "packager build --builder engine",
        ),
    ],
)
def test_a_wheel_that_cannot_be_laid_down(stderr: str, says: str) -> None:
    assert says in str(explain_unpack(stderr, platform="linux/amd64", python="3.13").remedy)
