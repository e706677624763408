from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import packager.steps.score as step
from packager.cli.score import command
from packager.errors import ServiceError, UsageError
from packager.serving.client import Answer
from packager.spec.model import Server

SPEC = 'name: d\nversion: "1"\nentry_script: s.py\nenvironment: r.txt\nserver: {port: 6001}\n'


class Sent:
    """Stands for the service: keeps what was sent, and answers."""

    def __init__(self) -> None:
        self.url, self.body, self.headers, self.timeout = "", b"", dict[str, str](), 0.0
        self.answer = b"[1, 2]\xff"

    def __call__(self, url: str, body: bytes, *, headers: dict[str, str], timeout: float) -> Answer:
        self.url, self.body, self.headers, self.timeout = url, body, headers, timeout
        return Answer(status=200, content_type="application/json", body=self.answer)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sent:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "request.json").write_bytes(b'{"data": "\xc3\xa4"}')
    service = Sent()
    monkeypatch.setattr(step, "post", service)
    return service


def run(*args: str, data: bytes = b"") -> Any:
    return CliRunner().invoke(command, args, input=data, catch_exceptions=False)


def test_a_file(sent: Sent) -> None:
    result = run("--data", "request.json")
    assert result.exit_code == 0
    assert result.stdout_bytes == b"[1, 2]\xff"  # byte for byte, nothing added
    assert sent.url == f"http://127.0.0.1:{Server().port}/score"
    assert sent.body == b'{"data": "\xc3\xa4"}'
    assert sent.headers == {}
    assert sent.timeout == 60


def test_standard_input(sent: Sent) -> None:
    run("--data", "-", "--timeout", "3", data=b"\x00\xff")
    assert (sent.body, sent.timeout) == (b"\x00\xff", 3)


def test_the_port_of_the_spec(sent: Sent, tmp_path: Path) -> None:
    (tmp_path / "packager.yaml").write_text(SPEC)
    run("--data", "request.json")
    assert sent.url == "http://127.0.0.1:6001/score"
    run("--data", "request.json", "--url", "http://other/score")
    assert sent.url == "http://other/score"


def test_binary_and_headers(sent: Sent) -> None:
    run("--data", "request.json", "--binary", "--header", "X-A: b:c", "--header", "X-B:")
    assert sent.headers == {"Content-Type": "application/octet-stream", "X-A": "b:c", "X-B": ""}


@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize("header", ["no-colon", ": x", "a: b\r\nInjected: 1"])
def test_what_is_no_header(header: str) -> None:
    with pytest.raises(UsageError):
        run("--data", "request.json", "--header", header)


@pytest.mark.usefixtures("sent")
def test_files_that_are_not_there() -> None:
    assert run("--data", "nothing.json").exit_code == 2
    with pytest.raises(Exception, match=r"nothing\.yaml"):
        run("--data", "request.json", "-f", "nothing.yaml")


def test_an_error_of_the_service_passes_through(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Answer:
        raise ServiceError("no")

    monkeypatch.setattr(step, "post", refuse)
    with pytest.raises(ServiceError):
        run("--data", "request.json")
