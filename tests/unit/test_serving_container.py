import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from packager.errors import EngineError
from packager.serving.client import answers
from packager.serving.hosts.docker.container import create_options, start_failure, state_of
from packager.serving.service import ImageRequest, KeyPair, Mounted, Publish, State


def request(**changes: object) -> ImageRequest:
    values = {"reference": "a:1", "name": "n", "publish": Publish(container_port=5001, port=6789)}
    return ImageRequest(**{**values, **changes})  # type: ignore[arg-type]


def test_it_runs_as_in_production() -> None:
    assert create_options(request(env={"A": "b c"}), "127.0.0.1") == {
        "image": "a:1",
        "name": "n",
        "environment": {"A": "b c"},
        "ports": {"5001/tcp": ("127.0.0.1", 6789)},
        "read_only": True,
        "tmpfs": {"/tmp": ""},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": 4096,
    }


def test_a_free_port_and_a_limit() -> None:
    options = create_options(request(publish=Publish(container_port=5001, port=0), memory="1g"), "127.0.0.1")
    assert options["ports"] == {"5001/tcp": ("127.0.0.1", None)}
    assert options["mem_limit"] == options["memswap_limit"] == "1g"


def test_models_are_mounted_as_they_are_beside_the_keys() -> None:
    mounts = (Mounted(folder=Path("/cache/registered/1f"), path="/var/azureml-app/azureml-models/big/1"),)
    options = create_options(request(mounts=mounts, keys=KeyPair(primary="a", secondary="b")), "127.0.0.1")
    model, keys = options["mounts"]
    assert model == {
        "Type": "bind",
        "Source": "/cache/registered/1f",
        "Target": "/var/azureml-app/azureml-models/big/1",
        "ReadOnly": True,
    }
    assert keys["Type"] == "volume"
    assert len(create_options(request(mounts=mounts), "127.0.0.1")["mounts"]) == 1


def test_states_of_the_engine() -> None:
    assert state_of({"State": {"Running": True, "ExitCode": 0, "OOMKilled": False}}) == State(running=True)
    ended = {"Running": False, "ExitCode": 137, "OOMKilled": True}
    limited = {"State": ended, "HostConfig": {"Memory": 64}}
    assert state_of(limited) == State(running=False, exit_code=137, out_of_memory=True, memory=64)


# As written by Docker Engine 26.1.5 and 28.
TAKEN = (
    "driver failed programming external connectivity on endpoint n (1f): "
    "Bind for 127.0.0.1:6789 failed: port is already allocated"
)
TAKEN_OUTSIDE = (
    "driver failed programming external connectivity on endpoint n (1f): Error starting userland proxy: "
    "listen tcp4 127.0.0.1:6789: bind: address already in use"
)
TAKEN_NEW = "failed to bind host port 127.0.0.1:6789/tcp: address already in use"
NAME = 'Conflict. The container name "/n" is already in use by container "1f". You have to remove (or rename) it'


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (TAKEN, "port 6789 is taken"),
        (TAKEN_OUTSIDE, "-p 0:5001"),
        (TAKEN_NEW, "port 6789 is taken"),
        (NAME, "docker rm --force n"),
        ('invalid mount config for type "bind": bind source path does not exist: /x/1f', "has no folder /x/1f"),
        ("no such device", "did not start a:1: no such device"),
    ],
)
def test_why_it_did_not_start(message: str, words: str) -> None:
    error = start_failure(message, request())
    assert isinstance(error, EngineError)
    assert words in str(error)


@contextmanager
def server(status: int) -> Iterator[int]:
    """Answers every GET with a status; gives its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running.server_port
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_health(status: int, healthy: bool) -> None:
    with server(status) as port:
        assert answers(f"http://127.0.0.1:{port}/") is healthy


def test_nobody_is_there() -> None:
    assert not answers("http://127.0.0.1:1/")


def test_somebody_who_speaks_no_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=lambda: listening.accept()[0].close())
        thread.start()
        assert not answers(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        thread.join()
