"""The queue in front of the inference server, with threads that ask and a main thread that scores."""

import contextlib
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from packager.programs.image.answer import Answer, EndedError, LeftError, Room
from packager.programs.image.bounded import Bounded
from packager.programs.image.scoring import LARGEST, Scoring, body_limit
from packager.programs.image.turns import QUEUE_WAIT, longest_wait, standing, waited


class Asked:
    """One request, asked by a thread of its own; what came back."""

    def __init__(self, scoring: Scoring, path: str = "/score", body: bytes = b"{}", **environ: Any) -> None:
        self.environ = {
            "PATH_INFO": path,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            **environ,
        }
        self.status, self.headers, self.body = "", dict[str, str](), b""
        self.error: BaseException | None = None
        self.scoring = scoring
        self.thread = threading.Thread(target=self.ask)
        self.thread.start()

    def start_response(self, status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
        self.status, self.headers = status, dict(headers)

    def ask(self) -> None:
        try:
            self.body = b"".join(self.scoring(self.environ, self.start_response))
        except BaseException as error:
            self.error = error

    def done(self) -> "Asked":
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self


class App:
    """Stands for the inference server: says which thread scored, and waits where it is told to."""

    def __init__(self) -> None:
        self.threads = list[threading.Thread]()
        self.gate = threading.Event()
        self.gate.set()
        self.respond: Callable[[dict[str, Any], Any], Any] = self.echo

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.threads.append(threading.current_thread())
        if environ["PATH_INFO"] == "/score":
            self.gate.wait(10)
        return self.respond(environ, start_response)

    def echo(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def scoring(app: App) -> Iterator[Scoring]:
    found = Scoring(app, broken=(ZeroDivisionError,), limit=2)
    worker = threading.Thread(target=found.work)
    worker.start()
    yield found
    app.gate.set()
    found.stop()
    worker.join(10)
    assert not worker.is_alive()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_only_scoring_is_of_the_main_thread_and_the_rest_does_not_wait_for_it(app: App, scoring: Scoring) -> None:
    app.gate.clear()
    first = Asked(scoring, body=b"[1]")
    until(lambda: scoring.busy)
    health = Asked(scoring, "/").done()
    assert health.status == "200 OK"
    assert app.threads[1] is health.thread
    app.gate.set()
    assert first.done().body == b"[1]"
    assert app.threads[0] is not first.thread
    until(lambda: not scoring.load)


@pytest.mark.parametrize("path", ["/score", "//score", "///score/"])
def test_what_the_server_takes_for_score_is_scored_in_turn(app: App, scoring: Scoring, path: str) -> None:
    asked = Asked(scoring, path).done()
    assert app.threads[0] is not asked.thread


def test_more_than_the_limit_waits_for_nothing(app: App, scoring: Scoring) -> None:
    app.gate.clear()
    waiting = [Asked(scoring) for _ in range(3)]
    until(lambda: scoring.load == 3)
    refused = Asked(scoring).done()
    assert (refused.status, refused.headers["Retry-After"]) == ("503 Service Unavailable", "1")
    app.gate.set()
    assert [each.done().status for each in waiting] == ["200 OK"] * 3


def test_who_waits_for_longer_than_the_limit_is_told_so_and_not_scored(app: App) -> None:
    scoring = Scoring(app, longest=0.5)
    worker = threading.Thread(target=scoring.work)
    worker.start()
    app.gate.clear()
    first = Asked(scoring, body=b"[1]")
    until(lambda: scoring.busy)
    since = time.monotonic()
    late = [Asked(scoring) for _ in range(3)]
    assert Asked(scoring, "/").done().status == "200 OK"
    assert not scoring.put(lambda: None), "nobody would wait with it"
    for each in late:
        each.done()
        assert (each.status, each.headers["Retry-After"]) == ("503 Service Unavailable", "1")
        assert json.loads(each.body) == {"message": "The request waited for its turn for longer than 0.5 s."}
        assert each.environ["wsgi.input"].read() == b"", "what nobody answers holds no body"
    assert 0.45 < time.monotonic() - since < 5
    assert scoring.load == 1, "who was told so is no load"
    app.gate.set()
    # Scored for longer than the limit: that is not waiting.
    assert (first.done().status, first.body) == ("200 OK", b"[1]")
    until(lambda: not scoring.load)
    assert Asked(scoring).done().status == "200 OK"
    assert scoring.put(lambda: None)
    until(lambda: not scoring.load)
    scoring.stop()
    worker.join(10)
    assert len(app.threads) == 3, "first, /, and the last"


def test_what_has_waited_in_the_kernels_queue_has_waited(app: App) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        for pause, status in ((0.0, "200 OK"), (0.7, "503 Service Unavailable")):
            client = socket.create_connection(server.getsockname())
            client.sendall(b"{}")
            time.sleep(pause)
            assert standing(server) == 1
            accepted, _ = server.accept()
            assert pause <= waited(accepted) + 0.02 < pause + 5
            environ = {"gunicorn.socket": accepted, "PATH_INFO": "/score", "wsgi.input": io.BytesIO(b"{}")}
            for application in (Scoring(app, longest=0.5), Bounded(app, LARGEST, 0.5)):
                said: list[str] = []
                list(application(dict(environ), lambda status, _, said=said: said.append(status)))
                assert said == [status]
            client.close()
            accepted.close()
    assert (waited(object()), standing(None)) == (0, 0)


@pytest.mark.parametrize(("asked", "seconds"), [("500", 0.5), ("0", None), ("", None), ("-1", None), ("1.5", None)])
def test_the_longest_wait_is_in_milliseconds(asked: str, seconds: float | None) -> None:
    assert longest_wait({QUEUE_WAIT: asked}) == seconds


def test_an_aborted_worker_tells_those_that_wait_to_come_again(app: App) -> None:
    scoring = Scoring(app)
    app.gate.clear()
    worker = threading.Thread(target=scoring.work)
    worker.start()
    scored = Asked(scoring)
    until(lambda: scoring.busy)
    waits = Asked(scoring)
    until(lambda: scoring.load == 2)
    scoring.abort()
    app.gate.set()
    assert scored.done().status == "200 OK"
    assert waits.done().status == "503 Service Unavailable"
    assert Asked(scoring).done().status == "503 Service Unavailable"
    worker.join(10)


def test_an_error_of_the_script_is_raised_where_the_connection_is(app: App, scoring: Scoring) -> None:
    def fails(*_: Any) -> Any:
        raise SystemExit(5)

    app.respond = fails
    assert isinstance(Asked(scoring).done().error, EndedError)
    app.respond = app.echo
    assert Asked(scoring).done().status == "200 OK"


def test_a_stream_is_made_by_the_main_thread_and_ended_by_an_error(app: App, scoring: Scoring) -> None:
    made = list[threading.Thread]()

    def stream(_: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        for number in range(3):
            made.append(threading.current_thread())
            yield b"%d" % number
        raise ValueError("half way")

    app.respond = stream
    asked = Asked(scoring).done()
    assert isinstance(asked.error, ValueError)
    assert asked.status == "200 OK"
    assert {*made} == {app.threads[0]} != {asked.thread}


def test_a_client_that_goes_ends_the_stream() -> None:
    answer = Answer(ahead=4)
    answer.start("200 OK", [])
    answer.write(b"12345")
    refused = threading.Event()

    def write_more() -> None:
        with contextlib.suppress(LeftError):
            while True:
                answer.write(b"6")
        refused.set()

    writer = threading.Thread(target=write_more)
    writer.start()
    chunks = iter(answer)
    assert next(chunks) == b"12345"
    answer.close()
    writer.join(10)
    assert refused.is_set()
    with pytest.raises(LeftError):
        answer.write(b"8")


TERMINATED: Any = {"wsgi.input_terminated": True}


class Broken(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("environ", "body"),
    [
        ({"CONTENT_LENGTH": "10"}, b"short"),
        ({"CONTENT_LENGTH": "", "wsgi.input_terminated": True, "wsgi.input": Broken()}, b""),
    ],
)
def test_a_broken_body_is_a_bad_request_and_is_not_scored(
    app: App, scoring: Scoring, environ: dict[str, Any], body: bytes
) -> None:
    asked = Asked(scoring, body=body, **environ).done()
    assert asked.status == "400 Bad Request"
    assert "headers say" in json.loads(asked.body)["message"]
    assert app.threads == []


def test_a_chunked_body_arrives_whole(scoring: Scoring) -> None:
    body = bytes(200_000)
    asked = Asked(scoring, body=body, CONTENT_LENGTH="", **TERMINATED).done()
    assert asked.body == body


def test_one_body_may_be_larger_than_the_room_and_others_wait_for_it() -> None:
    room, first, second = Room(10), object(), object()
    room.take(first, 8)
    room.take(first, 8)
    waits = threading.Thread(target=room.take, args=(second, 1))
    waits.start()
    waits.join(0.05)
    assert waits.is_alive()
    room.give_back(first, 16)
    waits.join(10)
    assert not waits.is_alive()


@pytest.mark.parametrize(
    ("body", "environ", "status"),
    [
        (b"12345", {}, "200 OK"),
        (b"123456", {}, "413 Request Entity Too Large"),
        (b"", {"CONTENT_LENGTH": "999999999999999"}, "413 Request Entity Too Large"),
        (b"12345", {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}, "200 OK"),
        (b"123456", {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}, "413 Request Entity Too Large"),
    ],
)
def test_a_body_has_a_limit(app: App, body: bytes, environ: dict[str, Any], status: str) -> None:
    scoring = Scoring(app, largest=5)
    work = threading.Thread(target=scoring.work)
    work.start()
    asked = Asked(scoring, body=body, **environ).done()
    scoring.stop()
    work.join(10)
    assert asked.status == status
    assert len(app.threads) == (status == "200 OK")
    assert asked.environ["wsgi.input"].read() == b"", "read on, so that the client sees the answer"


def test_the_limit_of_a_body_follows_the_containers_memory(tmp_path: Path) -> None:
    def limit(text: str, **environ: str) -> int:
        (tmp_path / "memory.max").write_text(text)
        return body_limit(environ, [str(tmp_path / "missing"), str(tmp_path / "memory.max")])

    assert limit("419430400\n") == 52428800
    assert limit("max\n") == LARGEST
    assert limit("9223372036854771712\n") == LARGEST
    assert limit("419430400\n", PACKAGER_MAX_BODY="7") == 7
    assert limit("419430400\n", PACKAGER_MAX_BODY="lots") == 52428800
