"""What a registry says of an error, in a message."""

from __future__ import annotations

import json

import pytest

from packager.http import Answer, readable
from packager.registry.words import words_of


def said(body: object, kind: str = "application/json") -> str:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return words_of(Answer(status=403, reason="", headers={"Content-Type": kind}, body=data))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"errors": [{"code": "DENIED", "message": "quota reached", "detail": "x"}]}, " (DENIED quota reached)"),
        ({"errors": [{"code": "A"}, {"message": "b", "code": 3}, 4]}, " (A; b)"),
        ({"errors": [{"code": "A", "message": "", "detail": "why"}]}, " (A why)"),
        ({"details": "incorrect username or password"}, " (incorrect username or password)"),
        ({"error": "invalid_grant", "error_description": "it ran out"}, " (invalid_grant it ran out)"),
        ({"message": "no\r\n\x1b[31mroom\u202e"}, " (no [31mroom)"),
        ({"errors": []}, ""),
        ({"errors": "no"}, ""),
        ({}, ""),
        ([], ""),
        (b"", ""),
        (b"<html>no</html>", ""),
        (b"[" * 100_000, ""),
    ],
)
def test_forms_of_errors(body: object, text: str) -> None:
    assert said(body) == text


def test_plain_text_is_shown_and_a_page_is_not() -> None:
    assert said(b"not\nhere\xff", "text/plain; charset=utf-8") == " (not here\N{REPLACEMENT CHARACTER})"
    assert said(b"<html>", "text/html") == ""


@pytest.mark.parametrize("body", [{"message": "a" * 100_000}, {"errors": [{"code": "b " * 50_000}] * 50}])
def test_long_texts_are_shortened(body: object) -> None:
    assert 300 < len(said(body)) < 310
    assert said(body).endswith("…)")


def test_secrets_are_not_repeated() -> None:
    answer = Answer(status=403, reason="", headers={}, body=b'{"message": "no bob:s3cret-2, nor s3cret"}')
    assert words_of(answer, ["s3cret", "s3cret-2", ""]) == " (no bob:…, nor …)"


def test_readable() -> None:
    assert readable("a\x00\tb\n\n c\x9b") == "a b c"
    assert readable("x" * 11, 10) == "x" * 10 + "…"
    assert readable("x" * 10, 10) == "x" * 10
