"""gunicorn's worker of the image under the oldest gunicorn that the server takes, with a small application."""

import http.client
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from packager.context.generated import serving_files
from packager.programs.image import settings as in_image
from packager.programs.image.worker import CONNECTIONS, STALL, Connection

APP = """\
import json, os, signal, threading, time

def alarm(*_):
    raise TimeoutError

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.strip("/") == "score":
        asked = json.loads(environ["wsgi.input"].read())
        assert threading.current_thread() is threading.main_thread()
        with open("begun", "a") as begun:
            begun.write(f"{os.getpid()}\\n")
        time.sleep(asked.get("sleep", 0))
        if asked.get("die"):
            os._exit(1)
        if asked.get("large"):
            start_response("200 OK", [("Content-Length", str(asked["large"]))])
            return [bytes(asked["large"])]
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


class Server:
    def __init__(self, folder: Path, *options: str, start: str = "", **variables: str) -> None:
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "application.py").write_text(APP)
        lay_down(folder / "opt")
        words = [sys.executable, *([start] if start else ["-m", "gunicorn"]), f"--bind=127.0.0.1:{self.port}", *options]
        words.append("application")
        env = {**os.environ, "GUNICORN_CMD_ARGS": f"--config={folder}/opt/packager/server.py", **variables}
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(words, cwd=folder, env=env, stderr=log)

    def wait(self) -> None:
        end = time.monotonic() + 20
        while not self.answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end
            time.sleep(0.02)

    def answers(self) -> bool:
        try:
            return self.ask("GET", "/")[0] == 200
        except OSError:
            return False

    def begun(self, count: int) -> None:
        """Wait until so many requests have begun to be scored."""
        end = time.monotonic() + 20
        path = self.log.with_name("begun")
        while not path.exists() or len(path.read_text().splitlines()) < count:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end
            time.sleep(0.02)

    def ask(self, method: str = "POST", path: str = "/score", body: bytes = b"{}", **headers: str) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()


def lay_down(folder: Path) -> None:
    for each in serving_files():
        path = folder / each.path.removeprefix("opt/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((each.text or "").replace("/opt/packager", f"{folder}/packager"))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    started = list[Server]()

    def start(*options: str, **variables: str) -> Server:
        started.append(Server(tmp_path, *options, **variables))
        started[-1].wait()
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


class Asking(threading.Thread):
    def __init__(self, server: Server, body: bytes, path: str = "/score") -> None:
        super().__init__()
        self.server, self.body, self.path = server, body, path
        self.answer: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self.server.ask(path=self.path, body=self.body)
        except (OSError, http.client.HTTPException) as error:
            self.answer = error


def test_health_answers_while_a_request_is_scored_and_sigterm_lets_it_finish(serve: Any) -> None:
    server = serve()
    asking = Asking(server, b'{"sleep": 1}')
    server.begun(1)
    assert server.ask("GET", "/")[0] == 200
    assert asking.is_alive()
    server.process.send_signal(signal.SIGTERM)
    asking.join()
    assert asking.answer[0] == 200
    assert server.process.wait(10) == 0


def test_an_idle_worker_ends_at_once(serve: Any) -> None:
    server = serve()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) == 0


def test_a_request_that_hangs_ends_the_worker_and_another_one_starts(serve: Any) -> None:
    server = serve("--timeout=1")
    first = server.ask()[1]
    hangs = Asking(server, b'{"sleep": 60}')
    server.begun(2)
    waits = Asking(server, b"{}")
    hangs.join()
    waits.join()
    assert hangs.answer[0] == 500
    assert waits.answer[0] == 503
    assert server.ask()[1] != first
    assert "WORKER TIMEOUT" in server.log.read_text()


def test_a_worker_that_dies_is_replaced(serve: Any) -> None:
    server = serve("--preload", "--workers=2")
    dies = Asking(server, b'{"die": true}')
    dies.join()
    assert isinstance(dies.answer, (OSError, http.client.HTTPException))
    assert server.ask()[0] == 200


def test_two_workers_score_two_requests_at_once(serve: Any) -> None:
    server = serve("--workers=2")
    while server.log.read_text().count("Booting worker") < 2:
        time.sleep(0.02)
    asking = [Asking(server, b'{"sleep": 0.6}') for _ in range(4)]
    for each in asking:
        each.join()
    assert len({each.answer[1] for each in asking}) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_requests_wait_for_their_turn_no_longer_than_is_said(serve: Any, workers: int) -> None:
    server = serve(f"--workers={workers}", PACKAGER_MAX_QUEUE_WAIT_MS="400")
    while server.log.read_text().count("Booting worker") < workers:
        time.sleep(0.02)
    busy = []
    for count in range(workers):
        busy.append(Asking(server, b'{"sleep": 4}'))
        server.begun(count + 1)
    since = time.monotonic()
    late = [Asking(server, body) for body in [b"{}"] * 30 + [b" " * 300_000] * 2]
    assert server.ask("GET", "/")[0] == 200
    assert time.monotonic() - since < 2
    for each in late:
        each.join()
    took = time.monotonic() - since
    assert {each.answer[0] for each in late} == {503}
    assert b"longer than 0.4 s" in late[0].answer[1]
    assert 0.3 < took < 3
    for each in busy:
        each.join()
        assert each.answer[0] == 200
    assert server.ask()[0] == 200
    assert len(server.log.with_name("begun").read_text().splitlines()) == workers + 1


def test_health_answers_behind_many_that_no_worker_has_time_for(serve: Any) -> None:
    server = serve("--workers=2")
    while server.log.read_text().count("Booting worker") < 2:
        time.sleep(0.02)
    busy = []
    for count in range(2):
        busy.append(Asking(server, b'{"sleep": 5}'))
        server.begun(count + 1)
    waiting = [Asking(server, b"{}") for _ in range(60)]
    time.sleep(0.1)
    since = time.monotonic()
    assert server.ask("GET", "/")[0] == 200
    assert time.monotonic() - since < 4
    for each in (*busy, *waiting):
        each.join()
        assert each.answer[0] == 200
    shares = Counter(each.answer[1] for each in waiting)
    assert min(shares.values()) > 3, "each worker has its share of them"


def test_clients_that_send_nothing_keep_nobody_waiting(serve: Any) -> None:
    server = serve()
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
    for each in slow[:20]:
        each.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert server.ask()[0] == 200
    server.process.send_signal(signal.SIGTERM)
    for each in slow:
        each.close()
    assert server.process.wait(10) == 0


def test_a_large_body_that_stands_still_does_not_keep_others_waiting(serve: Any) -> None:
    # It may stand still for a minute where nobody waits.
    server = serve("--timeout=300", PACKAGER_MAX_BODY="3000000")
    # All the room there is, and more: the next large body waits for it, and a small one for nothing.
    with closing(socket.create_connection(("127.0.0.1", server.port))) as slow:
        other = socket.create_connection(("127.0.0.1", server.port))
        for each in (slow, other):
            each.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + bytes(2_999_990))
        begun = time.monotonic()
        assert server.ask(body=b'{"pad": "' + b"x" * 200_000 + b'"}')[0] == 200
        assert server.ask(body=b'{"pad": "' + b"x" * 2_900_000 + b'"}')[0] == 200
        assert time.monotonic() - begun < 15, "not until one of them is silent for a minute"
        other.close()


@pytest.mark.parametrize("first", ["/score", "//score", "/%73core"])
def test_health_is_answered_before_what_waits_and_beside_what_is_scored(serve: Any, first: str) -> None:
    server = serve()
    scored = Asking(server, b'{"sleep": 2}', first)
    server.begun(1)
    waits = [Asking(server, b"{}") for _ in range(3)]
    assert server.ask("GET", "/")[0] == 200
    assert server.ask("GET", "/swagger.json")[0] == 200
    assert scored.is_alive()
    assert all(each.is_alive() for each in waits)
    for each in (scored, *waits):
        each.join()
    assert {each.answer[0] for each in (scored, *waits)} == {200}


def test_a_request_that_comes_in_pieces_is_put_together(serve: Any) -> None:
    server = serve()
    pieces = (b"POST /sco", b"re HTTP/1.1\r\nHost: x\r\nContent-Le", b"ngth: 12\r\n\r\n{", b'"sleep"', b": 0}")
    for pause in (0.01, 0.15):
        with closing(socket.create_connection(("127.0.0.1", server.port), timeout=20)) as sock:
            for each in pieces:
                sock.sendall(each)
                time.sleep(pause)
            assert sock.recv(12) == b"HTTP/1.1 200"


def test_a_client_that_does_not_read_its_answer_keeps_nobody_waiting(serve: Any) -> None:
    server = serve()
    body = b'{"large": 30000000}'
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=20)) as slow:
        slow.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        server.begun(1)
        assert server.ask()[0] == 200
        server.process.send_signal(signal.SIGTERM)
        answer = b""
        while chunk := slow.recv(1 << 20):
            answer += chunk
    assert answer.endswith(bytes(30_000_000)), "it is sent to its end before the worker ends"
    assert server.process.wait(10) == 0


def test_half_open_connections_do_not_keep_health_from_answering(serve: Any) -> None:
    server = serve()
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(CONNECTIONS + 60)]
    for each in slow:
        each.sendall(b"POST /score HTT")
    assert server.ask("GET", "/")[0] == 200
    for each in slow:
        each.close()


def test_a_body_above_the_limit_is_refused_and_the_worker_lives(serve: Any) -> None:
    server = serve(PACKAGER_MAX_BODY="1000000")
    status, body = server.ask(body=bytes(300_000_000))
    assert (status, json.loads(body)) == (413, {"message": "The body of the request is larger than 1000000 bytes."})
    before = server.ask("GET", "/")[1]
    chunked = b"POST /score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=20)) as sock:
        sock.sendall(chunked + (b"80000\r\n" + bytes(0x80000) + b"\r\n") * 2 + b"0\r\n\r\n")
        answer = sock.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"larger than 1000000 bytes" in answer
    assert server.ask(body=b'{"pad": "' + b"x" * 900_000 + b'"}')[1] == before


def test_a_gunicorn_file_of_the_user_goes_before_ours(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("threads = 3\nmax_requests = 5\n")
    found = in_image.settings(str(tmp_path))
    assert (found["threads"], found["max_requests"]) == (3, 5)
    assert "worker_class" not in found
    (tmp_path / "gunicorn.conf.py").write_text("max_requests = 5\n")
    assert in_image.settings(str(tmp_path))["worker_class"] == "packager.programs.image.worker.Worker"


def test_gunicorn_opens_no_socket_for_a_command_that_nobody_has(tmp_path: Path) -> None:
    assert in_image.settings(str(tmp_path))["control_socket_disable"] is True
    for said, disabled in (("control_socket = '/tmp/x'\n", None), ("control_socket_disable = False\n", False)):
        (tmp_path / "gunicorn.conf.py").write_text(said)
        assert in_image.settings(str(tmp_path)).get("control_socket_disable") is disabled


def test_another_gunicorn_keeps_the_servers_own_worker(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gunicorn.workers.sync import SyncWorker

    monkeypatch.setattr(SyncWorker, "handle", lambda self, connection: None)
    assert in_image.worker_class() is None
    assert "its own worker is used" in capsys.readouterr().err


class Before23:
    """gunicorn's configuration as it was: a worker class that is no text fails when it is asked for its name."""

    def __init__(self, knows_text: bool = True) -> None:
        self._knows_text = knows_text

    def set(self, name: str, value: Any) -> None:
        assert name == "worker_class"
        self._value = value

    @property
    def worker_class_str(self) -> str:
        assert not self._value.endswith("SyncWorker")
        return str(self._value)

    @property
    def worker_class(self) -> Any:
        if not self._knows_text:
            raise RuntimeError("class uri invalid or not found")
        module, _, name = self._value.rpartition(".")
        return getattr(importlib.import_module(module), name)


def test_an_old_gunicorn_takes_our_worker_by_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gunicorn.config.Config", Before23)
    assert in_image.worker_class() == "packager.programs.image.worker.Worker"
    monkeypatch.setattr("gunicorn.config.Config", lambda: Before23(knows_text=False))
    assert in_image.worker_class() is None
    assert "class uri invalid" in capsys.readouterr().err


def test_keys_hold_where_the_worker_is_the_servers_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gunicorn.config.Config", lambda: Before23(knows_text=False))
    monkeypatch.setenv("PACKAGER_AUTH", "key")
    monkeypatch.setenv("PACKAGER_PRIMARY_KEY", "k" * 20)
    found = in_image.settings(str(tmp_path))
    assert "worker_class" not in found

    class Theirs:
        wsgi: Any = None

    worker = Theirs()
    found["post_worker_init"](worker)
    answers: list[str] = []
    environ = {"PATH_INFO": "/score", "REQUEST_METHOD": "POST"}
    worker.wsgi(environ, lambda status, _: answers.append(status))
    assert answers == ["401 Unauthorized"]


def test_a_connection_has_time_for_each_block_and_for_all_but_not_for_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("packager.programs.image.worker.time.monotonic", lambda: now[0])
    connection = Connection(None, silence=60, whole_body=100)
    assert (connection.deadline, connection.began) == (130, False)
    connection.reading()
    assert connection.deadline == 160
    assert not connection.stalls(now[0] + STALL)
    assert connection.stalls(now[0] + STALL + 0.1)
    now[0] += 50
    connection.waiting()
    assert connection.deadline == float("inf")
    now[0] += 1000
    connection.reading()
    assert connection.deadline == now[0] + 50, "of 100 s for the whole body 50 are left"
    connection.waiting()
    connection.sending(10 * 1024)
    assert connection.deadline == now[0] + 70


KEY = "k" * 32


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"GUNICORN_CMD_ARGS": "--threads=2"},
        {"GUNICORN_CMD_ARGS": ""},
        {"GUNICORN_CMD_ARGS": "--preload"},
        {"PACKAGER_AUTH": "none"},
        {"PACKAGER_AUTH": "", "GUNICORN_CMD_ARGS": "--config=/dev/null"},
    ],
)
def test_no_variable_turns_keys_off(serve: Any, tmp_path: Path, variables: dict[str, str]) -> None:
    # In the place of the server's own start, which does the same with gunicorn.
    library = tmp_path / "lib/azureml_inference_server_http"
    library.mkdir(parents=True)
    (library / "__init__.py").touch()
    (library / "amlserver.py").write_text("from gunicorn.app.wsgiapp import run\n")
    variables = {"PACKAGER_PRIMARY_KEY": KEY, "PACKAGER_AUTH": "key", "PYTHONPATH": str(library.parent), **variables}
    server = serve(start=f"{tmp_path}/opt/packager/start.py", **variables)
    answers = [server.ask(path="/swagger.json", Authorization=f"Bearer {key}")[0] for key in (KEY, KEY[1:] + "x", "")]
    assert answers == [200, 401, 401]


def test_without_keys_it_does_not_start(tmp_path: Path) -> None:
    library = tmp_path / "azureml_inference_server_http"
    library.mkdir(parents=True)
    (library / "__init__.py").touch()
    (library / "amlserver.py").write_text("def run(): raise AssertionError\n")
    lay_down(tmp_path / "opt")
    env = {"PYTHONPATH": str(tmp_path), "PACKAGER_AUTH": "none"}
    done = subprocess.run(
        [sys.executable, tmp_path / "opt/packager/start.py"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    assert "has none" in done.stderr
