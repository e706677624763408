"""examples/fleet: its files are written by its own script, and each is run where it can be here. It takes minutes."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from packager.deployment.aci import filled, places
from tests.integration.conftest import Registry, RunPackager, missing, output
from tests.integration.podman import Podman
from tests.integration.serving_package import ask
from tests.integration.units import command_of, require_units, run_unit, services_of

pytestmark = [pytest.mark.engine, pytest.mark.network, pytest.mark.long]

PACKAGES = ("diabetes", "iris")
KEY = "a-key-of-this-test-alone"


@pytest.fixture(scope="module")
def fleet(
    checkout: Path,
    registry: Registry,
    docker_config: Path,
    base_archive: Path,
    index: None,
    run_packager: RunPackager,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The example with the files that its script writes, of images that were pushed."""
    folder = Path(shutil.copytree(checkout / "examples/fleet", tmp_path_factory.mktemp("fleet") / "fleet"))
    repository = f"{registry.address}/packager-test/fleet-{secrets.token_hex(4)}"
    for package in PACKAGES:
        tag = f"{repository}/{package}:1"
        run_packager("build", "-f", package, "--base", f"oci-archive:{base_archive}", "--push", "-t", tag, cwd=folder)
    done = subprocess.run(["./deploy-files", repository], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def require_answer(folder: Path, package: str, port: int, key: str | None = None) -> None:
    """Send the package's sample, and hold the answer against the expected one."""
    sample = (folder / package / "sample-request.json").read_bytes()
    end, headers = time.monotonic() + 90, {"Authorization": f"Bearer {key}"} if key else {}
    while True:
        try:
            status, body = ask(port, sample, 60, **headers)
            break
        except OSError:
            assert time.monotonic() < end, "nobody answers"
            time.sleep(0.3)
    assert status == 200, body
    expected = json.loads((folder / package / "expected-answer.json").read_text())
    assert_close(json.loads(body), expected)
    if key:
        assert ask(port, sample)[0] == 401


def assert_close(found: Any, expected: Any) -> None:
    match expected:
        case dict():
            assert found.keys() == expected.keys()
            for name in expected:
                assert_close(found[name], expected[name])
        case list():
            assert len(found) == len(expected)
            for one, other in zip(found, expected, strict=True):
                assert_close(one, other)
        case float():
            assert found == pytest.approx(expected, rel=1e-2)
        case _:
            assert found == expected


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def needs_key(package: str) -> bool:
    return package == "diabetes"


@pytest.mark.parametrize("package", PACKAGES)
def test_on_compose(package: str, fleet: Path, run_packager: RunPackager) -> None:
    if output("docker", "compose", "version") is None:
        missing("docker has no plugin for Compose (run ./scripts/engine)")
    files, name, port = fleet / "compose" / package, f"fleet-{secrets.token_hex(4)}", free_port()
    text = (files / "compose.yaml").read_text()
    # Of this machine alone: another port, and a name of its own.
    published = yaml.safe_load(text)["services"][package]["ports"][0]
    (files / "compose.yaml").write_text(text.replace(published, f"127.0.0.1:{port}:5001"))
    key = KEY if needs_key(package) else None
    if key:
        (files / "secrets").mkdir()
        (files / "secrets/packager-keys").write_text(f"{key}\n")
    environ = {**os.environ, "COMPOSE_PROJECT_NAME": name}
    assert output("docker", "compose", "--project-directory", str(files), "config", "--quiet") == ""
    try:
        words = ("docker", "compose", "up", "--detach", "--wait", "--wait-timeout", "90")
        done = subprocess.run(words, cwd=files, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        require_answer(fleet, package, port, key)
    finally:
        subprocess.run(["docker", "compose", "-p", name, "down", "--timeout", "1"], capture_output=True, check=False)


@pytest.mark.parametrize("package", PACKAGES)
def test_on_podman_under_systemd(
    package: str, fleet: Path, podman: Podman, docker_config: Path, tmp_path: Path
) -> None:
    folder, port = fleet / "quadlet" / package, free_port()
    services = services_of(folder)
    require_units(tmp_path, services)
    words = command_of(services[package])
    words[words.index("--publish") + 1] = f"127.0.0.1:{port}:5001"
    key = KEY if needs_key(package) else None
    if key:
        (fleet / "keys").write_text(f"{key}\n")
        podman.run("secret", "create", f"{package}-keys", str(fleet / "keys"))
    podman.run("pull", "--tls-verify=false", "--authfile", str(docker_config / "config.json"), words[-1])
    run_unit(podman, words, package)
    require_answer(fleet, package, port, key)


@pytest.mark.parametrize("package", PACKAGES)
def test_on_kubernetes(package: str, fleet: Path, podman: Podman, tmp_path: Path) -> None:
    """Its files by the schemas of Kubernetes; the Deployment also by Podman, as no cluster is here."""
    folder, port = fleet / "kubernetes" / package, free_port()
    objects = {path.name: yaml.safe_load(path.read_text()) for path in folder.glob("*.yaml")}
    assert len(objects) >= 4
    for name, found in objects.items():
        if name != "kustomization.yaml":
            kubernetes_validate.validate(found, "1.34", strict=True)
    deployment = objects["deployment.yaml"]
    # Podman has no Service.
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["ports"][0]["hostPort"] = port
    deployment["spec"]["replicas"] = 1
    key = None
    if needs_key(package):
        secret: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{package}-keys"}}
        secret["data"] = {"primary": base64.b64encode(KEY.encode()).decode()}
        (tmp_path / "secret.yaml").write_text(yaml.safe_dump(secret))
        podman.play(tmp_path / "secret.yaml")
    (tmp_path / "deployment.yaml").write_text(yaml.safe_dump(deployment))
    podman.play(tmp_path / "deployment.yaml")
    if needs_key(package):
        # Podman 4 mounts what stands in the Secret without decoding it.
        where = podman.run("volume", "inspect", f"{package}-keys", "--format", "{{.Mountpoint}}")
        key = (Path(where) / "primary").read_text()
    require_answer(fleet, package, port, key)


@pytest.mark.parametrize("package", PACKAGES)
def test_on_azure(package: str, fleet: Path) -> None:
    """Read alone: there is no Azure here."""
    text = (fleet / "aci" / package / "container-group.yaml").read_text()
    names = places(text)
    assert bool(names) is needs_key(package)
    group = yaml.safe_load(filled(text, dict.fromkeys(names, KEY)))
    (container,) = group["properties"]["containers"]
    assert "@sha256:" in container["properties"]["image"]
