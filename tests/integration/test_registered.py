"""Specs that name what is registered: built, tested, served; a model outside the image; and no workspace any more."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from packager.serving.hosts.docker.engine import DockerHost
from packager.workspace.folder import FolderWorkspace
from packager.workspace.values import Content, Version
from tests.integration.conftest import NO_ENGINE, Registry, RunPackager
from tests.integration.test_pipeline import docker
from tests.integration.tiny import ANSWER, REQUEST, SCRIPT, SPEC

pytestmark = [pytest.mark.engine, pytest.mark.network]

MODELS = """\
workspace: ./shared/ws
models:
  - registered: weights
  - {registered: "bias:1", name: shift, delivery: volume}
test:
  - {name: sums, request: %s, expect: {body: %s}}
"""
BASE = ("--builder", "oci", "--base", "docker.io/library/python:3.13-slim-trixie")
LOADS = """\
    folder = Path(os.environ["AZUREML_MODEL_DIR"])
    model = json.loads((folder / "weights/2/weights.json").read_text())
    model["bias"] = json.loads((folder / "shift/1/bias/value.json").read_text())
"""


class Package:
    """The tiny package, whose models are registered in a workspace beside it."""

    def __init__(self, run: RunPackager, folder: Path, env: dict[str, str]) -> None:
        self.run_packager, self.folder, self.env = run, folder, env
        self.workspace = FolderWorkspace(folder / "shared/ws")
        self.reference = f"packager-test/registered:{secrets.token_hex(4)}"

    def register(self, name: str, path: str, data: Any) -> None:
        file = self.folder / "new.json"
        file.write_text(json.dumps(data))
        self.workspace.add(Version(kind="model", name=name), [Content(path=path, origin=file)])
        file.unlink()

    def run(self, *words: str, code: int = 0, env: dict[str, str] | None = None) -> str:
        done = self.run_packager(*words, cwd=self.folder, env={**self.env, **(env or {})}, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def image(self) -> Any:
        return json.loads(docker("image", "inspect", self.reference))[0]


@pytest.fixture(scope="module")
def package(
    locked_tiny: Path,
    registry: Registry,
    docker_config: Path,
    run_packager: RunPackager,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Package]:
    folder = Path(shutil.copytree(locked_tiny, tmp_path_factory.mktemp("registered") / "tiny"))
    shutil.rmtree(folder / "models")
    start, rest = SPEC.split("models:\n")[0], SPEC.partition("python: ")[2]
    more = MODELS % (REQUEST.decode(), json.dumps(ANSWER))
    (folder / "packager.yaml").write_text(f"{start}{more}python: {rest}")
    own = next(line for line in SCRIPT.splitlines(keepends=True) if "AZUREML_MODEL_DIR" in line)
    (folder / "src/score.py").write_text(SCRIPT.replace(own, LOADS))
    env = {"PACKAGER_REGISTRY_MIRROR": f"docker.io={registry.address}", "PACKAGER_WORKSPACE": ""}
    found = Package(run_packager, folder, env)
    found.register("weights", "weights.json", {"weights": [0.0, 0.0]})
    found.register("weights", "weights.json", {"weights": [1.5, -2.25]})
    found.register("bias", "bias/value.json", 0.125)
    found.run("lock", "--offline")
    found.run("build", *BASE, "--load", "-t", found.reference)
    yield found
    docker("image", "rm", "--force", found.reference)


def test_an_image_of_registered_models_without_the_one_that_is_mounted(package: Package) -> None:
    lock = json.loads((package.folder / "packager.lock").read_text())
    versions = {version.id: version.digest for version in package.workspace.versions("model")}
    assert lock["registered"]["models"] == {
        "bias:1": {"version": 1, "digest": versions["bias:1"]},
        "weights": {"version": 2, "digest": versions["weights:2"]},
    }
    labels = package.image["Config"]["Labels"]
    told = {each["name"]: each for each in json.loads(labels["packager.models"])}
    assert told["weights"]["delivery"] == "image"
    assert told["bias"] == {
        "name": "bias",
        "version": 1,
        "digest": versions["bias:1"],
        "delivery": "volume",
        "path": "/var/azureml-app/azureml-models/shift/1",
    }
    script = "import os; print(sorted(os.listdir('/var/azureml-app/azureml-models')))"
    assert (
        docker("run", "--rm", "--entrypoint", "/opt/env/bin/python", package.reference, "-c", script) == "['weights']"
    )
    # Started as in production, asked, and answered with both.
    assert "1 passed" in package.run("test", "--image", package.reference)
    (record,) = [each for each in package.workspace.images() if each.reference == package.reference]
    assert {(held.name, held.version, held.digest) for held in record.models} == {
        ("weights", 2, versions["weights:2"]),
        ("bias", 1, versions["bias:1"]),
    }
    assert (record.package, record.pushed) == ("tiny:1", False)


@pytest.mark.skipif(sys.platform != "linux", reason="--no-docker is for Linux")
def test_without_docker_it_is_a_link_in_the_package(package: Package, tmp_path: Path) -> None:
    here = Package(package.run_packager, Path(shutil.copytree(package.folder, tmp_path / "here")), package.env)
    spec = here.folder / "packager.yaml"
    own = f'python: "{sys.version_info.major}.{sys.version_info.minor}"'
    spec.write_text(spec.read_text().replace('python: "3.13"', own).replace(", linux/arm64", ""))
    here.run("lock", env=NO_ENGINE)
    assert "1 passed" in here.run("test", "--no-docker", env=NO_ENGINE)


def test_a_service_mounts_it_and_no_collection_takes_it(package: Package, tmp_path: Path) -> None:
    name = f"t-{secrets.token_hex(4)}"
    package.run("service", "deploy", name, package.reference, "-p", "0:5001")
    try:
        package.run("service", "update", name, "-e", "A=1")
        (current,) = json.loads(docker("inspect", f"packager_{name}_current"))
        (mount,) = current["Mounts"]
        assert (mount["Type"], mount["RW"]) == ("bind", False)
        assert mount["Destination"] == "/var/azureml-app/azureml-models/shift/1"
        source = Path(mount["Source"])
        assert source.parent.name == "registered"
        blob = source.parent.parent / "store/sha256"
        digest = hashlib.sha256((source / "bias/value.json").read_bytes()).hexdigest()
        assert os.path.samefile(source / "bias/value.json", blob / digest[:2] / digest), "it is no copy"
        assert str(source) in DockerHost().mounted(), "by which a collection knows that it is used"
        request = tmp_path / "request.json"
        request.write_bytes(REQUEST)
        assert json.loads(package.run("service", "score", name, "--data", str(request), "-q")) == ANSWER
    finally:
        package.run("service", "delete", name)


def test_the_workspace_goes_and_the_build_is_repeated_from_the_store(package: Package) -> None:
    first = package.image["Id"]
    shared, away = package.folder / "shared", package.folder / "away"
    shared.rename(away)
    try:
        docker("image", "rm", package.reference)
        said = package.run("build", *BASE, "--load", "-t", package.reference)
        assert f"warning: {package.reference} is not remembered in the workspace" in said
        assert package.image["Id"] == first
    finally:
        away.rename(shared)


def test_an_image_of_elsewhere_says_what_it_wants(package: Package, tmp_path: Path) -> None:
    elsewhere = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_DATA_HOME": str(tmp_path / "data")}
    spec = package.folder / "packager.yaml"
    away = tmp_path / "spec.yaml"
    spec.rename(away)
    try:
        run = ("run", package.reference, "-p", "0:5001", "--detach", "--format", "json")
        said = package.run(*run, code=6, env=elsewhere)
        assert "bias:1 (sha256:" in said
        assert "is not on this machine" in said
        found = package.run(*run, "-q", env={**elsewhere, "PACKAGER_WORKSPACE": str(package.workspace.root)})
        docker("rm", "--force", json.loads(found)["name"])
    finally:
        away.rename(spec)


def test_a_registry_is_the_workspace_until_this_machine_has_the_content(
    package: Package, registry: Registry, tmp_path: Path
) -> None:
    place = f"oci://{registry.address}/packager-test/ws-{secrets.token_hex(4)}"
    here = Package(package.run_packager, Path(shutil.copytree(package.folder, tmp_path / "here")), package.env)
    (here.folder / "packager.lock").unlink()
    spec = here.folder / "packager.yaml"
    spec.write_text(spec.read_text().replace("./shared/ws", place))
    (tmp_path / "weights.json").write_text(json.dumps({"weights": [secrets.randbits(40)]}))
    (tmp_path / "bias").mkdir()
    (tmp_path / "bias/value.json").write_text(json.dumps(secrets.randbits(40)))
    here.run("model", "register", "-n", "weights", "-p", str(tmp_path / "weights.json"))
    here.run("model", "register", "-n", "bias", "-p", str(tmp_path / "bias"))
    elsewhere = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    here.run("lock", env=elsewhere)
    assert "taking weights:1 from the workspace" in here.run("plan", env=elsewhere)
    here.run("model", "register", "-n", "weights", "-p", str(tmp_path / "bias/value.json"))
    assert "weights:1 is locked; weights:2 is there" in here.run("lock", "--check", env=elsewhere)
    spec.write_text(spec.read_text().replace(place, "oci://127.0.0.1:9/nowhere"))
    assert "weights:1 sha256:" in here.run("plan", env=elsewhere)
