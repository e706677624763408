"""Images of targets on real parts: gpu, fpga and a user's own, by BuildKit, and their plain contexts by Debian's buildah.

No GPU, no card and no vendor's base can be had here: all stand on the Python image of `scripts/engine`, for gpu and the
user's target as `--base`, for fpga as `base:` of the spec; it comes from the tests' registry as a mirror of docker.io.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.integration.conda_server import ChannelServer
from tests.integration.conftest import Registry, RunPackager, missing, output
from tests.integration.test_pipeline import docker

pytestmark = [pytest.mark.engine, pytest.mark.network]

PYTHON = "docker.io/library/python:3.13-slim-trixie"
NAME = "packager-test-targets"
# The channel is on this machine, and the build's steps are in containers.
ENGINE = ("--builder", "engine", "--network", "host", "--progress", "plain")
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
    system_packages: [libgomp1]
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
    authfile: Path


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
    authfile = folder.parent / "auth.json"
    word = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
    authfile.write_text(json.dumps({"auths": {registry.address: {"auth": word}}}))
    environ = {"PACKAGER_REGISTRY_MIRROR": f"docker.io={registry.address}"}
    with ChannelServer(conda_channel) as server:
        text = SPEC.format(name=NAME, channel=f"{server.url}/forge", python=PYTHON)
        (folder / "packager.yaml").write_text(text)
        run_packager("target", "new", "mine", "--from", "cpu", cwd=folder)
        (folder / "templates/mine.Dockerfile.j2").write_text(TEMPLATE)
        run_packager("lock", "-q", cwd=folder, env=environ)
        yield Package(folder, environ, authfile)


def base_of(target: str) -> tuple[str, ...]:
    return () if target == "fpga" else ("--base", PYTHON)


@pytest.fixture(scope="module")
def images(package: Package, run_packager: RunPackager) -> Iterator[dict[str, str]]:
    """Target → reference of the image that BuildKit made of it."""
    found = {target: f"{NAME}:1-{target}" for target in TARGETS}
    for target in TARGETS:
        words = ("build", *ENGINE, *base_of(target), "--target", target)
        run_packager(*words, cwd=package.folder, env=package.environ)
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
    words = ("run", images[target], "-p", "0:5001", "--detach", "--format", "json", "--no-devices")
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
    done = run_packager("run", images[target], "-p", "0:5001", "--detach", cwd=package.folder, check=False)
    if done.returncode == 0:
        docker("rm", "--force", *re.findall(r"docker rm --force (\S+)", done.stderr))
        pytest.skip(f"this machine has what the target {target} asks for")
    assert done.returncode in (2, 7)
    assert says in done.stderr
    assert "--no-devices" in done.stderr


# --- plain contexts ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The start of every command of Debian's buildah, with a storage of its own."""
    if os.geteuid() != 0 or shutil.which("buildah") is None:
        missing("buildah is not here, or not for this user (as root on Debian, ./scripts/engine installs it)")
    storage = tmp_path_factory.mktemp("buildah")
    words = ["buildah", "--root", str(storage / "root"), "--runroot", str(storage / "run")]
    works = output(*words, "--storage-driver", "overlay", "info") is not None
    words += ["--storage-driver", "overlay" if works else "vfs"]
    yield words
    subprocess.run([*words, "rm", "--all"], capture_output=True, check=False)
    subprocess.run([*words, "rmi", "--all", "--force"], capture_output=True, check=False)


@pytest.mark.parametrize("target", ["gpu", "mine"])
def test_buildah_makes_the_same_of_a_plain_context(
    target: str, package: Package, images: dict[str, str], buildah: list[str], tmp_path: Path, run_packager: RunPackager
) -> None:
    context = tmp_path / "context"
    words = ("save", "--dialect", "plain", "--target", target, *base_of(target), "-o", context)
    run_packager(*words, cwd=package.folder, env=package.environ)
    run_packager("verify", context)
    # As HANDOFF.md has it, but for what is this machine's: its storage, its kernel, its registry without TLS.
    (section,) = re.findall(r"^## Build\n\n((?:    .*\n)+)", (context / "HANDOFF.md").read_text(), re.M)
    command = textwrap.dedent(section)
    assert command.startswith("buildah bud --layers --format docker ")
    machine = ["bud", "--isolation", "chroot", "--runtime", "runc", "--tls-verify=false", "--authfile"]
    start = " ".join([*buildah, *machine, str(package.authfile)])
    done = subprocess.run(
        ["sh", "-ec", command.replace("buildah bud", start)],
        cwd=context, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    archive = tmp_path / "image.tar"
    subprocess.run([*buildah, "push", "--quiet", f"{NAME}:1-{target}", f"docker-archive:{archive}"], check=True)
    with archive.open("rb") as stream:
        plain = image_of(stream)
    whole = buildkit_image(images[target])
    assert {path for path in plain.files if "site-packages/six" in path} or target == "gpu"
    assert any(path.startswith("var/azureml-app/azureml-models/") for path in plain.files)
    assert plain.files == whole.files
    assert len(plain.config["Env"]) > 10
    for field in ("Env", "Entrypoint", "User", "WorkingDir", "ExposedPorts", "Healthcheck"):
        assert plain.config[field] == whole.config[field], field
    assert (
        whole.config["Labels"].items()
        >= {name: value for name, value in plain.config["Labels"].items() if not name.startswith("io.buildah.")}.items()
    )


def test_a_private_index_is_mounted_and_in_no_layer(
    package: Package, buildah: list[str], tmp_path: Path, run_packager: RunPackager
) -> None:
    """A context with no package to fetch but pip's half; the index that the mounted file names is the one that is asked."""
    context = tmp_path / "context"
    words = ("save", "--dialect", "plain", "--target", "mine", "--base", PYTHON, "-o", context)
    run_packager(*words, cwd=package.folder, env=package.environ)
    assert '--volume "$PWD/pip.conf:/etc/pip.conf:ro"' in (context / "HANDOFF.md").read_text()
    canary = "canary-of-the-index"
    (tmp_path / "pip.conf").write_text(f"[global]\nretries = 0\nindex-url = http://me:{canary}@127.0.0.1:9/simple\n")
    machine = ("bud", "--isolation", "chroot", "--runtime", "runc", "--tls-verify=false")
    done = subprocess.run(
        [*buildah, *machine, "--authfile", str(package.authfile), "--layers", "--no-cache",
         "--volume", f"{tmp_path}/pip.conf:/etc/pip.conf:ro", str(context)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "127.0.0.1:9" in done.stdout + done.stderr or "No matching distribution" in done.stdout + done.stderr
    assert canary not in done.stdout + done.stderr
    root = Path(buildah[buildah.index("--root") + 1])
    assert not [path for path in root.rglob("pip.conf") if path.is_file() and canary in path.read_text()]


class Image(NamedTuple):
    """What is above the base: path → (kind, mode, owner, time, content's digest or link); and the configuration."""

    files: dict[str, tuple[object, ...]]
    config: dict[str, Any]


@functools.cache
def buildkit_image(reference: str) -> Image:
    saved = subprocess.run(["docker", "save", reference], capture_output=True, check=True).stdout
    return image_of(io.BytesIO(saved))


def image_of(stream: Any) -> Image:
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(fileobj=stream) as outer:
        manifest = json.loads(member(outer, "manifest.json"))[0]
        config = json.loads(member(outer, manifest["Config"]))["config"]
        for name in manifest["Layers"][1:]:  # the first is the base
            with tarfile.open(fileobj=outer.extractfile(name), mode="r:") as layer:
                for each in layer:
                    content = layer.extractfile(each) if each.isreg() else None
                    what = hashlib.sha256(content.read()).hexdigest() if content else each.linkname
                    owner = (each.uid, each.gid)
                    # buildah writes the kind of a file into the mode, too.
                    path = each.name.removeprefix("./").rstrip("/")
                    found[path] = (each.type, each.mode & 0o7777, owner, each.mtime, what)
    return Image(found, config)


def member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    assert stream is not None
    return stream.read()
