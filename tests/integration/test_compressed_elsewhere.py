"""The compressed bytes of layers on another processor and another Python than the one that runs the tests."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.integration.conftest import Engine, missing, output
from tests.integration.test_oci_environment import ARM_BASE, TAGS
from tests.integration.test_pipeline import docker
from tests.unit.compression_sample import DIGESTS


@pytest.mark.network
@pytest.mark.parametrize("platform", TAGS)
def test_the_same_bytes_elsewhere(
    platform: str, engine: Engine, emulation: None, base_image: str, checkout: Path, tmp_path: Path
) -> None:
    """In a container of the platform, without a network: packager's own compression, under Python 3.13."""
    image = ARM_BASE if platform == "linux/arm64" else base_image
    if output("docker", "image", "inspect", image) is None:
        missing(f"the base image {image} is missing (run ./scripts/engine)")
    wheels = ("--only-binary=:all:", f"--python-platform={TAGS[platform]}", "--python-version=3.13")
    # The versions that are here: others would have digests of their own.
    asked = [f"{name}=={version(name)}" for name in ("deflate", "zstandard", "msgspec")]
    subprocess.run([find_uv_bin(), "pip", "install", "-q", *wheels, f"--target={tmp_path}", *asked], check=True)
    mounts = (
        f"--volume={checkout}:/packager:ro",
        f"--volume={tmp_path}:/wheels:ro",
        "--env=PYTHONPATH=/packager:/wheels",
    )
    words = ("--rm", "--network=none", f"--platform={platform}", "--env=PYTHONPATH=/packager:/wheels", *mounts, image)
    said = docker("run", *words, "python3", "-B", "-m", "tests.unit.compression_sample")
    assert dict(line.split() for line in said.splitlines()) == DIGESTS
