"""Completion in the shells themselves: each loads what `packager completion` prints, and is asked as by a Tab."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import packager
from packager.cli import VERBS, cli
from packager.cli.completion import SHELLS
from packager.errors import EngineError
from packager.serving.hosts.choose import HOSTS
from packager.steps.service import service_names

SPEC = """\
name: mine
version: "1"
entry_script: score.py
environment: {pip: []}
targets: [cpu, gpu]
image: {repository: registry.example.com/mine}
"""

# The functions that only a shell's own completion has are written down: they show what they are given.
BASH = """\
source ./script
COMP_WORDS=(packager {words} '{last}')
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_packager_completion packager
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
ZSH = """\
compdef() {{ :; }}
source ./script
compadd() {{ print -l -- ${{(P)@[-1]}}; }}
_describe() {{ print -l -- ${{(P)3}}; }}
_files() {{ print -- files; }}
words=(packager {words} '{last}')
CURRENT=${{#words}}
_packager_completion
"""
FISH = """\
source ./script
complete -C 'packager {words} {last}'
"""
TEXTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
#: How a shell is told to read no start-up file.
PLAIN = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}

Ask = Callable[[str], set[str]]


@pytest.fixture(params=list(SHELLS))
def ask(request: pytest.FixtureRequest, tmp_path: Path) -> Ask:
    """Give what completes a line: its last word may be empty."""
    shell = str(request.param)
    if shutil.which(shell) is None:
        assert os.environ.get("CI") != "true", f"{shell} is not installed: scripts/test does it"
        pytest.skip(f"{shell} is not installed")
    program = tmp_path / "bin/packager"
    program.parent.mkdir()
    # As the program that pip installs: click knows by its name which variable asks for completion.
    program.write_text(f"#!{sys.executable}\nfrom packager.cli import main\n\nmain()\n")
    program.chmod(0o755)
    environ = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    environ["PYTHONPATH"] = str(Path(packager.__file__).parents[1])
    (tmp_path / "packager.yaml").write_text(SPEC)

    def run(*words: str) -> str:
        done = subprocess.run(
            words, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    (tmp_path / "script").write_text(run("packager", "completion", shell))

    def completed(line: str) -> set[str]:
        words, _, last = line.rpartition(" ")
        lines = run(shell, *PLAIN[shell], "-c", TEXTS[shell].format(words=words, last=last)).splitlines()
        return {each.partition("\t")[0].partition(":")[0] if shell != "bash" else each for each in lines if each}

    return completed


def test_a_shell_completes_verbs_options_and_names(ask: Ask) -> None:
    assert {"plan", "plan "} & ask("pl")
    assert set(VERBS) <= {each.strip() for each in ask("")}
    assert "--target" in {each.strip() for each in ask("plan --ta")}
    assert ask("plan --target ") == {"cpu", "gpu"}
    assert ask("environment show skl") == {"sklearn"}
    assert ask("target show arm") == {"arm-edge"}
    assert ask("check --format s") == {"sarif"}


def complete(*words: str, last: str = "") -> set[str]:
    """What click answers to a shell."""
    environ = {"_PACKAGER_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["packager", *words, last])}
    environ["COMP_CWORD"] = str(len(words) + 1)
    done = CliRunner().invoke(cli, [], env=environ, prog_name="packager")
    assert done.exit_code == 0, done
    return {line.partition(",")[2] for line in done.stdout.splitlines() if line}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "packager.yaml").write_text(SPEC)
    return tmp_path


def test_images_are_those_of_the_spec(folder: Path) -> None:
    expected = {"registry.example.com/mine:1-cpu", "registry.example.com/mine:1-gpu"}
    for verb in ("run", "push", "pull", "inspect"):
        assert complete(verb) == expected
    assert complete("service", "deploy", "name") == expected


def test_the_named_spec_is_looked_at(folder: Path) -> None:
    (folder / "other.yaml").write_text(SPEC.replace("[cpu, gpu]", "[fpga]"))
    assert complete("plan", "-f", "other.yaml", "--target") == {"fpga"}


@pytest.mark.parametrize("text", [None, "name: [", "name: a\n"])
def test_without_a_whole_spec_every_target_is_there_and_nothing_is_said(folder: Path, text: str | None) -> None:
    (folder / "packager.yaml").unlink()
    if text is not None:
        (folder / "packager.yaml").write_text(text)
    assert {"cpu", "gpu", "arm-edge"} <= complete("plan", "--target")
    assert complete("run") == set()


def test_schemas(folder: Path) -> None:
    assert {"spec", "config"} <= complete("schema")


class _Host:
    def __init__(self, *found: str) -> None:
        self.found = found

    def names(self) -> tuple[str, ...]:
        if not self.found:
            raise EngineError("is off")
        return self.found


def test_services_without_an_engine_are_those_of_this_machine(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    assert len(HOSTS) == 2
    monkeypatch.setattr("packager.steps.service.HOSTS", (_Host("b", "a"), _Host()))
    assert service_names() == ("a", "b")
    for words in (("service", "logs"), ("service", "delete"), ("score", "--service")):
        assert complete(*words) == {"a", "b"}
