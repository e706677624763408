"""The README's console examples print what it says they print; `…` stands for what differs from run to run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conda_server import ChannelServer
from tests.integration.conftest import Registry

pytestmark = [pytest.mark.engine, pytest.mark.network]


def sections(checkout: Path, kind: str = "") -> Iterator[list[tuple[str, str]]]:
    """The commands of each console block of a kind, with their output."""
    for block in re.findall(rf"```console{kind}\n(.*?)```", (checkout / "README.md").read_text(), re.S):
        commands = re.split(r"^\$ ", block, flags=re.M)[1:]
        yield [(command, output) for command, _, output in (each.partition("\n") for each in commands)]


def matches(expected: str, printed: str) -> bool:
    pattern = ".*?".join(re.escape(part) for part in expected.split("…"))
    return re.fullmatch(pattern, printed, re.S) is not None


@pytest.fixture
def folder(tmp_path: Path, checkout: Path) -> Path:
    return Path(shutil.copytree(checkout / "examples/diabetes", tmp_path / "diabetes"))


def test_every_example(folder: Path, checkout: Path, base_image: str, registry: Registry, docker_config: Path) -> None:
    assert registry.address == "127.0.0.1:5000", "the README names this one"
    first, *others = sections(checkout)
    assert len(others) > 10
    kept = folder.parent / "kept"
    shutil.copytree(folder, kept)
    for name in ("packager.yaml", "packager.lock"):
        (folder / name).unlink()
    shutil.rmtree(folder / "locks")
    try:
        for command, output in first:
            run(folder, command, output, base_image)
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        for section in others:
            for command, output in section:
                run(folder, command, output, base_image)
    finally:
        run_quietly("service", "delete", "progress")
        subprocess.run(["docker", "rm", "--force", "first", "second"], capture_output=True, check=False)
        made = ("diabetes:1", "diabetes:latest", "127.0.0.1:5000/ml/diabetes:1")
        subprocess.run(["docker", "image", "rm", "--force", *made], capture_output=True, check=False)


def test_the_conda_examples(
    folder: Path, checkout: Path, channel_server: ChannelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACKAGER_CHANNEL_MIRROR", f"conda-forge={channel_server.url}/forge")
    (text,) = re.findall(r"```yaml environment.yml\n(.*?)```", (checkout / "README.md").read_text(), re.S)
    (folder / "environment.yml").write_text(text)
    spec = folder / "packager.yaml"
    spec.write_text(re.sub(r"(?m)^environment: .*", "environment: environment.yml", spec.read_text()))
    (folder / "packager.lock").unlink()
    shutil.rmtree(folder / "locks")
    (section,) = sections(checkout, " conda")
    for command, output in section:
        run(folder, command, output)


def run_quietly(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "packager", *words], capture_output=True, check=False)


def run(folder: Path, command: str, output: str, base: str | None = None) -> None:
    words = shlex.split(command)
    assert words[0] == "packager"
    # The pinned base is at a public registry; tests have a stand-in for it.
    words += ["--base", base] if base and words[1] == "build" else []
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env={**os.environ, "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}"
    printed = done.stdout if done.stdout.endswith("\n") or not done.stdout else done.stdout + "\n"
    assert matches(output, printed), f"$ {command}\n{printed}"


def test_the_spec_of_the_readme_is_valid(checkout: Path) -> None:
    from packager.spec import parse_spec

    (text,) = re.findall(r"```yaml\n(.*?)```", (checkout / "README.md").read_text(), re.S)
    assert parse_spec(text, Path("packager.yaml")).spec.name == "diabetes"
