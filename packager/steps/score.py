"""The step `score`: one request to a running service."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from packager.errors import EngineError, UsageError
from packager.serving.client import Answer, answers
from packager.serving.client import score as post
from packager.serving.deployed import list_services
from packager.serving.hosts.choose import ENGINE, PROCESSES
from packager.serving.multipart import Part, encode
from packager.serving.running import Running, choose_running
from packager.serving.service import LOOPBACK
from packager.serving.status import Status

__all__ = ["Answer", "Running", "find_running", "form", "log_command", "score"]


def find_running(port: int) -> Running:
    """Return the one service that runs on this machine; where none does, that at a port of it.

    Args:
        port: where one is looked for that nobody lists.

    Raises:
        UsageError: there are several.
        ServiceError: there are named services, and none is healthy.
    """
    missing = list[str]()
    services: tuple[Status, ...] = ()
    try:
        services = list_services(missing.append)
    except EngineError as error:
        missing.append(error.message)
    runs = PROCESSES.runs()
    if not missing:
        with suppress(EngineError):
            runs += ENGINE.runs()
    usual = Running(title="what is at the spec's port", url=f"http://{LOOPBACK}:{port}/")
    return choose_running(services, runs, usual, answers)


def log_command(url: str) -> str:
    """Return a command that shows what `packager run` started at a URL wrote; empty where nobody here knows that."""
    runs = PROCESSES.runs()
    with suppress(EngineError):
        runs += ENGINE.runs()
    return next((each.log for each in runs if urlsplit(each.url).netloc == urlsplit(url).netloc), "")


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
