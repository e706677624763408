"""The step `score`: one request to a running service."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path

from packager.errors import UsageError
from packager.serving.client import Answer
from packager.serving.client import score as post
from packager.serving.multipart import Part, encode

__all__ = ["Answer", "form", "score"]


def form(fields: Sequence[tuple[str, str | Path]]) -> tuple[bytes, str]:
    """Return a form's body (multipart/form-data) and its content type.

    Args:
        fields: name and value of each; a path stands for the file's content.

    Raises:
        UsageError: a file cannot be read.
    """
    parts = []
    for name, value in fields:
        if isinstance(value, str):
            parts.append(Part(name=name, content=value.encode()))
            continue
        try:
            content = value.read_bytes()
        except OSError as error:
            raise UsageError(f"{value} cannot be read: {error.strerror}", remedy="check the path") from None
        kind = mimetypes.guess_type(value.name)[0]
        parts.append(Part(name=name, content=content, file=value.name, content_type=kind))
    return encode(parts)


def score(
    url: str, data: bytes, *, key: str | None = None, headers: Mapping[str, str] | None = None, timeout: float = 60.0
) -> Answer:
    """Post a request to a running service and return its answer.

    Args:
        url: of its /score.
        data: the body; JSON, unless the headers name another type.
        key: where its requests need one; `service.key` of `run`.
        headers: of the request.
        timeout: seconds that it may be silent.

    Raises:
        ServiceError: it does not answer, or with an error status.
        TemporaryError: it did not answer within `timeout` seconds.
    """
    authorization = {"Authorization": f"Bearer {key}"} if key is not None else {}
    return post(url, data, headers={**authorization, **(headers or {})}, timeout=timeout)
