"""What a spec's `service:` section asks for is in force where the service runs: on a real engine, and without one."""

from __future__ import annotations

import http.client
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import PORT, RunPackager
from tests.integration.serving_package import SPEC, ask, build_package, containers, remove_image, write_package

pytestmark = [pytest.mark.engine, pytest.mark.network]

WISHES = """
service:
  cpu: 250m
  memory: 128Mi
  cpu_limit: 64
  memory_limit: 256Mi
  replicas: {min: 1, max: 3}
  concurrency: 2
  scoring_timeout: 1.5
  max_queue_wait: 0.4
  probes: {period: 7, initial_delay: 20, timeout: 3, failure_threshold: 4}
  auth: key
"""
KEY = "a-key-of-this-test-alone"


@pytest.fixture(scope="module")
def package(
    run_packager: RunPackager, base_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str]]:
    """A folder whose spec asks for something, and its image, which was built before it did."""
    folder = tmp_path_factory.mktemp("wishes") / "package"
    reference = f"packager-test/wishes:{secrets.token_hex(4)}"
    build_package(run_packager, folder, base_image, reference)
    (folder / "packager.yaml").write_text(SPEC + WISHES)
    (folder.parent / "key").write_text(f"{KEY}\n")
    yield folder, reference
    remove_image(reference)


def inspected(name: str) -> Any:
    done = subprocess.run(["docker", "inspect", name], capture_output=True, check=True)
    return json.loads(done.stdout)[0]


def status_of(port: int, body: dict[str, Any], **headers: str) -> int:
    """Post one request; 0 where the connection ends without an answer."""
    try:
        return ask(port, body, 60, **headers)[0]
    except (OSError, http.client.HTTPException):
        return 0


def limits(name: str) -> tuple[int, int, float]:
    host = inspected(name)["HostConfig"]
    return host["Memory"], host["MemorySwap"], host["NanoCpus"] / 1e9


def test_a_container_has_what_the_spec_asks_for(run_packager: RunPackager, package: tuple[Path, str]) -> None:
    folder, reference = package
    name = f"packager-test-{secrets.token_hex(4)}"
    words = ("run", reference, "-d", "--name", name, "-p", f"0:{PORT}", "--key-file", "../key", "--format", "json")
    done = run_packager(*words, cwd=folder)
    try:
        port = int(json.loads(done.stdout)["urls"]["root"].rstrip("/").rpartition(":")[2])
        processors = int(subprocess.run(["docker", "info", "-f", "{{.NCPU}}"], capture_output=True, check=True).stdout)
        assert limits(name) == (256 << 20, 256 << 20, processors)
        assert f"asks for 64 processors, and the engine's machine has {processors}" in done.stderr
        assert "of `service:` not as asked for on this machine: one replica (of 1 to 3)" in done.stderr
        # The image is still of this spec: what a service wants is no part of it.
        assert "changed since" not in done.stderr
        config = inspected(name)["Config"]
        check = config["Healthcheck"]
        assert (check["Interval"], check["Timeout"]) == (7 * 10**9, 3 * 10**9)
        assert (check["StartPeriod"], check["Retries"]) == (20 * 10**9, 4)
        assert check["Test"][0] != "NONE"
        assert {"WORKER_COUNT=2", "SCORING_TIMEOUT_MS=1500", "PACKAGER_MAX_QUEUE_WAIT_MS=400"} <= set(config["Env"])
        key = {"Authorization": f"Bearer {KEY}"}
        assert ask(port, {"number": 3})[0] == 401
        assert json.loads(ask(port, {"number": 3}, 60, **key)[1])["half"] == 1.5
        status, body = ask(port, {"sleep": 10}, 60, **key)
        assert (status, b"time" in body.lower()) == (500, True)
        # Two are scored at once, and until they are interrupted; the others wait for as long as they may.
        with ThreadPoolExecutor(4) as four:
            found = sorted(four.map(lambda _: ask(port, {"sleep": 10}, 60, **key), range(4)))
        assert [status for status, _ in found] == [500, 500, 503, 503]
        assert all(b"longer than 0.4 s" in body for _, body in found[2:])
        # More than it has.
        assert status_of(port, {"allocate": 1 << 30}, **key) != 200
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=True)


def test_options_go_before(run_packager: RunPackager, package: tuple[Path, str]) -> None:
    folder, reference = package
    name = f"packager-test-{secrets.token_hex(4)}"
    options = ("--memory", "300m", "--cpus", "0.5", "-e", "WORKER_COUNT=1", "-e", "PACKAGER_AUTH=none")
    run_packager("run", reference, "-d", "--name", name, "-p", f"0:{PORT}", *options, cwd=folder)
    try:
        assert limits(name) == (300 << 20, 300 << 20, 0.5)
        assert {"WORKER_COUNT=1", "PACKAGER_AUTH=none"} <= set(inspected(name)["Config"]["Env"])
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=True)


def test_tests_run_within_the_limits(run_packager: RunPackager, package: tuple[Path, str]) -> None:
    folder, reference = package
    done = run_packager("test", "--image", reference, "--format", "json", cwd=folder)
    assert [each["passed"] for each in json.loads(done.stdout)] == [True]
    (folder / "small").mkdir(exist_ok=True)
    small = SPEC + "service: {memory: 24Mi}\n"
    (folder / "small/packager.yaml").write_text(small)
    (folder / "small/score.py").write_text((folder / "score.py").read_text())
    failed = run_packager("test", "--image", reference, "--timeout", "20", cwd=folder / "small", check=False)
    assert failed.returncode == 8
    assert "memory" in failed.stderr + failed.stdout


def test_a_named_service_has_it_and_an_update_puts_the_section_into_force(
    run_packager: RunPackager, package: tuple[Path, str]
) -> None:
    folder, reference = package
    name = f"t-{secrets.token_hex(4)}"
    spec = folder / "packager.yaml"
    before = spec.read_text()
    try:
        run_packager("service", "deploy", name, reference, "-p", f"0:{PORT}", "--key-file", "../key", cwd=folder)
        current = f"packager_{name}_current"
        assert limits(current)[0] == 256 << 20
        assert inspected(current)["Config"]["Healthcheck"]["Interval"] == 7 * 10**9
        spec.write_text(before.replace("memory_limit: 256Mi", "memory_limit: 384Mi"))
        run_packager("service", "update", name, "--cpus", "0.75", cwd=folder)
        assert (limits(current)[0], limits(current)[2]) == (384 << 20, 0.75)
        # Away from the spec everything stays, the keys and the times of the check among it.
        run_packager("service", "update", name, "-e", "MARK=second", cwd=folder.parent)
        assert (limits(current)[0], limits(current)[2]) == (384 << 20, 0.75)
        assert inspected(current)["Config"]["Healthcheck"]["Interval"] == 7 * 10**9
        assert run_packager("service", "keys", name).stdout.split()[1] == KEY
        shown = json.loads(run_packager("service", "show", name, "--format", "json").stdout)
        assert (shown["auth"], shown["memory"]) == ("key", 384 << 20)
    finally:
        spec.write_text(before)
        run_packager("service", "delete", name, check=False)
    assert not containers(f"packager.service={name}")


@pytest.mark.skipif(sys.platform != "linux", reason="--no-docker is for Linux")
def test_without_docker_it_has_what_a_process_can_have(run_packager: RunPackager, tmp_path: Path) -> None:
    folder = write_package(tmp_path / "package")
    python = f'python: "{sys.version_info.major}.{sys.version_info.minor}"\n'
    (folder / "packager.yaml").write_text(SPEC + python + WISHES)
    (folder.parent / "key").write_text(f"{KEY}\n")
    run_packager("lock", cwd=folder)
    name = f"t-{secrets.token_hex(4)}"
    words = ("service", "deploy", name, "--no-docker", "-p", f"0:{PORT}", "--key-file", "../key", "--format", "json")
    try:
        done = run_packager(*words, cwd=folder)
        port = int(json.loads(done.stdout)["urls"]["root"].rstrip("/").rpartition(":")[2])
        assert "no limits of processors and memory, which only a container has" in done.stderr
        assert ask(port, {"number": 3})[0] == 401
        key = {"Authorization": f"Bearer {KEY}"}
        assert ask(port, {"sleep": 10}, 60, **key)[0] == 500
        run_packager("service", "update", name, "-e", "MARK=second", cwd=folder)
        assert ask(port, {"number": 3})[0] == 401
        assert json.loads(ask(port, {"number": 3}, 60, **key)[1]) == {"mark": "second", "half": 1.5}
    finally:
        run_packager("service", "delete", name, check=False)
