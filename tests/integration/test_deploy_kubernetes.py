"""Files of Kubernetes, run: the Deployment and its Secret by Podman, and the program that fetches models."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from packager.resources import program
from tests.integration.conftest import Registry, RunPackager
from tests.integration.podman import Podman
from tests.integration.serving_package import SCRIPT, ask

pytestmark = [pytest.mark.engine, pytest.mark.network]

SPEC = """\
name: played
version: "{version}"
entry_script: score.py
environment: {{pip: []}}
image: {{repository: {repository}}}
env: {{MARK: mark-{version}}}
server: {{port: {port}}}
service:
  cpu: 100m
  memory: 256Mi
  scoring_timeout: 40
  auth: key
"""
KEY = "a-key-of-this-test-alone"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def wait_for(there: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        with suppress(OSError, http.client.HTTPException):
            if there():
                return
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.2)


def marks(port: int, key: str = "") -> tuple[int, Any]:
    """Ask the service: status, and the mark of the image that answers."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    status, body = ask(port, {"number": 3}, 60, **headers)
    return status, json.loads(body).get("mark")


def test_a_deployment_runs_is_asked_restarted_updated_and_rolled_back(
    podman: Podman, registry: Registry, base_archive: Path, index: None, run_packager: RunPackager, tmp_path: Path
) -> None:
    port = free_port()
    (tmp_path / "score.py").write_text(SCRIPT)
    spec = tmp_path / "packager.yaml"

    def build(version: str) -> None:
        repository = f"{registry.address}/packager-test/played-{port}"
        spec.write_text(SPEC.format(version=version, repository=repository, port=port))
        if not (tmp_path / "packager.lock").exists():
            run_packager("lock", cwd=tmp_path)
        run_packager("build", "--base", f"oci-archive:{base_archive}", "--push", cwd=tmp_path)

    build("1")
    shown = run_packager("deploy", "--namespace", "models", cwd=tmp_path)
    files = tmp_path / "deploy/kubernetes"
    assert shown.stdout.strip() == str(files)
    deployment = files / "deployment.yaml"
    assert "@sha256:" in yaml.safe_load(deployment.read_text())["spec"]["template"]["spec"]["containers"][0]["image"]
    # Keys are in no file; the command that makes them is said.
    assert "kubectl create secret generic played-keys --namespace models " in shown.stderr
    secret: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "played-keys"}}
    secret["data"] = {"primary": base64.b64encode(KEY.encode()).decode()}
    (tmp_path.parent / "secret.yaml").write_text(yaml.safe_dump(secret))
    podman.play(tmp_path.parent / "secret.yaml")

    podman.play(deployment)
    wait_for(lambda: marks(port)[0] == 401)
    # Podman 4 mounts what stands in the Secret without decoding it.
    stored = Path(podman.run("volume", "inspect", "played-keys", "--format", "{{.Mountpoint}}")) / "primary"
    key = stored.read_text()
    assert marks(port, key) == (200, "mark-1")
    assert marks(port, f"{key}x")[0] == 401
    inside = "import os; print(os.getuid(), os.access('/', os.W_OK), open('/proc/self/status').read())"
    status = podman.run("exec", podman.container("server"), "/opt/env/bin/python", "-c", inside)
    assert status.startswith("1000 False ")
    assert "CapEff:\t0000000000000000\n" in status
    assert "NoNewPrivs:\t1\n" in status

    # It ends as by a fault, and is started again. By `podman restart` the pod could end with its last container, and by
    # a command in it Podman 4 would lose track of either, now and then.
    server = podman.container("server")
    os.kill(int(podman.run("inspect", "--format", "{{.State.Pid}}", server)), signal.SIGTERM)
    wait_for(lambda: podman.run("inspect", "--format", "{{.RestartCount}}", server) != "0")
    wait_for(lambda: marks(port, key) == (200, "mark-1"))

    edited = deployment.read_text().replace("revisionHistoryLimit: 10", "revisionHistoryLimit: 3")
    deployment.write_text(edited)
    build("2")
    assert "as somebody edited it: deployment.yaml" in run_packager("deploy", cwd=tmp_path).stderr
    assert "revisionHistoryLimit: 3" in deployment.read_text()
    podman.play(deployment)
    wait_for(lambda: marks(port, key) == (200, "mark-2"))

    run_packager("deploy", "--rollback", cwd=tmp_path)
    assert deployment.read_text() == edited
    podman.play(deployment)
    wait_for(lambda: marks(port, key) == (200, "mark-1"))


def test_a_model_is_fetched_where_a_cluster_cannot_mount_its_image(
    registry: Registry, docker_config: Path, run_packager: RunPackager, tmp_path: Path
) -> None:
    workspace = {"PACKAGER_WORKSPACE": str(tmp_path / "workspace")}
    model = tmp_path / "bert"
    (model / "deep").mkdir(parents=True)
    (model / "weights.bin").write_bytes(os.urandom(3 << 20))
    (model / "deep/config.json").write_text("{}")
    run_packager("workspace", "create", str(tmp_path / "workspace"))
    run_packager("model", "register", "-n", "bert", "-p", str(model), env=workspace)
    reference = f"{registry.address}/packager-test/bert-{os.getpid()}:1"
    pushed = run_packager("model", "push", "bert:1", reference, "--as", "image", env=workspace).stdout.split()[-1]
    name, _, digest = pushed.partition("@")
    image = f"{name.rpartition(':')[0]}@{digest}"

    def fetch(image: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
        folder.mkdir()
        words = [sys.executable, "-I", "-S", str(program("pod/fetch_model.py")), image, str(folder)]
        return subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60)

    done = fetch(image, tmp_path / "to", DOCKER_CONFIG=str(docker_config))
    assert done.returncode == 0, done.stderr
    found = {str(each.relative_to(tmp_path / "to")) for each in (tmp_path / "to").rglob("*") if each.is_file()}
    assert found == {"bert/weights.bin", "bert/deep/config.json"}
    assert (tmp_path / "to/bert/weights.bin").read_bytes() == (model / "weights.bin").read_bytes()

    refused = fetch(image, tmp_path / "nobody")
    assert refused.returncode == 1
    assert "answers 401" in refused.stderr
    other = fetch(f"{image.rpartition(':')[0]}:{'0' * 64}", tmp_path / "other", DOCKER_CONFIG=str(docker_config))
    assert other.returncode == 1
    assert "answers 404" in other.stderr
