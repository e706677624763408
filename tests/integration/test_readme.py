"""Console examples of README.md and docs/ print what they say they print; `…` stands for what differs from run to run.

The examples of a page run one after the other in a copy of examples/diabetes that is the page's own.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conda_server import ChannelServer
from tests.integration.conftest import Registry

pytestmark = [pytest.mark.engine, pytest.mark.network]

ROOT = Path(__file__).parents[2]
CONDA = "docs/how-to/conda.md"


def examples(page: str) -> list[tuple[str, str]]:
    """The commands of a page's console blocks, with their output."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / page).read_text(), re.S)
    sessions = [part.partition("\n") for block in blocks for part in re.split(r"^\$ ", block, flags=re.M)[1:]]
    return [(command, output) for command, _, output in sessions]


PAGES = ["README.md", *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md")))]
SHOWN = [page for page in PAGES if examples(page)]


def matches(expected: str, printed: str) -> bool:
    pattern = ".*?".join(re.escape(part) for part in expected.split("…"))
    return re.fullmatch(pattern, printed, re.S) is not None


@pytest.fixture
def folder(tmp_path: Path, checkout: Path) -> Path:
    return Path(shutil.copytree(checkout / "examples/diabetes", tmp_path / "diabetes"))


def clean_up() -> None:
    run_quietly(sys.executable, "-m", "packager", "service", "delete", "progress")
    run_quietly("docker", "rm", "--force", "--volumes", "first", "second")
    run_quietly(
        *("docker", "image", "rm", "--force", "diabetes:1", "diabetes:latest", "127.0.0.1:5000/ml/diabetes:1"),
        *("registry.example.com/ml/diabetes:1", "registry.example.com/ml/diabetes:latest"),
    )


def test_the_examples_are_where_readers_look_for_them() -> None:
    assert {"README.md", "docs/getting-started.md", CONDA} <= set(SHOWN)
    assert len(SHOWN) > 10


@pytest.mark.usefixtures("docker_config")
@pytest.mark.parametrize("page", [page for page in SHOWN if page != CONDA])
def test_the_examples(page: str, folder: Path, base_image: str, registry: Registry) -> None:
    assert registry.address == "127.0.0.1:5000", "the pages name this one"
    if examples(page)[0][0] == "packager init":
        without_lock(folder)
        (folder / "packager.yaml").unlink()
    try:
        for command, output in examples(page):
            run(folder, command, output, base_image)
    finally:
        if any(command.startswith("packager build") for command, _ in examples(page)):
            clean_up()


def test_the_conda_examples(folder: Path, channel_server: ChannelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKAGER_CHANNEL_MIRROR", f"conda-forge={channel_server.url}/forge")
    (text,) = re.findall(r'```yaml title="environment.yml"\n(.*?)```', (ROOT / CONDA).read_text(), re.S)
    (folder / "environment.yml").write_text(text)
    spec = folder / "packager.yaml"
    spec.write_text(re.sub(r"(?m)^environment: .*", "environment: environment.yml", spec.read_text()))
    without_lock(folder)
    for command, output in examples(CONDA):
        run(folder, command, output)


def without_lock(folder: Path) -> None:
    (folder / "packager.lock").unlink()
    shutil.rmtree(folder / "locks")


def run_quietly(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=False)


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
    # Which a busy machine says.
    printed = re.sub(r"^  [^:\n]+: \d.* (s|left|in all)\n", "", printed, flags=re.M)
    if command == "packager service list":
        # Of this machine: other tests have services, too, and columns are as wide as the longest.
        own = [" ".join(line.split()) for line in printed.splitlines() if line.split()[:1] == output.split()[:1]]
        output, printed = " ".join(output.split()), "\n".join(own)
    assert matches(output, printed), f"$ {command}\n{printed}"
