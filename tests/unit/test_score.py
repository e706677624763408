import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import packager.steps.score as step
from packager.cli.score import _with_state, command
from packager.errors import EngineError, ServiceError, UsageError
from packager.serving.client import Answer
from packager.serving.running import Running
from packager.serving.status import StateName, Status
from packager.spec.model import Server

SPEC = 'name: d\nversion: "1"\nentry_script: s.py\nenvironment: r.txt\nserver: {port: 6001}\n'


class Sent:
    """Stands for the service: keeps what was sent, and answers."""

    def __init__(self) -> None:
        self.url, self.body, self.headers, self.timeout = "", b"", dict[str, str](), 0.0
        self.answer, self.kind = b"[1, 2]\xff", "application/json"

    def __call__(self, url: str, body: bytes, *, headers: dict[str, str], timeout: float) -> Answer:
        self.url, self.body, self.headers, self.timeout = url, body, headers, timeout
        return Answer(status=200, content_type=self.kind, body=self.answer)


class Runs:
    """A host with runs; one that is down says so."""

    def __init__(self, *urls: str, down: bool = False) -> None:
        self.urls, self.down = urls, down

    def runs(self) -> tuple[Running, ...]:
        if self.down:
            raise EngineError("no engine")
        return tuple(
            Running(title=f"the container {url[-2]}", url=url, log=f"docker logs {url[-2]}") for url in self.urls
        )


def status(name: str, state: StateName = "Healthy") -> Status:
    return Status(name=name, state=state, reason="why", image="x:1", url=f"http://127.0.0.1:7001/{name}/")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sent:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "request.json").write_bytes(b'{"data": "\xc3\xa4"}')
    service = Sent()
    monkeypatch.setattr(step, "post", service)
    monkeypatch.setattr(step, "list_services", lambda _: ())
    monkeypatch.setattr(step, "PROCESSES", Runs())
    monkeypatch.setattr(step, "ENGINE", Runs())
    monkeypatch.setattr(step, "answers", lambda _: False)
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
    with pytest.raises(UsageError, match=r"--data nothing\.json: it cannot be read"):
        run("--data", "nothing.json")
    with pytest.raises(Exception, match=r"nothing\.yaml"):
        run("--data", "request.json", "-f", "nothing.yaml")


def test_an_error_of_the_service_passes_through(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Answer:
        raise ServiceError("no")

    monkeypatch.setattr(step, "post", refuse)
    with pytest.raises(ServiceError):
        run("--data", "request.json")


# --- what is sent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"rows": [1, "ä"]}', "[1, 2]", '"word"', ' {"a": 1}', "5", "-1.5e3", "null"])
def test_json_as_it_stands(sent: Sent, text: str) -> None:
    run("--data", text)
    assert (sent.body, sent.headers) == (text.encode(), {})


@pytest.mark.parametrize("words", [("@request.json",), ("request.json",), ("./request.json",)])
def test_a_file_in_both_spellings(sent: Sent, words: tuple[str]) -> None:
    run("--data", *words)
    assert sent.body == b'{"data": "\xc3\xa4"}'


def test_standard_input_as_curl_spells_it(sent: Sent) -> None:
    run("--data", "@-", data=b"[7]")
    assert sent.body == b"[7]"


def test_what_is_no_json_is_told_before_it_is_sent(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[object]()

    def none(_: object) -> tuple[Status, ...]:
        asked.append(1)
        return ()

    monkeypatch.setattr(step, "list_services", none)
    with pytest.raises(UsageError, match="--data is no JSON: Expecting property name") as caught:
        run("--data", "{rows: [1]}")
    assert caught.value.remedy == "quote it for the shell: --data '{\"rows\": [1]}'; @FILE sends a file"
    with pytest.raises(UsageError, match="--data is no JSON: Expecting ',' delimiter") as caught:
        run("--data", '{"texts": ["a", "b"}')
    assert caught.value.remedy == "mend it at that place; @FILE sends a file"
    Path("bad.json").write_text('{"texts": [')
    with pytest.raises(UsageError, match=r"bad\.json is no JSON"):
        run("--data", "bad.json")
    assert sent.url == ""
    assert asked == [], "and before anybody is looked for"
    run("--data", "@bad.json", "--header", "content-type: text/plain")
    assert sent.body == b'{"texts": ['
    run("--data", "{rows: [1]}", "--header", "content-type: text/plain")
    assert sent.body == b"{rows: [1]}"
    run("--data", "{rows", "--binary")
    assert sent.body == b"{rows"


@pytest.mark.usefixtures("sent")
def test_a_request_without_a_body() -> None:
    with pytest.raises(UsageError, match="a request has one of --data and --form"):
        run()


# --- whom it is sent to -----------------------------------------------------------------------------------------------


def test_the_one_service_that_runs(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "list_services", lambda _: (status("a"), status("b", "Failed")))
    monkeypatch.setattr("packager.steps.service.look", status)
    result = run("--data", "[1]")
    assert sent.url == "http://127.0.0.1:7001/score"
    assert "asking the service a at http://127.0.0.1:7001/score\n" in result.stderr
    assert "asking" not in run("--data", "[1]", "-q").stderr


def test_the_one_container_that_runs(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "ENGINE", Runs("http://127.0.0.1:49000/"))
    assert "asking the container 0 at http://127.0.0.1:49000/score" in run("--data", "[1]").stderr
    assert sent.url == "http://127.0.0.1:49000/score"


@pytest.mark.usefixtures("sent")
def test_of_several_none_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "list_services", lambda _: (status("a"),))
    monkeypatch.setattr(step, "PROCESSES", Runs("http://127.0.0.1:5005/"))
    monkeypatch.setattr(step, "answers", lambda url: url == "http://127.0.0.1:5001/")
    with pytest.raises(UsageError) as caught:
        run("--data", "[1]")
    assert str(caught.value.message).splitlines() == [
        "3 services run here:",
        "    the service a: http://127.0.0.1:7001/score",
        "    the container 5: http://127.0.0.1:5005/score",
        "    what is at the spec's port: http://127.0.0.1:5001/score",
    ]
    assert caught.value.remedy == "say which: --service a, or --url URL"


@pytest.mark.usefixtures("sent")
def test_services_of_which_none_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "list_services", lambda _: (status("a", "Failed"), status("b", "Unhealthy")))
    with pytest.raises(ServiceError, match="no service runs here: a is Failed, b is Unhealthy") as caught:
        run("--data", "[1]")
    assert caught.value.remedy == "`packager service show a`"


def test_without_an_engine_it_is_the_port_of_the_spec(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(_: object) -> tuple[Status, ...]:
        raise EngineError("no engine")

    monkeypatch.setattr(step, "list_services", down)
    monkeypatch.setattr(step, "ENGINE", Runs(down=True))
    run("--data", "[1]")
    assert sent.url == f"http://127.0.0.1:{Server().port}/score"


# --- how the answer is printed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind", "shown"),
    [
        (b'{"a": [1, 2.5]}', "application/json", {"body": {"a": [1, 2.5]}}),
        (b"not json", "application/json", {"body": "not json"}),
        (b"text", "text/plain", {"body": "text"}),
        (b"\xff\x00", "image/png", {"base64": "/wA="}),
    ],
)
def test_the_answer_as_json(sent: Sent, body: bytes, kind: str, shown: dict[str, Any]) -> None:
    sent.answer, sent.kind = body, kind
    result = run("--data", "[1]", "--url", "http://a/score", "--format", "json")
    known = {"url": "http://a/score", "status": 200, "content_type": kind, "bytes": len(body)}
    assert json.loads(result.stdout) == known | shown


def test_the_log_of_what_was_run_has_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "PROCESSES", Runs())
    monkeypatch.setattr(step, "ENGINE", Runs("http://127.0.0.1:6791/"))
    assert step.log_command("http://127.0.0.1:6791/score") == "docker logs 1"
    assert step.log_command("http://127.0.0.1:6792/score") == ""
    raised = ServiceError("500", remedy="the service's log has the traceback")
    told = _with_state(None, "http://127.0.0.1:6791/score", raised)
    assert told.remedy == "`docker logs 1` has what it wrote"
    assert _with_state(None, "http://elsewhere/score", raised) is raised
    other = ServiceError("401", remedy="give its key")
    assert _with_state(None, "http://127.0.0.1:6791/score", other) is other
