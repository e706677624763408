"""The server of an image in a container as production runs it: health, time-outs, hostile clients, keys."""

from __future__ import annotations

import http.client
import json
import re
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from packager.serving.client import answers
from tests.integration.conftest import PORT, RunPackager
from tests.integration.serving_package import SCRIPT, remove_image

pytestmark = [pytest.mark.engine, pytest.mark.network]

PRIMARY, SECONDARY = secrets.token_urlsafe(32), secrets.token_urlsafe(32)

# A script that writes down all that it is given, and files that the server would trip over.
FILES = {
    "score.py": SCRIPT.replace("def run(data):", "def run(data, request_headers):\n    print(request_headers)"),
    "config.json": '{"SCORING_TIMEOUT_MS": "none", "hidden_size": 3}',
    "model/weights.bin": "weights",
    "model/labels.txt": "labels",
    "packager.yaml": """\
name: server-hostile
version: "1"
entry_script: score.py
environment: {pip: []}
models: [{path: model, name: flat}]
server: {auth: key, scoring_timeout: 3, timeout: 60, max_body: 150Mi, cors_origins: ["https://app.example.com"]}
test:
  - {name: with a key, request: {number: 3}, expect: {body: {mark: first, half: 1.5}}}
  - {name: without, request: {}, key: false, expect: {status: 401, headers: {WWW-Authenticate: Bearer}}}
  - {name: a wrong one, request: {}, headers: {authorization: Bearer nonsense}, expect: {status: 401}}
""",
}


@pytest.fixture(scope="module")
def image(run_packager: RunPackager, base_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, reference = tmp_path_factory.mktemp("server"), f"packager-test/server:{secrets.token_hex(4)}"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    run_packager("lock", cwd=folder)
    said = run_packager("check", cwd=folder, check=False).stdout
    assert "config.json: info config-not-read" in said
    run_packager("build", "--base", base_image, "--load", "-t", reference, cwd=folder)
    assert "3 of 3 passed" in run_packager("test", "--image", reference, cwd=folder).stdout
    yield reference
    remove_image(reference)


class Running:
    """A container of the image, without packager, as HANDOFF.md says."""

    def __init__(self, image: str, *options: str) -> None:
        words = ("docker", "run", "--detach", "--publish", f"127.0.0.1:0:{PORT}", "--read-only", "--tmpfs", "/tmp")
        hardened = ("--cap-drop", "ALL", "--security-opt", "no-new-privileges")
        self.id = docker(*words[1:], *hardened, *options, image).strip()
        self.port = int(docker("port", self.id, str(PORT)).strip().rpartition(":")[2])

    def wait(self) -> Running:
        end = time.monotonic() + 60
        while not answers(f"http://127.0.0.1:{self.port}/"):
            assert time.monotonic() < end, self.log()
            time.sleep(0.1)
        return self

    def log(self) -> str:
        done = subprocess.run(["docker", "logs", self.id], capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    def ask(self, body: bytes = b"{}", key: str | None = PRIMARY, **more: Any) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json", **more.get("headers", {})}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(more.get("method", "POST"), more.get("path", "/score"), body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def raw(self, *pieces: bytes) -> int:
        """Send bytes as they are; the status of the answer, 0 where the connection is closed without one."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=20)) as sock:
            with suppress(BrokenPipeError, ConnectionResetError):
                for each in pieces:
                    sock.sendall(each)
                sock.shutdown(socket.SHUT_WR)
            try:
                line = sock.recv(64)
            except ConnectionResetError:
                return 0
        return int(line.split(b" ")[1]) if line else 0


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def start(image: str) -> Iterator[Callable[..., Running]]:
    started = list[Running]()

    def run(*options: str) -> Running:
        started.append(Running(image, *options))
        return started[-1]

    yield run
    for each in started:
        docker("rm", "--force", "--volumes", each.id)


@pytest.fixture(scope="module")
def server(start: Callable[..., Running]) -> Running:
    return start("-e", f"PACKAGER_PRIMARY_KEY={PRIMARY}", "-e", f"PACKAGER_SECONDARY_KEY={SECONDARY}").wait()


class Later(threading.Thread):
    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__()
        self.call, self.answer = call, None
        self.start()

    def run(self) -> None:
        self.answer = self.call()

    def done(self) -> Any:
        self.join(60)
        return self.answer


def test_it_starts_without_an_error_and_reads_no_stray_configuration(server: Running) -> None:
    log = server.log()
    assert re.search(r"Using worker: \S*\.Worker\n", log), log
    assert "Scoring timeout is set to 3000" in log
    assert "Extra keys" not in log
    assert "Enabling CORS for the following origins: https://app.example.com" in log
    # `E` and `C` are the levels of the server's own format.
    assert not [line for line in log.splitlines() if " E [" in line or " C [" in line or "Traceback" in line]


def test_health_answers_while_a_request_is_scored_and_slow_clients_hold_connections(server: Running) -> None:
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    try:
        head = f"POST /score HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {PRIMARY}\r\nContent-Length: 99\r\n\r\n{{"
        for each in slow[:10]:
            each.sendall(head.encode())
        late = Later(lambda: server.ask(b'{"sleep": 60}'))
        time.sleep(0.5)
        begun = time.monotonic()
        assert server.ask(key=None, method="GET", path="/") == (200, b"Healthy")
        assert server.ask(method="GET", path="/swagger.json")[0] == 200
        assert time.monotonic() - begun < 2
        assert late.is_alive()
        status, body = late.done()
        assert (status, json.loads(body)) == (500, {"message": "Scoring timeout after 3000 ms"})
        assert server.ask(b'{"number": 4}') == (200, b'{"mark": "first", "half": 2.0}')
    finally:
        for each in slow:
            each.close()


def test_hostile_requests_get_an_error_and_the_worker_survives(server: Running) -> None:
    begin = f"POST /score HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {PRIMARY}\r\n".encode()
    chunked = begin + b"Transfer-Encoding: chunked\r\n\r\n"
    worker = ready(server)
    assert server.ask(b"{")[0] == 500, "an undecorated run() gets whatever text it is"
    assert server.ask(b"[1]")[0] == 500
    assert server.ask(b"\xff\xfe")[0] == 400, "it is no text"
    assert server.ask(method="PUT")[0] == 405
    assert server.ask(path="/nothing")[0] == 404
    assert server.ask(b'{"a": "' + b"x" * (100 << 20) + b'"}')[0] == 200
    assert server.ask(b"[" * (100 << 20))[0] == 500
    assert server.ask(b"x" * (151 << 20))[0] == 413
    assert server.raw(b"nonsense\r\n\r\n") == 400
    assert server.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") in (0, 400)
    assert server.raw(begin, *(b"X-%d: y\r\n" % number for number in range(200)), b"\r\n") in (400, 431)
    assert server.raw(begin + b"X: " + b"y" * 20000 + b"\r\n\r\n") in (400, 431)
    assert server.raw(begin + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}") == 400
    assert server.raw(begin + b"Content-Length: 100\r\n\r\n{") == 400
    assert server.raw(chunked + b"zz\r\n{}\r\n0\r\n\r\n") == 400
    assert server.raw(chunked + b"2\r\n{}\r\n0\r\n\r\n") == 200
    assert server.raw(chunked + b"5\r\n{}") in (0, 400), "it went in the middle"
    assert server.ask(b'{"number": 4}')[0] == 200
    assert ready(server) == worker


def ready(server: Running) -> list[str]:
    return [line for line in server.log().splitlines() if "ready for serving traffic" in line]


def test_cors_answers_the_browsers_question_without_a_key(server: Running) -> None:
    asks = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        connection.request("OPTIONS", "/score", headers={**asks, "Access-Control-Request-Headers": "authorization"})
        answer = connection.getresponse()
        answer.read()
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert answer.headers["Access-Control-Allow-Headers"].lower() == "authorization"


def test_a_key_is_asked_for_and_is_nowhere_to_be_read(server: Running, image: str) -> None:
    assert [server.ask(key=each)[0] for each in (PRIMARY, SECONDARY, None, "x" * 43)] == [200, 200, 401, 401]
    assert server.ask(key=None, path="///score")[0] == 401
    assert server.ask(key=None, method="GET", path="/swagger.json")[0] == 401
    assert server.ask(key=None, method="OPTIONS")[0] == 200
    log = server.log()
    assert "POST /score" in log
    assert not [key for key in (PRIMARY, SECONDARY) if key in log]
    assert "Authorization" not in log, "the script, which writes all headers, does not see it"
    assert PRIMARY not in docker("image", "inspect", image) + docker("history", "--no-trunc", image)


def test_sigterm_lets_the_request_in_flight_finish(start: Callable[..., Running]) -> None:
    server = start("-e", f"PACKAGER_PRIMARY_KEY={PRIMARY}").wait()
    late = Later(lambda: server.ask(b'{"sleep": 2}'))
    waits = Later(lambda: server.ask(b'{"number": 8}'))
    time.sleep(0.5)
    docker("stop", "--time", "20", server.id)
    assert late.done()[0] == 200
    assert waits.done() == (200, b'{"mark": "first", "half": 4.0}')
    assert docker("inspect", "--format", "{{.State.ExitCode}}", server.id).strip() == "0"


def test_without_a_key_it_ends_at_once_and_says_so(start: Callable[..., Running], run_packager: RunPackager) -> None:
    words = ("docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp")
    image = docker("inspect", "--format", "{{.Config.Image}}", start_ended(start)).strip()
    done = subprocess.run([*words, image], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 78
    assert "requests need a key, and the server has none" in done.stdout + done.stderr
    refused = run_packager("run", image, "-e", "GUNICORN_CMD_ARGS=--threads=2", check=False)
    assert refused.returncode == 2
    assert "does not go with a service whose requests need keys" in refused.stderr


def start_ended(start: Callable[..., Running]) -> str:
    return start("-e", f"PACKAGER_PRIMARY_KEY={PRIMARY}").id


def test_the_keys_of_a_service_are_shown_and_replaced_while_it_is_asked(
    run_packager: RunPackager, image: str, tmp_path: Path
) -> None:
    name = f"server-{secrets.token_hex(3)}"
    (tmp_path / "keys").write_text(f"{PRIMARY}\n")
    (tmp_path / "request.json").write_text('{"number": 4}')
    try:
        words = ("-p", f"0:{PORT}", "--key-file", tmp_path / "keys", "--format", "json")
        deployed = run_packager("service", "deploy", name, image, *words)
        url = json.loads(deployed.stdout)["urls"]["score"]
        keys = json.loads(run_packager("service", "keys", name, "--format", "json").stdout)
        assert keys["primary"] == PRIMARY
        assert run_packager("service", "score", name, "--data", tmp_path / "request.json").stdout
        asked = ("score", "--url", url, "--data", tmp_path / "request.json")
        assert "PACKAGER_KEY" in run_packager(*asked, check=False).stderr
        run_packager("service", "keys", name, "--regenerate", "primary")
        assert run_packager(*asked, env={"PACKAGER_KEY": PRIMARY}, check=False).returncode == 8
        assert run_packager(*asked, env={"PACKAGER_KEY": keys["secondary"]}).stdout
        run_packager("service", "update", name)
        after = json.loads(run_packager("service", "keys", name, "--format", "json").stdout)
        assert after["secondary"] == keys["secondary"]
        assert after["primary"] != PRIMARY
        containers = docker("ps", "--quiet", "--filter", f"label=packager.service={name}").split()
        seen = docker("inspect", *containers) + run_packager("service", "show", name).stdout
        seen += run_packager("service", "logs", name).stdout + deployed.stderr
        assert not [key for key in (*keys.values(), *after.values()) if key in seen]
    finally:
        run_packager("service", "delete", name, check=False)
