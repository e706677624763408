"""Named services on a real engine, asked by real clients."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import packager
from packager.serving.client import answers
from packager.serving.traffic import VERSION_HEADER
from packager.steps import service as steps
from packager.steps.run import RunWish
from tests.integration.conftest import PORT, RunPackager
from tests.integration.serving_package import Load, ask, build_package, containers, remove_image

pytestmark = [pytest.mark.engine, pytest.mark.network]


@pytest.fixture(scope="module")
def image(run_packager: RunPackager, base_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    reference = f"packager-test/served:{secrets.token_hex(4)}"
    build_package(run_packager, tmp_path_factory.mktemp("served"), base_image, reference)
    yield reference
    remove_image(reference)


class Services:
    """Deploys services of one image under names of its own."""

    def __init__(self, run: RunPackager, image: str) -> None:
        self.run, self.image, self.names = run, image, list[str]()

    def deploy(self, *options: str) -> tuple[str, int]:
        """Name and port."""
        name = self.named()
        done = self.run("service", "deploy", name, self.image, "-p", f"0:{PORT}", "--format", "json", *options)
        found = json.loads(done.stdout)
        assert found["state"] == "Healthy"
        return name, int(found["urls"]["root"].rstrip("/").rpartition(":")[2])

    def named(self) -> str:
        self.names.append(f"t-{secrets.token_hex(4)}")
        return self.names[-1]

    def fails(self, *words: str, code: int = 8) -> str:
        done = self.run("service", *words, check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback (most recent call last)" not in done.stderr.partition("\n    ")[0]
        return done.stderr

    def show(self, name: str) -> Any:
        return json.loads(self.run("service", "show", name, "--format", "json").stdout)


@pytest.fixture(scope="module")
def services(run_packager: RunPackager, image: str) -> Iterator[Services]:
    found = Services(run_packager, image)
    yield found
    for name in found.names:
        run_packager("service", "delete", name, check=False)
    assert not [each for name in found.names for each in containers(f"packager.service={name}")]


@pytest.mark.long
def test_thirty_seconds_of_load_while_it_is_updated_and_a_bad_update_changes_nothing(services: Services) -> None:
    name, port = services.deploy("-e", "OWN=1")
    end = time.monotonic() + 30
    with Load(port, clients=6) as load:
        services.run("service", "update", name, "-e", "MARK=second")
        before = load.marks["second"]
        said = services.fails("update", name, "-e", "FAIL=weights.bin")
        while (time.monotonic() < end or load.marks["second"] < before + 20) and not load.lost:
            time.sleep(0.05)
    load.check("first", "second")
    assert load.seconds >= 30
    # Counted by the service, too: nothing was sent twice.
    answered = services.run("service", "logs", name).stdout.count('"POST /score HTTP/1.1" 200')
    assert answered == load.marks["second"]
    assert "no such model: weights.bin" in said
    assert f"still runs {services.image}" in said
    found = sorted(containers(f"packager.service={name}"))
    assert found == [f"packager_{name}", f"packager_{name}_current", f"packager_{name}_kept"]
    inspected = subprocess.run(
        ["docker", "inspect", *containers(f"packager.service={name}")], capture_output=True, check=True
    )
    for each in json.loads(inspected.stdout):
        assert each["HostConfig"]["ReadonlyRootfs"] is True
        assert each["HostConfig"]["CapDrop"] == ["ALL"]
        assert each["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
        assert each["Config"]["User"] == "1000:1000"
        if each["Name"].endswith("_current"):
            assert {"OWN=1", "MARK=second"} <= set(each["Config"]["Env"]), "variables stay across an update"


def test_a_service_from_its_first_day_to_its_last(services: Services, tmp_path: Path) -> None:
    name, port = services.deploy("--memory", "300m", "--cpus", "0.9")
    (tmp_path / "request.json").write_text('{"number": 5}')
    done = services.run("service", "score", name, "--data", tmp_path / "request.json")
    assert json.loads(done.stdout) == {"mark": "first", "half": 2.5}
    assert services.run("score", "--service", name, "--data", "-", stdin="{}").stdout
    shown = services.show(name)
    assert (shown["state"], shown["memory"], shown["cpus"]) == ("Healthy", 300 << 20, 0.9)
    assert name in services.run("service", "list").stdout
    said = services.fails("deploy", name, services.image, code=2)
    assert "already" in said
    assert "service update" in said
    other = services.named()
    said = services.fails("deploy", other, services.image, "-p", f"{port}:{PORT}", code=7)
    assert f"port {port} is taken" in said
    assert containers(f"packager.service={other}") == []
    # The memory limit: the request is answered, the reason is told, and the service goes on.
    done = services.run("service", "score", name, "--data", "-", stdin='{"allocate": 600000000}', check=False)
    assert done.returncode == 8
    assert "502" in done.stderr
    assert "out of memory" in done.stderr
    assert "137" in done.stderr
    assert ask(port, {})[0] == 200
    # SIGTERM while a request is scored: it is finished.
    answers: list[tuple[int, bytes]] = []
    client = threading.Thread(target=lambda: answers.append(ask(port, {"sleep": 1.5})))
    client.start()
    time.sleep(0.7)
    subprocess.run(["docker", "stop", f"packager_{name}_current"], capture_output=True, check=True)
    client.join()
    assert [status for status, _ in answers] == [200]
    said = services.fails("score", name, "--data", str(tmp_path / "request.json"))
    assert f"{name} is Failed" in said
    services.run("service", "delete", name)
    assert f"no service '{name}'" in services.fails("score", name, "--data", str(tmp_path / "request.json"))
    assert f"packager_{name}" not in subprocess.run(["docker", "network", "ls"], capture_output=True, text=True).stdout


def test_a_rollback_and_a_pause(services: Services) -> None:
    name, port = services.deploy("-e", "MARK=one", "--memory", "300m")
    assert f"nothing is kept that {name} ran before" in services.fails("rollback", name)
    services.run("service", "update", name, "-e", "MARK=two", "--memory", "400m")
    with Load(port) as load:
        before = load.marks["two"]
        while load.marks["two"] < before + 20 and not load.lost:
            time.sleep(0.05)
        said = services.run("service", "rollback", name).stderr
        while load.marks["one"] < 20 and not load.lost:
            time.sleep(0.05)
    load.check("two", "one")
    assert f"{name} answers from the one before: {services.image} (sha256:" in said
    assert services.show(name)["memory"] == 300 << 20, "its limits are what they were"
    services.run("service", "rollback", name)
    assert json.loads(ask(port, {})[1])["mark"] == "two"
    assert "has its variables: MARK cannot be given" in services.fails("rollback", name, "-e", "MARK=x", code=2)
    # A pause: the port is free, the name is not, and a restart of the engine would not start it.
    services.run("service", "stop", name)
    assert services.show(name)["state"] == "Stopped"
    assert f"packager service start {name}" in services.fails("deploy", name, services.image, code=2)
    assert f"{name} is stopped" in services.fails("update", name)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        assert f"port {port} is taken" in services.fails("start", name, code=7)
    done = services.run("service", "start", name)
    assert done.stdout == f"http://127.0.0.1:{port}/score\n"
    assert json.loads(ask(port, {})[1])["mark"] == "two"
    assert "runs already" in services.run("service", "start", name).stderr
    services.run("service", "rollback", name)
    assert json.loads(ask(port, {})[1])["mark"] == "one"


def marks(port: int, count: int, **headers: str) -> Counter[tuple[Any, str | None]]:
    """Which marks came with which names of versions, on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    found = Counter[tuple[Any, str | None]]()
    for _ in range(count):
        connection.request("POST", "/score", b"{}", {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        found[json.loads(answer.read()).get("mark", answer.status), answer.getheader(VERSION_HEADER)] += 1
    connection.close()
    return found


def test_versions_come_change_and_go_while_requests_run(services: Services) -> None:
    name, port = services.deploy("-e", "MARK=old")
    assert marks(port, 2) == {("old", None): 2}, "a service without versions answers as it always did"
    words = ("docker", "inspect", "--format", "{{range .Mounts}}{{.Name}}{{end}}", f"packager_{name}")
    volume = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    assert volume
    with Load(port) as load:

        def until(mark: str, more: int = 10) -> None:
            enough = load.marks[mark] + more
            while load.marks[mark] < enough and not load.lost:
                time.sleep(0.02)

        # By the functions of Python: there is a command line to each, and each would start one.
        steps.deploy(name, RunWish(reference=services.image, env={"MARK": "new"}), version="b")
        assert load.marks["new"] == 0, "it gets no share, and is asked for"
        assert marks(port, 3, **{VERSION_HEADER: "b"}) == {("new", "b"): 3}
        done = services.run("service", "traffic", name, "default=50", "b=50")
        assert done.stdout == "default=50\nb=50\n"
        until("new")
        steps.update(name, steps.Change(env={"MARK": "newer"}), version="b")
        until("newer")
        steps.set_traffic(name, {"b": 100})
        steps.delete(name, version="default")
        until("newer")
    load.check("old", "new", "newer")
    found = sorted(containers(f"packager.service={name}"))
    assert found == [f"packager_{name}", f"packager_{name}_b_current", f"packager_{name}_b_kept"]
    # The shares are not in the memory of a process alone.
    subprocess.run(["docker", "restart", f"packager_{name}"], capture_output=True, check=True)
    while not answers(f"http://127.0.0.1:{port}/"):
        time.sleep(0.05)
    assert marks(port, 2) == {("newer", "b"): 2}
    assert marks(port, 1, **{VERSION_HEADER: "default"}) == {(404, None): 1}
    # One that does not run: its share fails.
    subprocess.run(["docker", "stop", f"packager_{name}_b_current"], capture_output=True, check=True)
    assert marks(port, 1) == {(503, "b"): 1}
    shown = services.show(name)
    assert (shown["state"], shown["reason"].startswith("version b: ")) == ("Failed", True)
    started = json.loads(services.run("service", "start", name, "--version", "b", "--format", "json").stdout)
    assert (started["state"], marks(port, 1)) == ("Healthy", {("newer", "b"): 1})
    steps.delete(name)
    assert containers(f"packager.service={name}") == []
    volumes = subprocess.run(["docker", "volume", "ls", "--quiet"], capture_output=True, text=True, check=True).stdout
    assert volume not in volumes.split()


def test_a_service_that_does_not_start_says_why_and_makes_room(services: Services) -> None:
    name = services.named()
    deploy = ("deploy", name, services.image, "-p", f"0:{PORT}")
    said = services.fails(*deploy, "-e", "FAIL=weights.bin", "--timeout", "60")
    assert "no such model: weights.bin" in said
    assert "init() failed" in said
    shown = services.show(name)
    assert shown["state"] == "Failed"
    assert "no such model: weights.bin" in "\n".join(shown["log"])
    assert "weights.bin" in services.run("service", "logs", name).stdout
    assert "out of memory" in services.fails(*deploy, "--memory", "24m", "--timeout", "60")
    assert "out of memory" in services.show(name)["reason"]
    assert "Unschedulable" in services.fails(*deploy, "--cpus", "6400", code=7)


def test_the_python_api_runs_an_image_for_a_block(services: Services) -> None:
    with packager.run(services.image) as service:
        assert json.loads(packager.score(service.scoring_url, b'{"number": 5}').body) == {"mark": "first", "half": 2.5}
        assert service.container_id in containers_named(service.name)
    assert containers_named(service.name) == []


def containers_named(name: str) -> list[str]:
    words = ("docker", "ps", "--all", "--no-trunc", "--quiet", "--filter", f"name={name}")
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def raw(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send pieces of a request as they are, and return the start of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        return connection.recv(65536)


def test_hostile_requests_do_no_harm(services: Services) -> None:
    _, port = services.deploy("--memory", "512m")
    post = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    slow = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(40)]
    for each in slow:  # more than the server has workers: each would block one for a minute
        each.sendall(post + b"Content-Length: 100\r\n\r\n{")
    assert ask(port, {"number": 4})[0] == 200
    assert ask(port, b"[" + b"1," * 50_000_000 + b"x]", timeout=120)[0] >= 400, "100 MB"
    assert ask(port, b"{")[0] == 500
    assert ask(port, b'{"number": "text"}')[0] == 500
    assert raw(port, b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n").startswith(b"HTTP/1.1 431")
    assert raw(port, b"\x16\x03\x01\x02\x00\x01\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert raw(port, post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}").startswith(b"HTTP/1.1 400")
    assert raw(port, post + b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n").startswith(b"HTTP/1.1 400")
    assert raw(port, *(bytes([each]) for each in post + b"Content-Length: 2\r\n\r\n{}"), pause=0.002).startswith(
        b"HTTP/1.1 200"
    )
    for each in slow:
        each.close()
    assert ask(port, {"number": 4}) == (200, b'{"mark": "first", "half": 2.0}')
