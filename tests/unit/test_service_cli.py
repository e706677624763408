"""What the verbs `service`, `score` and `test` refuse before any engine is asked, and where a key comes from."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

LEAST = 'name: a\nversion: "1"\nentry_script: score.py\nenvironment: {pip: []}\n'
NOWHERE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


def run(*words: str, cwd: Path, stdin: str = "{}", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "packager", *words],
        cwd=cwd, env={**os.environ, **NOWHERE, **env}, input=stdin, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("service", "deploy", "A_b", "x:1"), 2, "cannot be the name of a service"),
        (("service", "deploy", "a", "x:1", "-p", "nonsense"), 2, "-p 'nonsense'"),
        (("service", "deploy", "a", "x:1", "--memory", "much"), 2, "--memory 'much'"),
        (("service", "deploy", "a", "x:1"), 7, "to do:"),
        (("service", "update", "a", "--cpus", "0"), 2, "cpus"),
        (("service", "list"), 7, "to do:"),
        (("service", "deploy", "a", "x:1", "--traffic", "10"), 2, "--traffic is the share of a version"),
        (("service", "deploy", "a", "x:1", "--version", "B_1"), 2, "cannot be the name of a version"),
        (("service", "deploy", "a", "x:1", "--version", "b", "--traffic", "101"), 2, "0<=x<=100"),
        (("service", "traffic", "a", "b=90", "c=20"), 2, "sum to 110 %, not to 100 % (90 + 20)"),
        (("service", "traffic", "a", "b:90"), 2, "'b:90' is no share"),
        (("service", "traffic", "a"), 7, "to do:"),
        (("score", "--url", "http://127.0.0.1:1/", "--service", "a", "--data", "-"), 2, "two services"),
        (("score", "--url", "http://127.0.0.1:1/", "--data", "-", "--key", "seä"), 2, "the key"),
        (("test",), 2, "no tests"),
        (("run", "x:1", "-p", "1:5001", "-p", "2:5001"), 2, "-p is given 2 times"),
        (("service", "deploy", "a", "x:1", "-p", "1:5001", "-p", "2:5001"), 2, "keep one: -p 2:5001"),
        (("run", "x:1", "--no-docker"), 2, "x:1 is an image"),
        (("run", "--no-docker", "--detach"), 2, "packager service deploy NAME --no-docker"),
        (("run", "--no-docker", "--memory", "1g"), 2, "--memory has no meaning with --no-docker"),
        (("service", "deploy", "a", "--no-docker", "--cpus", "1"), 2, "--cpus has no meaning with --no-docker"),
        (("service", "deploy", "a", "--no-docker", "-p", "nonsense"), 2, "-p 'nonsense'"),
        (("service", "deploy", "a", "--no-docker"), 6, "no entry script 'score.py'"),
    ],
)
def test_what_is_refused(tmp_path: Path, words: tuple[str, ...], code: int, says: str) -> None:
    (tmp_path / "packager.yaml").write_text(LEAST)
    done = run(*words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "seä" not in done.stderr, "a key is never shown"


@pytest.fixture
def echo() -> Iterator[str]:
    """The URL of a service that answers with the key that it got."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = str(self.headers["Authorization"]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/score"
        server.shutdown()
        thread.join()


def test_where_a_key_comes_from(tmp_path: Path, echo: str) -> None:
    (tmp_path / "key").write_text("from-a-file\nrest\n")
    (tmp_path / "body").write_text("{}")
    score = ("score", "--url", echo, "--data", "body")
    assert run(*score, cwd=tmp_path).stdout == "None"
    assert run(*score, cwd=tmp_path, PACKAGER_KEY="from-a-variable").stdout == "Bearer from-a-variable"
    assert run(*score, "--key-file", "key", cwd=tmp_path, PACKAGER_KEY="x").stdout == "Bearer from-a-file"
    assert run(*score, "--key-file", "-", cwd=tmp_path, stdin="from-stdin\n").stdout == "Bearer from-stdin"
