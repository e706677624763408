import http.server
import threading
from collections.abc import Iterator

import pytest

from packager.errors import ServiceError, TemporaryError, UsageError
from packager.serving.client import refused, score

#: Set when what waits shall answer: nobody waits for it any more.
answers = threading.Event()


class Service(http.server.BaseHTTPRequestHandler):
    """Answers by the path: `/score` echoes, `/<status>` fails, `/slow` waits, `/gone` closes."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.removeprefix("/")
        if path == "gone":
            return
        if path == "slow":
            answers.wait()
        status = int(path) if path.isdigit() else 200
        echo = f"{self.headers['Content-Type']}|{self.headers.get('X-Own')}|".encode() + body
        answer = echo if status == 200 else b'{"message": "no such column"}'
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", str(len(answer)))
        if status == 500:
            self.send_header("x-ms-run-function-failed", "True")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        answers.clear()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        answers.set()
        server.shutdown()
        thread.join()


def test_a_good_answer(url: str) -> None:
    assert score(f"{url}/score", b"\xff").body == b"application/json|None|\xff"


def test_headers_replace_the_default_whatever_their_case(url: str) -> None:
    answer = score(f"{url}/score", b"x", headers={"content-type": "text/csv", "x-own": "1"})
    assert answer.body == b"text/csv|1|x"


def test_a_redirect_gets_no_key(url: str) -> None:
    with pytest.raises(ServiceError, match="answered 302") as caught:
        score(f"{url}/302", b"x", headers={"Authorization": "Bearer secret"})
    assert "127.0.0.1:1/elsewhere" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_proxy_is_not_asked_for_this_machine(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert score(f"{url}/score", b"x").status == 200


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (500, "run() raised: no such column"),
        (400, "swagger.json"),
        (404, "/score"),
        (415, "--binary"),
        (401, "PACKAGER_KEY"),
        (503, "503 Service Unavailable: no such column"),
    ],
)
def test_an_error_status(url: str, status: int, words: str) -> None:
    with pytest.raises(ServiceError) as caught:
        score(f"{url}/{status}", b"x")
    assert words in str(caught.value)
    assert str(status) in caught.value.message


def test_nothing_there() -> None:
    with pytest.raises(ServiceError, match="packager run"):
        score("http://127.0.0.1:1/score", b"x")


def test_too_slow(url: str) -> None:
    with pytest.raises(TemporaryError, match=r"within 0\.2 s"):
        score(f"{url}/slow", b"x", timeout=0.2)


def test_it_hung_up(url: str) -> None:
    with pytest.raises(ServiceError, match="closed the connection"):
        score(f"{url}/gone", b"x")


def test_an_unknown_host() -> None:
    with pytest.raises(ServiceError, match="not known"):
        score("http://nosuch.invalid/score", b"x")


@pytest.mark.parametrize(
    "text", ["", "127.0.0.1:5001/score", "file:///x", "ftp://h/score", "http:///score", "http://[::1/x", "http://[zz]/"]
)
def test_no_url(text: str) -> None:
    with pytest.raises(UsageError):
        score(text, b"x")


def test_messages_of_all_kinds() -> None:
    assert refused("u", 502, "Bad Gateway", {}, b"").message == "u answered 502 Bad Gateway"
    assert refused("u", 599, "", {}, b"[1]").message == "u answered 599: [1]"
    assert len(refused("u", 500, "", {}, b"x" * 10_000).message) < 2100
