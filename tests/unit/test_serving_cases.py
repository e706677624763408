from __future__ import annotations

import json
from pathlib import Path

import pytest

from packager.errors import ContextError, PackagerError, SpecError
from packager.serving.cases import Prepared, prepare
from packager.spec import parse_spec
from tests.unit.plans import LEAST, example_plan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "request.json").write_text('{"a": 1}')
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    (tmp_path / "bad.json").write_text("{")
    return tmp_path


def one(folder: Path, case: str) -> Prepared:
    (found,) = prepare(parse_spec(f"{LEAST}test:\n  - {case}\n", folder / "packager.yaml"))
    return found


@pytest.mark.parametrize(
    ("case", "body", "content_type"),
    [
        ("{name: a, request: {a: [1, ä]}}", json.dumps({"a": [1, "ä"]}).encode(), "application/json"),
        ("{name: a, request: null}", b"null", "application/json"),
        ("{name: a, text: hä}", "hä".encode(), "text/plain; charset=utf-8"),
        ("{name: a, text: '1,2', content_type: text/csv}", b"1,2", "text/csv"),
        ("{name: a, file: request.json}", b'{"a": 1}', "application/json"),
        ("{name: a, file: image.png}", b"\x89PNG", "image/png"),
        ("{name: a, text: x, headers: {content-type: a/b}}", b"x", "a/b"),
    ],
)
def test_bodies_and_their_types(folder: Path, case: str, body: bytes, content_type: str) -> None:
    found = one(folder, case)
    assert (found.method, found.path, found.body) == ("POST", "/score", body)
    assert [value for name, value in found.headers.items() if name.lower() == "content-type"] == [content_type]


def test_a_file_of_some_size_is_a_body(folder: Path) -> None:
    (folder / "large.bin").write_bytes(b"x" * (1 << 20))
    assert len(one(folder, "{name: a, file: large.bin}").body or b"") == 1 << 20


def test_without_a_body_it_is_a_get(folder: Path) -> None:
    found = one(folder, "{name: a, path: '/score?x=1'}")
    assert (found.method, found.path, found.body, found.headers) == ("GET", "/score?x=1", None, {})


def test_what_is_no_json_is_sent_where_the_service_has_to_refuse_it(folder: Path) -> None:
    bad = (folder / "bad.json").read_bytes()
    assert one(folder, "{name: a, file: bad.json, expect: {status: 400}}").body == bad
    assert one(folder, "{name: a, file: bad.json, content_type: text/plain}").body == bad


def test_expectations(folder: Path) -> None:
    expected = one(
        folder, "{name: a, expect: {file: request.json, tolerance: {relative: 0.1}, contains: x, max_latency: 1}}"
    ).expected
    assert (expected.json, expected.body, expected.relative, expected.absolute) == ({"a": 1}, None, 0.1, 0.0)
    assert (expected.contains, expected.max_latency) == (("x",), 1)
    assert one(folder, "{name: a, expect: {file: image.png}}").expected.body == b"\x89PNG"
    assert one(folder, "{name: a, expect: {body: null, tolerance: 0.5}}").expected.absolute == 0.5


@pytest.mark.parametrize(
    ("case", "field", "says"),
    [
        ("{name: a, file: nowhere.json}", "test[0].file", "nowhere.json"),
        ("{name: a, expect: {file: bad.json}}", "test[0].expect.file", "not JSON"),
        ("{name: a, file: bad.json}", "test[0].file", "'bad.json' is not JSON"),
        ("{name: a, expect: {schema: bad.json}}", "test[0].expect.schema", "not JSON"),
        ("{name: a, expect: {schema: {type: text}}}", "test[0].expect.schema", "not a JSON Schema"),
        ("{name: a, expect: {schema: {$ref: 'http://example.com/x'}}}", "test[0].expect.schema", "example.com"),
        ("{name: a, file: ../x}", "test[0].file", "leaves"),
        ("{name: a, file: x, text: x}", "test[0].file", "two bodies"),
        ("{name: a, text: x, request: null}", "test[0].text", "two bodies"),
        ("{name: a, expect: {body: 1, text: x}}", "test[0].expect.text", "two bodies"),
        ("{name: a, content_type: a/b}", "test[0].content_type", "no body"),
        ("{name: a, request: [1.0e+999]}", "test[0].request", "JSON"),
        ("{name: a, expect: {stauts: 1}}", "test[0].expect.stauts", "did you mean 'status'"),
        ("{name: a, expect: {status: '200'}}", "test[0].expect.status", "a whole number"),
        ("{name: a, expect: {status: 99}}", "test[0].expect.status", "at least 100"),
        ("{name: a, expect: {tolerance: -1}}", "test[0].expect.tolerance", "0"),
        ("{name: a, expect: {max_latency: 0}}", "test[0].expect.max_latency", "0"),
        ("{name: a, path: score}", "test[0].path", "/score"),
        ('{name: a, path: "/a b"}', "test[0].path", "/score"),
        ("{name: a, method: 'GET /'}", "test[0].method", "capitals"),
        ("{name: a, headers: {'a b': x}}", "test[0].headers.a b", "header"),
        ('{name: a, headers: {a: "x\\r\\ny"}}', "test[0].headers.a", "one line"),
        ("{text: x}", "test[0].name", "missing"),
        ("{name: a}\n  - {name: a}", "test[1].name", "twice"),
    ],
)
def test_what_is_refused(folder: Path, case: str, field: str, says: str) -> None:
    with pytest.raises((SpecError, ContextError)) as caught:
        one(folder, case)
    error: PackagerError = caught.value
    assert error.where is not None
    assert (error.where.field, error.where.line) == (field, 7 if "\n" in case else 6)
    assert says in str(error)


def test_tests_are_no_part_of_the_image() -> None:
    plans = [example_plan(more, models=0) for more in ("", "test: [{name: a}]\n")]
    assert plans[0] == plans[1]
