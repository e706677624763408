"""Docker Compose reads and runs what `packager deploy` writes, and `--apply` does what it says: on a real engine."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import RunPackager, missing, output
from tests.integration.serving_package import SPEC, ask, build_package, remove_image

pytestmark = [pytest.mark.engine, pytest.mark.network]

WISHES = """
service: {auth: key, cpu: 1, memory: 96Mi, memory_limit: 256Mi, probes: {period: 1}, scoring_timeout: 40}
"""


@pytest.fixture(scope="module")
def compose(engine: object) -> None:
    if output("docker", "compose", "version") is None:
        missing("docker has no plugin for Compose (run ./scripts/engine)")


@pytest.fixture(scope="module")
def package(
    compose: None, run_packager: RunPackager, base_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str, str]]:
    """A folder with a spec, its image, and one whose script fails when it starts."""
    folder = tmp_path_factory.mktemp("compose") / "package"
    good, bad = (f"packager-test/compose:{secrets.token_hex(4)}" for _ in range(2))
    build_package(run_packager, folder, base_image, good)
    container = output("docker", "create", good)
    assert container
    assert output("docker", "commit", "--change", "ENV FAIL=diabetes", container, bad)
    output("docker", "rm", container)
    (folder / "packager.yaml").write_text(SPEC + WISHES)
    yield folder, good, bad
    remove_image(good, bad)


@pytest.fixture
def deployed(package: tuple[Path, str, str]) -> Iterator[tuple[str, Path]]:
    """Name and folder of a deployment, which ends with the test."""
    name, folder = f"t-{secrets.token_hex(4)}", package[0] / "deploy" / secrets.token_hex(4)
    yield name, folder
    subprocess.run(["docker", "compose", "-p", name, "down", "--timeout", "1"], capture_output=True, check=False)


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def inspected(name: str) -> Any:
    ids = output("docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={name}")
    assert ids
    return json.loads(output("docker", "inspect", *ids.split()) or "")[0]


def test_what_is_written_runs_as_it_promises_and_an_update_that_fails_is_taken_back(
    run_packager: RunPackager, package: tuple[Path, str, str], deployed: tuple[str, Path]
) -> None:
    (folder, good, bad), (name, files) = package, deployed
    port = free_port()
    words = ("deploy", "--to", "compose", "-o", files, "--name", name, "--format", "json")
    apply = (*words, "--apply", "--wait", "--timeout", "60")
    written = json.loads(run_packager(*words, "--image", good, "-p", str(port), cwd=folder).stdout)
    assert output("docker", "compose", "--project-directory", str(files), "config", "--quiet") == ""

    without_keys = run_packager(*apply, "--image", good, cwd=folder, check=False)
    assert without_keys.returncode == 2
    assert "openssl rand" in without_keys.stderr
    subprocess.run(["sh", "-c", written["secrets"][0]], cwd=files, check=True)
    keys = (files / "secrets/packager-keys").read_text().split()
    assert len(keys) == 2

    done = run_packager(*apply, "--image", good, cwd=folder)
    assert json.loads(done.stdout)["url"] == f"http://127.0.0.1:{port}/"
    assert f"project {name}, ports 127.0.0.1:{port}" in done.stderr
    assert "the sample request was answered: status 200" in done.stderr
    assert not any(key in done.stdout + done.stderr for key in keys)
    assert ask(port, {"number": 3})[0] == 401
    for key in keys:
        status, body = ask(port, {"number": 3}, 60, Authorization=f"Bearer {key}")
        assert (status, json.loads(body)["half"]) == (200, 1.5)

    host = inspected(name)["HostConfig"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["Tmpfs"]) == (True, ["ALL"], {"/tmp": ""})
    assert (host["Memory"], host["MemorySwap"], host["MemoryReservation"]) == (256 << 20, 256 << 20, 96 << 20)
    assert (host["NanoCpus"], host["PidsLimit"]) == (10**9, 4096)
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert inspected(name)["Config"]["User"] == "1000:1000"

    failed = run_packager(*apply, "--image", bad, cwd=folder, check=False)
    assert failed.returncode == 8
    assert "no such model: diabetes" in failed.stderr, failed.stderr
    assert "exit code 3" in failed.stderr
    assert "are back at" in failed.stderr
    assert ask(port, {"number": 3}, 60, Authorization=f"Bearer {keys[0]}")[0] == 200
    # The same image, with less memory than it needs: the file is taken back, and not the image.
    (folder / "packager.yaml").write_text(SPEC + WISHES.replace("96Mi", "8Mi").replace("256Mi", "16Mi"))
    starved = run_packager(*apply, "--image", good, cwd=folder, check=False)
    (folder / "packager.yaml").write_text(SPEC + WISHES)
    assert starved.returncode == 8
    assert "ran out of memory" in starved.stderr, starved.stderr
    assert "as it was before" in starved.stderr
    assert inspected(name)["HostConfig"]["Memory"] == 256 << 20
    # One key is replaced while the service runs.
    (files / "secrets/packager-keys").write_text(f"{keys[0]}\nanother-key-of-this-test\n")
    assert ask(port, {"number": 3}, 60, Authorization="Bearer another-key-of-this-test")[0] == 200


def test_a_port_that_is_taken_is_told_before_anything_is_started(
    run_packager: RunPackager, package: tuple[Path, str, str], deployed: tuple[str, Path]
) -> None:
    (folder, good, _), (name, files) = package, deployed
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (folder / "packager.yaml").write_text(SPEC)
        words = ("deploy", "--to", "compose", "-o", files, "--name", name, "--image", good, "-p", str(port), "--apply")
        done = run_packager(*words, cwd=folder, check=False)
        (folder / "packager.yaml").write_text(SPEC + WISHES)
    assert done.returncode == 2
    assert f"port {port} is taken" in done.stderr
    assert not output("docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={name}")
