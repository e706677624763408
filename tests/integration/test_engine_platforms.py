"""BuildKit builds for another platform: refused where it would be wrong, and done under emulation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.conftest import PORT, Registry, RunPackager, missing, output
from tests.integration.test_pipeline import docker
from tests.integration.tiny import ANSWER, REQUEST

pytestmark = [pytest.mark.engine, pytest.mark.network]

ARM64 = ("--platform", "linux/arm64")
ENGINE = ("build", "--builder", "engine", "--progress", "plain")


@pytest.mark.parametrize("place", ["registry", "engine"])
def test_a_base_for_another_platform_is_refused_before_the_build(
    place: str, tiny: Path, registry: Registry, docker_config: Path, base_image: str, run_packager: RunPackager
) -> None:
    """The stand-in at the registry is no index, and BuildKit itself would call its amd64 files arm64."""
    base = base_image if place == "engine" else "docker.io/library/python:3.13-slim-trixie"
    environ = {"PACKAGER_REGISTRY_MIRROR": f"docker.io={registry.address}"}
    done = run_packager(*ENGINE, *ARM64, "--base", base, cwd=tiny, env=environ, check=False)
    assert done.returncode == 7
    assert f"the base {base} is not there for linux/arm64, only for linux/amd64" in done.stderr
    assert "[environment" not in done.stderr


@pytest.mark.long
def test_an_arm64_image_built_under_emulation_answers_as_the_amd64_one(
    tiny: Path, docker_config: Path, base_image: str, emulation: None, run_packager: RunPackager, removed: list[str]
) -> None:
    """On the arm64 stand-in that `scripts/engine` makes."""
    arm_base = f"{base_image}-arm64"
    if output("docker", "image", "inspect", arm_base) is None:
        missing(f"the base image {arm_base} is missing (run ./scripts/engine)")
    answers = {}
    for architecture, base in {"amd64": base_image, "arm64": arm_base}.items():
        image = f"packager-test/emulated:{architecture}"
        platform = ("--platform", f"linux/{architecture}")
        run_packager(*ENGINE, *platform, "--base", base, "-t", image, cwd=tiny, timeout=1800)
        words = ("run", image, "-p", f"0:{PORT}", "--detach", "--timeout", "600", "--format", "json")
        started = json.loads(run_packager(*words, cwd=tiny, timeout=900).stdout)
        removed += [started["container"], image]
        url = started["urls"]["score"]
        scored = run_packager("score", "--url", url, "--data", "-", stdin=REQUEST.decode(), timeout=300)
        answers[architecture] = json.loads(scored.stdout)
        code = "import os; print(os.uname().machine)"
        machine = docker("exec", started["container"], "/opt/env/bin/python", "-c", code)
        assert machine == {"amd64": "x86_64", "arm64": "aarch64"}[architecture]
        assert docker("image", "inspect", image, "--format", "{{.Architecture}}") == architecture
    assert answers == {"amd64": ANSWER, "arm64": ANSWER}
