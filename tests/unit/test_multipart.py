"""Forms with files, in `test:` and of `score`; read back by the standard library's email."""

from __future__ import annotations

import email
from email import policy
from pathlib import Path

import pytest

from packager.cli.score import _body
from packager.errors import ContextError, SpecError, UsageError
from packager.serving.cases import prepare
from packager.serving.multipart import Part, encode
from packager.spec import load_spec

HEAD = 'name: m\nversion: "1"\nentry_script: score.py\nenvironment: {pip: []}\ntest:\n  - name: upload\n'


def fields(body: bytes, kind: str) -> list[tuple[str | None, str | None, str, bytes]]:
    message = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body, policy=policy.default)
    return [
        (
            part.get_param("name", header="content-disposition"),  # type: ignore[misc]
            part.get_filename(),
            part.get_content_type(),
            part.get_payload(decode=True),
        )
        for part in message.iter_parts()
    ]


def test_fields_and_files_are_read_back() -> None:
    image = bytes(range(256))
    parts = [
        Part(name="title", content=b"a cat"),
        Part(name="image", content=image, file="x/cat.png", content_type="image/png"),
    ]
    body, kind = encode(parts)
    assert fields(body, kind) == [("title", None, "text/plain", b"a cat"), ("image", "cat.png", "image/png", image)]
    assert encode(parts) == (body, kind)
    hostile, _ = encode([Part(name='a"\r\nX: 1', content=b"")])
    assert b"\r\nX: 1" not in hostile


def test_a_form_of_a_test(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"\x89PNG")
    (tmp_path / "packager.yaml").write_text(
        HEAD + "    form: {title: a cat, image: {file: cat.png}, raw: {file: cat.png, content_type: a/b}}\n"
    )
    (case,) = prepare(load_spec(tmp_path))
    assert case.method == "POST"
    assert fields(case.body or b"", case.headers["Content-Type"]) == [
        ("title", None, "text/plain", b"a cat"),
        ("image", "cat.png", "image/png", b"\x89PNG"),
        ("raw", "cat.png", "a/b", b"\x89PNG"),
    ]
    (tmp_path / "cat.png").unlink()
    with pytest.raises(ContextError, match=r"cat\.png"):
        prepare(load_spec(tmp_path))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("    form: {}\n", "no fields"),
        ("    form: {a: b}\n    content_type: a/b\n", "its own content type"),
        ("    form: {a: b}\n    text: x\n", "are two bodies"),
        ("    form: {a: {file: ../x}}\n", "leaves the folder"),
        ("    form: {a: {path: x}}\n", "path"),
    ],
)
def test_what_is_no_form(tmp_path: Path, more: str, message: str) -> None:
    (tmp_path / "packager.yaml").write_text(HEAD + more)
    with pytest.raises(SpecError, match=message):
        load_spec(tmp_path)


def test_the_options_of_score(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    body, headers = _body(None, ("title=a=b", f"file=@{tmp_path}/a.txt"), {"X": "1"})
    found = fields(body, headers["Content-Type"])
    assert found == [("title", None, "text/plain", b"a=b"), ("file", "a.txt", "text/plain", b"text")]
    assert headers["X"] == "1"
    for wrong in ((), ("name",), ("=x",), (f"a=@{tmp_path}/missing",)):
        with pytest.raises(UsageError):
            _body(None, wrong, {})
