"""What a registry says of an error, for a message: in one line, short, and without control characters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from packager.http import Answer, readable


def words_of(answer: Answer, secrets: Iterable[str] = ()) -> str:
    """Return what an answer says, for the end of a sentence (` (DENIED quota reached)`); empty where it says nothing.

    Args:
        answer: of any status.
        secrets: what must not be shown, should the registry repeat it.
    """
    try:
        said = _said(msgspec.json.decode(answer.body))
    except (msgspec.DecodeError, RecursionError):
        plain = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/plain"
        said = answer.body.decode(errors="replace") if plain else ""
    for secret in sorted({each for each in secrets if each}, key=len, reverse=True):
        said = said.replace(secret, "…")
    line = readable(said)
    return f" ({line})" if line else ""


def _said(body: Any) -> str:
    """Return the text of an error document: the distribution spec's ("Error codes"), OAuth's, or like one of them."""
    if not isinstance(body, dict):
        return ""
    errors = body.get("errors")
    if isinstance(errors, list) and errors:
        return "; ".join(_said(each) for each in errors[:10] if isinstance(each, dict))
    code = body.get("code", body.get("error"))
    texts = (body.get(name) for name in ("message", "error_description", "details", "detail"))
    text = next((each for each in texts if isinstance(each, str) and each), "")
    return f"{code if isinstance(code, str) else ''} {text}".strip()
