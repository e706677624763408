"""The gate: nothing is pushed that was not tested, and a test is sent the key only where it says so."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import packager
from packager.builders.builder import BuildWish, Candidate, Job
from packager.builders.choose import Choice
from packager.contract import AUTH_LABEL
from packager.engine.api import LocalImage
from packager.engine.push import Pushed
from packager.errors import ServiceError
from packager.serving import gate
from packager.serving.cases import Prepared
from packager.serving.matching import Expected, Reply
from packager.serving.service import Package, Service
from packager.spec.load import SpecFile, load_spec
from packager.steps import build as build_step
from packager.steps import push as push_step
from packager.steps.gate import Told, require_passed
from packager.steps.needs_tests import needs_tests
from packager.steps.reporting import SILENT

SPEC = """\
name: a
version: "1"
entry_script: score.py
environment: r.txt
test: [{name: one, request: {data: 1}}]
image: {repository: registry.example.com/ml/a}
"""


@pytest.fixture
def spec_file(tmp_path: Path) -> SpecFile:
    (tmp_path / "packager.yaml").write_text(SPEC)
    (tmp_path / "score.py").write_text("def init(): pass\ndef run(d): return d\n")
    return load_spec(tmp_path)


def failing(*_: Any, **__: Any) -> None:
    raise ServiceError("the image failed 1 test")


# --- keys ---


class Heard(http.server.BaseHTTPRequestHandler):
    """Says which Authorization came."""

    def do_GET(self) -> None:
        said = self.headers.get("Authorization", "none").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing."""


@pytest.mark.parametrize("auth", ["key", "none"])
def test_a_test_is_sent_the_key_only_where_it_says_so(auth: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test that a request without key is refused could not be written."""
    sent: list[bytes] = []

    def case(name: str, **more: Any) -> Prepared:
        return Prepared(name=name, method="GET", path="/", body=None, expected=Expected(), **{"headers": {}, **more})

    cases = (case("with"), case("without", key=False), case("own", headers={"authorization": "Bearer mine"}))
    server = http.server.HTTPServer(("127.0.0.1", 0), Heard)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    request_keys: list[Any] = []

    def request_of(*_: Any, keys: Any, **__: Any) -> tuple[None, None]:
        request_keys.append(keys)
        return None, None

    @contextmanager
    def serve(*_: Any, **__: Any) -> Iterator[tuple[Service, None]]:
        url = f"http://127.0.0.1:{server.server_port}/"
        yield Service(container_id="1", name="x", url=url, unit="", key_hint="", seconds=0.0), None

    def send(url: str, case: Prepared, headers: Any) -> Any:
        answer = real(url, case, headers)
        sent.append(answer.body)
        return answer

    real = gate.send
    monkeypatch.setattr(gate, "send", send)
    monkeypatch.setattr(gate, "request_of", request_of)
    monkeypatch.setattr(gate, "serve", serve)
    try:
        package = Package(title="x", target="cpu", platform="linux/amd64", port=1, labels={AUTH_LABEL: auth})
        assert gate.check(package, cases).passed
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    (keys,) = request_keys
    key = f"Bearer {keys.primary}".encode() if keys else b"none"
    assert (keys is not None) == (auth == "key")
    assert sent == [key, b"none", b"Bearer mine"]


def test_where_nobody_answers_it_is_said_and_how_long_it_took() -> None:
    case = Prepared(name="a", method="GET", path="/", body=None, expected=Expected(), headers={})
    found = gate._run_once("http://127.0.0.1:1/", case, {})
    assert found.differences[0].startswith("no answer: ")
    assert 0 <= found.seconds < 60


def test_a_request_is_repeated_until_an_answer_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = iter([200, 200, 500])
    sent: list[str] = []
    looks: list[int] = []

    def send(url: str, case: Prepared, headers: Any) -> Reply:
        sent.append(case.name)
        status = next(statuses) if case.name == "breaks" else 200
        return Reply(status=status, headers=(), body=b"", seconds=len(sent) / 1000)

    @contextmanager
    def serve(*_: Any, **__: Any) -> Iterator[tuple[Service, Any]]:
        class Server:
            def logs(self, lines: int) -> str:
                looks.append(lines)
                started = "Booting worker\nazmlinfsrv - Worker with pid 7 ready for serving traffic\n"
                # What was raised reaches the log a little later than its answer the client.
                return started + ("KeyError: 'x'\n1 I [7] azmlinfsrv - POST /score 500 1ms 9\n" if looks[2:] else "")

        yield Service(container_id="1", name="x", url="http://h/", unit="", key_hint="", seconds=0.0), Server()

    monkeypatch.setattr(gate, "send", send)
    monkeypatch.setattr(gate, "serve", serve)
    monkeypatch.setattr(gate, "request_of", lambda *_, **__: (None, None))
    cases = [
        Prepared(name=name, method="GET", path="/", headers={}, body=None, expected=Expected(status=200))
        for name in ("holds", "breaks")
    ]
    package = Package(title="x", target="cpu", platform="linux/amd64", port=1, labels={})
    report = gate.check(package, cases, repeat=5)
    holds, breaks = report.outcomes
    assert (len(holds.times), holds.differences) == (5, ())
    assert holds.spread == gate.spread_of([0.001, 0.002, 0.003, 0.004, 0.005])
    assert (len(breaks.times), len(breaks.differences), sent.count("breaks")) == (3, 1, 3)
    assert report.log.splitlines() == ["KeyError: 'x'", "1 I [7] azmlinfsrv - POST /score 500 1ms 9"]


def test_what_was_shown_is_not_said_again() -> None:
    outcome = gate.Outcome(name="one", seconds=1, differences=("$: 1 != 2",))
    report = gate.Report(image="x", target="cpu", platform="linux/amd64", outcomes=(outcome,), log="KeyError")
    late = gate.Report(
        image="x", target="cpu", platform="linux/amd64", failure="score.py:1: gone\nit ended\n    its log"
    )
    ways: tuple[Told, ...] = ("nothing", "outcomes", "all")
    said = dict[Told, str]()
    for told in ways:
        with pytest.raises(ServiceError) as caught:
            require_passed([report, late], told)
        said[told] = caught.value.message
    shown = ("$: 1 != 2", "KeyError", "its log")
    assert [[each in text for each in shown] for text in said.values()] == [
        [True, True, True],
        [False, True, False],
        [False, False, False],
    ]
    assert all(
        "x failed 1 test" in text and "x did not start: score.py:1: gone\nit ended" in text for text in said.values()
    )


# --- before a push ---


def test_nothing_is_pushed_that_fails_its_tests(spec_file: SpecFile, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[str] = []

    def push_image(reference: str, **_: Any) -> Pushed:
        pushed.append(reference)
        return Pushed(reference=reference, digest="sha256:0", uploaded=0, present=0)

    gated: list[tuple[Any, ...]] = []

    def gate_references(*words: Any, test: bool, reporter: Any) -> None:
        assert not pushed, "the gate is before the first push"
        gated.append((*words, test))
        if test:
            failing()

    monkeypatch.setattr(push_step, "push_image", push_image)
    monkeypatch.setattr(push_step, "gate_references", gate_references)
    local = LocalImage(id="sha256:0", platform="linux/amd64", size=1, repo_digests=(), labels={})
    monkeypatch.setattr(push_step, "require_local", lambda reference: local)
    with pytest.raises(ServiceError):
        packager.push(("r.example.com/a:1", "r.example.com/b"), spec_file=spec_file)
    assert pushed == []
    packager.push("r.example.com/a:1", spec_file=spec_file, test=False)
    assert pushed == ["r.example.com/a:1"]
    assert gated == [
        (spec_file, ["r.example.com/a:1", "r.example.com/b:latest"], True),
        (spec_file, ["r.example.com/a:1"], False),
    ]


BUILT: list[Any] = ["built"]


class FakeBuilder:
    """Has candidates, and remembers what was done with it."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def read_models(self, spec_file: SpecFile) -> Any:
        raise AssertionError("the images are planned")

    @contextmanager
    def candidates(self, jobs: Sequence[Job]) -> Iterator[tuple[Candidate, ...]]:
        self.did.append("candidates")
        yield (Candidate(reference="a:1", title="a:1", target="cpu"),)

    def build(self, jobs: Sequence[Job]) -> tuple[Any, ...]:
        self.did.append("build")
        return tuple("built" for _ in jobs)


@pytest.mark.parametrize("kind", ["oci", "engine"])
@pytest.mark.parametrize("fails", [True, False])
def test_a_build_that_is_pushed_is_tested_before(
    kind: Any, fails: bool, spec_file: SpecFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = FakeBuilder()
    tested: list[str] = []

    def gate_candidates(_spec_file: SpecFile, candidates: Sequence[Candidate], _reporter: Any) -> None:
        tested.extend(each.reference for each in candidates)
        if fails:
            failing()

    monkeypatch.setattr("packager.steps.gate.gate_candidates", gate_candidates)
    monkeypatch.setattr("packager.steps.build.needs_tests", lambda _spec_file, *, test, reporter: test)
    job = (Job(planned=(), references=("a:1",)), Choice(kind=kind, reason="", buildx=None))
    monkeypatch.setattr(build_step, "_jobs", lambda *_: [job])
    monkeypatch.setattr(build_step._Builders, "oci", lambda _: builder)
    monkeypatch.setattr(build_step._Builders, "engine", lambda _self, _buildx: builder)
    monkeypatch.setattr(build_step, "_write_files", lambda *_: None)
    monkeypatch.setattr(build_step, "keep_limit", lambda *_: None)
    if fails:
        with pytest.raises(ServiceError):
            packager.build(spec_file, push=True)
        assert builder.did == ["candidates"], "nothing was sent anywhere"
    else:
        assert list(packager.build(spec_file, push=True)) == BUILT
        assert builder.did == ["candidates", "build"]
    assert tested == ["a:1"]
    tested.clear()
    assert list(packager.build(spec_file, push=True, test=False)) == BUILT
    assert list(packager.build(spec_file)) == BUILT
    assert tested == [], "--no-test, and what is not pushed"


def test_what_was_tested_a_moment_ago_is_not_called_untested(spec_file: SpecFile) -> None:
    warned: list[str] = []

    class Heard:
        def step(self, text: str) -> None: ...

        def detail(self, text: str) -> None: ...

        def warn(self, text: str) -> None:
            warned.append(text)

    assert not needs_tests(spec_file, test="done", reporter=Heard())
    assert warned == []
    assert not needs_tests(spec_file, test=False, reporter=Heard())
    assert warned == ["--no-test: what is pushed was not tested"]


def test_labels_of_the_command_line_go_before_our_own(spec_file: SpecFile, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr("packager.builders.oci.OciBuilder", lambda *_, **options: given.update(options))
    monkeypatch.setattr("packager.revision.build_labels", lambda *_: {"ours": "1", "both": "ours"})
    build_step._Builders(spec_file, BuildWish(labels={"both": "theirs", "theirs": "2"}), SILENT).oci()
    assert given["labels"] == {"ours": "1", "both": "theirs", "theirs": "2"}


@pytest.mark.parametrize(
    ("asked", "spec", "used"),
    [(None, "", "gzip"), (None, "zstd", "zstd"), ("none", "zstd", "none"), ("gzip", "zstd", "gzip")],
)
def test_the_command_line_names_the_compression_before_the_spec(
    spec_file: SpecFile, monkeypatch: pytest.MonkeyPatch, asked: Any, spec: str, used: str
) -> None:
    given: list[Any] = []
    monkeypatch.setattr("packager.builders.oci.OciBuilder", lambda _content, recipes, *_, **__: given.append(recipes))
    if spec:
        spec_file.document.path.write_text(f"{spec_file.document.path.read_text()}\ncompression: {spec}\n")
        spec_file = packager.load_spec(spec_file.document.path)
    build_step._Builders(spec_file, BuildWish(compression=asked), SILENT).oci()
    assert [recipes.compression for recipes in given] == [used]
