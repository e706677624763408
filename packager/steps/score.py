"""The step `score`: one request to a running service."""

from __future__ import annotations

from collections.abc import Mapping

from packager.serving.client import Answer
from packager.serving.client import score as post

__all__ = ["Answer", "score"]


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
