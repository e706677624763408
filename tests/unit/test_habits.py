"""What hands type that know other tools: it is understood, or it is said what does that here."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner, Result

import packager
from packager.cli import ELSEWHERE, VERBS, cli


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def commands(command: click.Command = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command, with its path in words."""
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    with click.Context(command) as context:
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from commands(child, (*path, name))


COMMANDS = dict(commands())


@pytest.mark.parametrize(
    ("words", "same"),
    [
        (("help",), ("--help",)),
        (("help", "build"), ("build", "--help")),
        (("help", "service", "deploy"), ("service", "deploy", "--help")),
        (("help", "service"), ("service", "--help")),
        (("help", "lock", "--help"), ("lock", "--help")),
        (("version",), ("--version",)),
    ],
)
def test_help_and_version_are_understood(words: tuple[str, ...], same: tuple[str, ...]) -> None:
    found, meant = run(*words), run(*same)
    assert (found.exit_code, found.output) == (0, meant.output)
    assert found.output.strip()


def test_help_of_what_is_no_verb() -> None:
    done = run("help", "biuld")
    assert done.exit_code == 2
    assert "Did you mean 'build'?" in done.output


def test_version_is_ours() -> None:
    assert run("version").output == f"packager {packager.__version__}\n"


@pytest.mark.parametrize(
    ("word", "there"),
    [("logs", "packager service logs NAME"),
     ("login", "docker login REGISTRY"), ("Serve", "packager run"), ("prune", "packager store gc")],
)  # fmt: skip
def test_words_of_other_tools_lead_to_ours(word: str, there: str) -> None:
    done = run(word, "x", "--y")
    assert done.exit_code == 2
    assert f"No such verb {word!r}. Here it is: {there}" in done.output


def test_every_such_word_leads_to_a_command_that_there_is() -> None:
    assert not set(ELSEWHERE) & {*VERBS, "help", "version"}
    for there in ELSEWHERE.values():
        words = there.rpartition("packager ")[2].split()
        if "docker" in there.split():
            continue
        path = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in COMMANDS), None)
        assert path, there
        options = {name for each in COMMANDS[path].params for name in each.opts}
        assert {each for each in words if each.startswith("-") and each != "--"} <= options, there


def test_a_short_option_means_one_thing() -> None:
    """A letter stands for one long name in every verb; what it meant before is hidden, and said to end.

    The verbs of models and environments have the letters of `az ml`, whose users they are for; so have those of
    services that are there for its names.
    """
    v1 = ("run", "get-logs", "get-keys", "regen-key", "get-access-token")
    found: dict[str, set[tuple[str, ...]]] = {}
    for name, command in COMMANDS.items():
        if name.partition(" ")[0] in ("model", "environment") or name in [f"service {each}" for each in v1]:
            continue
        for option in command.params:
            short = [each for each in option.opts if not each.startswith("--") and each.startswith("-")]
            if isinstance(option, click.Option) and not option.hidden:
                for each in short:
                    found.setdefault(each, set()).add(tuple(sorted(set(option.opts) - {each})))
    assert {short: names for short, names in found.items() if len(names) != 1} == {}
    assert found["-p"] == {("--publish",)}
    assert found["-o"] == {("--output",)}


def test_minus_o_is_a_path_in_every_verb() -> None:
    for name, command in COMMANDS.items():
        for option in command.params:
            if "-o" in option.opts:
                with click.Context(command) as context:
                    shown = option.make_metavar(context)
                assert shown.partition("|")[0] in ("DIR", "FILE", "PATH"), name


def test_the_old_short_form_of_prefix_is_said_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[object]()
    monkeypatch.setattr("packager.spec.load.load_spec", lambda file: file)
    monkeypatch.setattr(
        "packager.steps.environment.run_in_environment", lambda *words, prefix, **more: asked.append(str(prefix))
    )
    old = run("environment", "run", "-p", "env", "--", *shlex.split("python -p 1"))
    assert "warning: -p is --publish, and its use for --prefix will end: write --prefix" in old.output
    new = run("environment", "run", "--prefix", "env", "--", "python", "-p", "1")
    assert "warning" not in new.output
    assert asked == ["env", "env"]
