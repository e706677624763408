"""The request that `run` and `service deploy` show: of a test, the service's own description, or a sample file."""

from __future__ import annotations

import http.server
import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from packager.context.swagger import swagger_texts
from packager.init.look import look
from packager.init.starter import starter_spec
from packager.models.graphs import Interface, Port
from packager.models.inspect import Inspected
from packager.serving.example import Caller, Example, commands, example_of_case, example_of_description
from packager.spec.cases import Case, Expect, FormFile
from packager.spec.load import SpecFile, parse_spec
from packager.steps.example import example_lines, find_example, spec_of

LEAST = 'name: a\nversion: "1"\nentry_script: score.py\nenvironment: {pip: []}\n'
URL = "http://127.0.0.1:5001/score"
NOWHERE = "http://127.0.0.1:1/swagger.json"


def spec_at(folder: Path, tests: str = "") -> SpecFile:
    return parse_spec(LEAST + tests, folder / "packager.yaml")


# --- of a test --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "example"),
    [
        (Case(name="a", request={"rows": [1, "ä"]}), Example(text='{"rows": [1, "ä"]}')),
        (Case(name="a", file="in.json"), Example(file="in.json")),
        (Case(name="a", file="in.png", content_type="image/png"),
         Example(file="in.png", headers={"Content-Type": "image/png"})),
        (Case(name="a", text="a word"),
         Example(text="a word", headers={"Content-Type": "text/plain; charset=utf-8"})),
        (Case(name="a", form={"x": "1", "y": FormFile(file="b.png")}), Example(form=(("x", "1"), ("y", "@b.png")))),
        (Case(name="a", request=[1], headers={"X-A": "b"}), Example(text="[1]", headers={"X-A": "b"})),
        (Case(name="a", request=[1], expect=Expect(status=500)), None),
        (Case(name="a", request=[1], method="PUT"), None),
        (Case(name="a", request=[1], path="/swagger.json"), None),
        (Case(name="a", path="/score"), None),
        (Case(name="a", request=["x" * 400]), None),
        (Case(name="a", text="two\nlines"), None),
    ],
)  # fmt: skip
def test_of_a_test(case: Case, example: Example | None) -> None:
    assert example_of_case(case, "") == example


def test_files_are_named_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec_file = spec_at(
        tmp_path, "test: [{name: fails, request: [], expect: {status: 400}}, {name: a, file: in.json}]\n"
    )
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_example(spec_file, NOWHERE) == Example(file="in.json")
    monkeypatch.chdir(tmp_path / "src")
    assert find_example(spec_file, NOWHERE) == Example(file="../in.json")


def test_tests_of_another_image_say_nothing(tmp_path: Path) -> None:
    spec_file = spec_at(tmp_path, "image: {repository: registry.example.com/team/a}\n")
    assert spec_of(spec_file, None) is spec_file
    assert spec_of(spec_file, "registry.example.com/team/a:7") is spec_file
    assert spec_of(spec_file, "a:7") is None
    assert spec_of(None, "a:7") is None


# --- of the service's own description ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"definitions": {"ServiceInput": {"example": {"data": [[1.0]]}}}}, '{"data": [[1.0]]}'),
        ({"components": {"schemas": {"ServiceInput": {"example": [1]}}}}, "[1]"),
        ({"definitions": {"ServiceInput": {"example": {"data": ""}}}}, None),  # a parameter without a declared type
        ({"definitions": {"ServiceInput": {"type": "object", "example": {}}}}, None),
        ({"definitions": []}, None),
        ([], None),
        (None, None),
    ],
)
def test_of_a_description(document: Any, text: str | None) -> None:
    assert example_of_description(document) == (None if text is None else Example(text=text))


def test_of_the_description_of_a_model_without_code() -> None:
    spec = parse_spec(LEAST, Path("packager.yaml")).spec
    ports = (Port(name="x", kind="number", shape=(None, 2)),)
    inspected = Inspected(kind="onnx", file="m.onnx", signatures={"serving_default": Interface(inputs=ports)})
    for text in swagger_texts(spec, inspected).values():
        found = example_of_description(json.loads(text))
        assert found is not None
        assert found.text == '{"inputs": {"x": [[0.5, 0.5]]}}'


# --- the commands -----------------------------------------------------------------------------------------------------


@pytest.fixture
def echo() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A service: its /score URL, and what it got."""
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            body = b'{"definitions": {"ServiceInput": {"example": {"rows": [1]}}}}'
            known = self.headers["Authorization"] in (None, "Bearer k")
            self.send_response(200 if known and self.path == "/swagger.json" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/score", got
    server.shutdown()
    thread.join()
    server.server_close()


EXAMPLES = [
    Example(text='{"rows": ["it\'s", "$HOME", "`x`"]}'),
    Example(file="in put.json"),
    Example(file='{"odd".json'),
    Example(text="word", headers={"Content-Type": "text/plain", "X-A": "b c"}),
    Example(form=(("a", "x;y<z"), ("b", "@in put.json"))),
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_both_commands_send_the_same_as_they_stand(
    example: Example,
    echo: tuple[str, list[tuple[dict[str, str], bytes]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, got = echo
    monkeypatch.chdir(tmp_path)
    for name in ("in put.json", '{"odd".json'):
        (tmp_path / name).write_bytes(b'{"a": 1}\n')
    (tmp_path / "key").write_text("k")
    ours, curl = commands(example, Caller(url=url, key_command="cat key"))
    here = f"{shlex.quote(sys.executable)} -m packager score"
    for line in (ours.replace("packager score", here, 1), f"{curl} -sS --noproxy '*'"):
        subprocess.run(["sh", "-c", line], check=True, cwd=tmp_path, timeout=60, capture_output=True)
    (first, body), (second, other) = got
    assert first["authorization"] == second["authorization"] == "Bearer k"
    if example.form:
        assert [first["content-type"].partition(";")[0], second["content-type"].partition(";")[0]] == [
            "multipart/form-data"
        ] * 2
        assert all(
            part in each for each in (body, other) for part in (b"x;y<z", b'{"a": 1}\n', b'filename="in put.json"')
        )
        return
    assert body == other
    assert first["content-type"] == second["content-type"]
    assert first.get("x-a") == second.get("x-a")


def test_a_named_service_is_asked_by_its_name() -> None:
    ours, curl = commands(
        Example(text="[1]"), Caller(url=URL, service="days", key_command="packager service keys days")
    )
    assert ours == "packager score --service days --data '[1]'"  # which finds its key
    assert shlex.split(curl)[-3:] == ["-H", "Authorization: Bearer $(packager service keys days)", URL]


# --- what is said -----------------------------------------------------------------------------------------------------


def test_where_there_is_no_test_the_service_is_asked(
    echo: tuple[str, list[tuple[dict[str, str], bytes]]], tmp_path: Path
) -> None:
    url, _ = echo
    swagger = url.replace("score", "swagger.json")
    (tmp_path / "sample-request.json").write_text("[2]")
    said = example_lines(Caller(url=url), spec_at(tmp_path), swagger, "k")
    assert said == (
        f"try it: packager score --url {url} --data '{{\"rows\": [1]}}'",
        f"    or: curl -H 'Content-Type: application/json' --data-binary '{{\"rows\": [1]}}' {url}",
    )
    assert "sample-request.json" in example_lines(Caller(url=url), spec_at(tmp_path), swagger, "wrong")[0]


def test_where_nothing_is_known_it_is_said_what_would_help(tmp_path: Path) -> None:
    (tmp_path / "response.json").write_text("[2]")
    for spec_file in (spec_at(tmp_path), None):
        (line,) = example_lines(Caller(url=URL, service="days"), spec_file, NOWHERE)
        assert line == (
            "to ask it: packager score --service days --data FILE"
            "   (a request in `test:` of the spec is shown here in its place)"
        )


# --- what `init` writes -----------------------------------------------------------------------------------------------

SCRIPT = "def init():\n    pass\n\n\ndef run(data):\n    return data\n"


@pytest.mark.parametrize("sample", ["sample-request.json", "src/samples/request_1.json"])
def test_init_writes_a_test_of_a_sample(tmp_path: Path, sample: str) -> None:
    (tmp_path / "score.py").write_text(SCRIPT)
    (tmp_path / sample).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / sample).write_text("[1]")
    spec = parse_spec(starter_spec(look(tmp_path)), tmp_path / "packager.yaml").spec
    assert [(case.name, case.file) for case in spec.test] == [(sample, sample)]


def test_init_shows_a_test_where_there_is_no_sample(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text(SCRIPT)
    text = starter_spec(look(tmp_path))
    assert parse_spec(text, tmp_path / "packager.yaml").spec.test == ()
    lines = text.splitlines()
    start = lines.index("# test:")
    uncommented = [*lines[:start], *(line.removeprefix("# ") for line in lines[start:])]
    (case,) = parse_spec("\n".join(uncommented), tmp_path / "packager.yaml").spec.test
    assert (case.name, case.request, case.expect.status) == ("one row", {"data": [[1, 2, 3]]}, 200)


def test_a_model_without_code_has_its_tests_too(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text(SCRIPT)
    found = look(tmp_path)
    found.hints.tests.append("sample.json")
    (tmp_path / "m.onnx").touch()
    bare = msgspec.structs.replace(found, framework="onnx", models=("m.onnx",), entry_scripts=())
    spec = parse_spec(starter_spec(bare), tmp_path / "packager.yaml").spec
    assert [case.file for case in spec.test] == ["sample.json"]
    assert os.path.basename(spec.models[0].path) == "m.onnx"
