"""The pipelines of `packager ci`, run here as their systems would: with an engine, and without one."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from packager.steps.ci import System
from tests.integration.conftest import NO_ENGINE, Registry, RunPackager, output
from tests.integration.tiny import ANSWER, REQUEST

pytestmark = [pytest.mark.engine, pytest.mark.network, pytest.mark.long]


@pytest.fixture
def folder(tiny: Path, registry: Registry, run_packager: RunPackager) -> Path:
    """The tiny package with a test, in a repository of its own, which goes to the registry."""
    spec = tiny / "packager.yaml"
    place = f"{registry.address}/packager-test/ci-{secrets.token_hex(4)}"
    text = spec.read_text().replace("registry.example.com/ml/tiny", place).replace(", linux/arm64", "")
    test = f"{{name: sums, request: {REQUEST.decode()}, expect: {{body: {json.dumps(ANSWER)}}}}}"
    spec.write_text(f"{text}test: [{test}]\n")
    run_packager("lock", "--offline", cwd=tiny)
    for words in (("init", "-q"), ("add", "."), ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all")):
        assert output("git", "-C", str(tiny), *words) is not None
    return tiny


def run(folder: Path, script: str, env: dict[str, str], tmp_path: Path) -> str:
    """Run a script with what an agent gives it, in which `pip install` finds packager there already."""
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    for name, line in (("packager", f'exec "{sys.executable}" -m packager "$@"'), ("pip", "")):
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    given = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", **env}
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=given, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def pipeline(run_packager: RunPackager, folder: Path, system: System) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(run_packager("ci", system, cwd=folder).stdout)
    return found


def is_pushed(run_packager: RunPackager, images: Path) -> str:
    """The digest of the one image that is named, which its registry has."""
    (image,) = images.read_text().split()
    assert run_packager("inspect", image).stdout
    return image.partition("@")[2]


@pytest.mark.usefixtures("docker_config")
def test_with_an_engine_and_without_one_it_is_one_image(
    folder: Path, run_packager: RunPackager, registry: Registry, tmp_path: Path, removed: list[str]
) -> None:
    env = {
        "PACKAGER_REGISTRY_MIRROR": f"docker.io={registry.address}",
        "PACKAGER_BASE": "docker.io/library/python:3.13-slim-trixie",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "UV_CACHE_DIR": output("uv", "cache", "dir") or "",
        "PACKAGER": "packager",
    }
    files, outputs = tmp_path / "temp", tmp_path / "outputs"
    files.mkdir()
    for step in pipeline(run_packager, folder, "github")["jobs"]["package"]["steps"]:
        said = run(
            folder, step.get("run", ""), {**env, "RUNNER_TEMP": str(files), "GITHUB_OUTPUT": str(outputs)}, tmp_path
        )
        assert step.get("name") != "Test" or "1 passed" in said
    assert json.loads((files / "check.sarif").read_text())["version"] == "2.1.0"
    assert 'tests="1"' in (files / "report.xml").read_text()
    images = (files / "images").read_text()
    removed += [images.partition("@")[0]]
    assert outputs.read_text() == f"images<<END\n{images}END\n"

    found = pipeline(run_packager, folder, "gitlab")
    job = found["package tiny"]
    # Where it keeps files would be in a container of its own; and this machine has not the package's Python.
    own, lines = str(tmp_path / "gitlab"), [*job["before_script"], *job["script"]]
    script = "\n".join(each for each in lines if " --no-docker " not in each).replace("/tmp/packager", own)
    branch = {
        "CI_COMMIT_BRANCH": "main",
        "CI_DEFAULT_BRANCH": "main",
        "CI_PROJECT_DIR": str(folder),
        "REGISTRY_AUTH": "",
    }
    said = run(folder, script, {**env, **NO_ENGINE, **branch}, tmp_path)
    assert "--no-test: what is pushed was not tested" in said
    run(folder, "\n".join(job["after_script"]).replace("/tmp/packager", own), branch, tmp_path)
    assert is_pushed(run_packager, folder / "images") == is_pushed(run_packager, files / "images")
    assert output("git", "-C", str(folder), "status", "--porcelain") == "?? images", "nothing else made it dirty"
