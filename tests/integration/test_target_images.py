"""Images of targets on real parts: gpu and fpga by the builder without an engine, a user's own target by BuildKit.

No GPU, no card and no vendor's base can be had here: all stand on the Python image of `scripts/engine`, for gpu and the
user's target as `--base`, for fpga as `base:` of the spec; it comes from the tests' registry as a mirror of docker.io.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.integration.conda_server import ChannelServer
from tests.integration.conftest import PORT, Registry, RunPackager
from tests.integration.test_pipeline import docker

pytestmark = [pytest.mark.engine, pytest.mark.network]

PYTHON = "docker.io/library/python:3.13-slim-trixie"
NAME = "packager-test-targets"
TARGETS = ("gpu", "fpga", "mine")

SPEC = """\
name: {name}
version: "1"
entry_script: score.py
source_dir: src
environment: {{channels: ["{channel}"], pip: [six]}}
conda: {{installer_base: "{python}"}}
models: [{{path: models/net.json, version: 3}}]
env: {{WHERE: anywhere}}
targets:
  gpu:
    environment: {{remove: [six], add: {{conda: [python=3.13, fastmath]}}}}
    env: {{WHERE: on a GPU}}
  fpga:
    base: "{python}"
    environment: {{add: {{conda: [python=3.13, fastmath]}}}}
    virtual_packages: {{__glibc: "2.41"}}
    host: {{xrt: "2.13.466"}}
    models: [{{path: models/dpu.xclbin}}, {{path: models/net.xmodel, name: net, version: 4}}]
  mine: {{}}
"""
SCRIPT = """\
import json
import os
from pathlib import Path


def init():
    pass


def run(data):
    asked = json.loads(data)
    found = {name: os.environ.get(name) for name in asked["env"]}
    try:
        from fastmath import VARIANT as variant
    except ImportError:
        variant = None
    models = Path(os.environ["AZUREML_MODEL_DIR"])
    return {
        "env": found,
        "starts": {name: Path(found[name]).read_bytes()[:7].decode() for name in asked["files"]},
        "models": sorted(str(each.relative_to(models)) for each in models.rglob("*") if each.is_file()),
        "variant": variant,
        "uid": os.getuid(),
    }
"""
TEMPLATE = """\
{% extends "cpu.Dockerfile.j2" %}
{% block user %}
USER 4711:4711
{% endblock %}
{% block labels %}
{{ super() }}
LABEL team="{{ plan.name }}"
{% endblock %}
"""


class Package(NamedTuple):
    """The locked package of three targets, and what a machine needs for its builds."""

    folder: Path
    environ: dict[str, str]


@pytest.fixture(scope="module")
def package(
    conda_channel: Path,
    registry: Registry,
    docker_config: Path,
    run_packager: RunPackager,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Package]:
    folder = tmp_path_factory.mktemp("targets") / "package"
    for name in ("src", "models"):
        (folder / name).mkdir(parents=True)
    (folder / "src/score.py").write_text(SCRIPT)
    (folder / "models/net.json").write_text("{}")
    (folder / "models/dpu.xclbin").write_bytes(b"xclbin2\0a bitstream")
    (folder / "models/net.xmodel").write_bytes(b"a compiled model")
    environ = {"PACKAGER_REGISTRY_MIRROR": f"docker.io={registry.address}"}
    with ChannelServer(conda_channel) as server:
        text = SPEC.format(name=NAME, channel=f"{server.url}/forge", python=PYTHON)
        (folder / "packager.yaml").write_text(text)
        run_packager("target", "new", "mine", "--from", "cpu", cwd=folder)
        (folder / "templates/mine.Dockerfile.j2").write_text(TEMPLATE)
        run_packager("lock", "-q", cwd=folder, env=environ)
        yield Package(folder, environ)


def base_of(target: str) -> tuple[str, ...]:
    return () if target == "fpga" else ("--base", PYTHON)


@pytest.fixture(scope="module")
def images(package: Package, run_packager: RunPackager) -> Iterator[dict[str, str]]:
    """Target → reference of its image; the user's own template makes it BuildKit's."""
    found = {target: f"{NAME}:1-{target}" for target in TARGETS}
    for target in TARGETS:
        words = ("build", *base_of(target), "--target", target, "--compression", "none", "--load")
        done = run_packager(*words, cwd=package.folder, env=package.environ)
        assert f"builder: {'engine' if target == 'mine' else 'oci'} (" in done.stderr
    yield found
    subprocess.run(["docker", "image", "rm", "--force", *found.values()], capture_output=True, check=False)


EXPECTED: dict[str, dict[str, Any]] = {
    "gpu": {
        "env": {
            "NVIDIA_VISIBLE_DEVICES": "all",
            "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
            "NVIDIA_REQUIRE_CUDA": "cuda>=12.8",
            "WHERE": "on a GPU",
            "AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/net/3",
        },
        "starts": {},
        "models": ["net.json"],
        "variant": "cuda",
        "uid": 1000,
    },
    "fpga": {
        "env": {
            "XLNX_VART_FIRMWARE": "/var/azureml-app/azureml-models/dpu/0/dpu.xclbin",
            "PACKAGER_XMODEL": "/var/azureml-app/azureml-models/net/4/net.xmodel",
            "WHERE": "anywhere",
            "AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models",
        },
        "starts": {"XLNX_VART_FIRMWARE": "xclbin2", "PACKAGER_XMODEL": "a compi"},
        "models": ["dpu/0/dpu.xclbin", "net/4/net.xmodel"],
        "variant": "cpu",
        "uid": 1000,
    },
    "mine": {
        "env": {"WHERE": "anywhere", "NVIDIA_VISIBLE_DEVICES": None},
        "starts": {},
        "models": ["net.json"],
        "variant": None,
        "uid": 4711,
    },
}


@pytest.mark.parametrize("target", TARGETS)
def test_the_entry_script_sees_what_the_target_promises(
    target: str, package: Package, images: dict[str, str], run_packager: RunPackager
) -> None:
    expected = EXPECTED[target]
    words = ("run", images[target], "-p", f"0:{PORT}", "--detach", "--format", "json", "--no-devices")
    started = json.loads(run_packager(*words, cwd=package.folder).stdout)
    try:
        asked = json.dumps({"env": list(expected["env"]), "files": list(expected["starts"])})
        url = started["urls"]["score"]
        assert json.loads(run_packager("score", "--url", url, "--data", "-", stdin=asked).stdout) == expected
    finally:
        docker("rm", "--force", started["container"])
    labels = json.loads(docker("image", "inspect", images[target], "--format", "{{json .Config.Labels}}"))
    assert labels["packager.target"] == target
    assert labels.get("packager.xrt") == ("2.13.466" if target == "fpga" else None)
    assert labels.get("team") == (NAME if target == "mine" else None)


@pytest.mark.parametrize(("target", "says"), [("gpu", "gpu"), ("fpga", "/dev/xclmgmt")])
def test_without_the_device_a_start_says_what_is_missing(
    target: str, says: str, package: Package, images: dict[str, str], run_packager: RunPackager
) -> None:
    done = run_packager("run", images[target], "-p", f"0:{PORT}", "--detach", cwd=package.folder, check=False)
    if done.returncode == 0:
        docker("rm", "--force", *re.findall(r"docker rm --force --volumes (\S+)", done.stderr))
        pytest.skip(f"this machine has what the target {target} asks for")
    assert done.returncode in (2, 7)
    assert says in done.stderr
    assert "--no-devices" in done.stderr
