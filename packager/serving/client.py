"""Posting one request to a scoring service. Standard library only, so that it starts at once."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from packager.contract import DEFAULT_PORT, SCORE_PATH, SWAGGER_PATH
from packager.errors import ServiceError, TemporaryError, UsageError
from packager.proxies import host_of, is_loopback

#: Header by which azureml-inference-server-http says that `run()` raised.
RUN_FAILED = "x-ms-run-function-failed"

#: Characters of an error's body that are shown.
_SHOWN = 2000


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A good answer.

    Attributes:
        status: 200 to 299.
        content_type: of the body.
        body: as it came.
    """

    status: int
    content_type: str
    body: bytes


def score(url: str, body: bytes, *, headers: Mapping[str, str] | None = None, timeout: float = 60.0) -> Answer:
    """Post a request and return the answer.

    Args:
        url: `http(s)://host[:port]/score`.
        body: of the request.
        headers: beside `Content-Type: application/json`, which one of them may replace. The type matters: with curl's
            default one, a form, azureml-inference-server-http hands an empty body to `run()`.
        timeout: seconds that the service may be silent.

    Raises:
        UsageError: no valid URL.
        ServiceError: nobody answers there, or the answer is an error.
        TemporaryError: no answer in time.
    """
    host = host_of(url)
    if not host or urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"{url!r} is not a URL", remedy=f"such as http://127.0.0.1:{DEFAULT_PORT}{SCORE_PATH}")
    request = urllib.request.Request(
        url, data=body, headers={"Content-Type": "application/json", **_capitalised(headers or {})}, method="POST"
    )
    # A proxy for the outside cannot reach our own machine, whatever NO_PROXY says.
    direct = [urllib.request.ProxyHandler({})] if is_loopback(host) else []
    opener = urllib.request.build_opener(_NoRedirect(), *direct)
    try:
        with opener.open(request, timeout=timeout) as response:
            content_type = response.headers.get("Content-Type", "")
            return Answer(status=response.status, content_type=content_type, body=response.read())
    except urllib.error.HTTPError as error:
        with error:
            raise refused(url, error.code, error.reason, dict(error.headers), error.read()) from None
    except urllib.error.URLError as error:
        raise _no_answer(url, error.reason, timeout) from None
    except (OSError, http.client.HTTPException) as error:
        raise _no_answer(url, error, timeout) from None


def answers(url: str, timeout: float = 2.0, headers: Mapping[str, str] | None = None) -> bool:
    """Ask a service for its health once.

    Args:
        url: its root.
        timeout: seconds.
        headers: of the request.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=timeout)
    try:
        connection.request("GET", "/", headers=dict(headers or {}))
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def description(url: str, key: str | None = None, timeout: float = 5.0) -> Any:
    """Return what a service says of itself (its /swagger.json); None where it says nothing that can be read.

    Args:
        url: of it.
        key: where its requests need one.
        timeout: seconds.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=timeout)
    try:
        connection.request("GET", parts.path, headers={"Authorization": f"Bearer {key}"} if key is not None else {})
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status == http.HTTPStatus.OK else None
    except (OSError, ValueError, RecursionError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: urllib would send the key to whatever host is named there, and a GET instead of the POST."""

    def redirect_request(self, *_: Any) -> None:
        """Answer that no other request is to be made."""


def refused(url: str, status: int, reason: str, headers: Mapping[str, str], body: bytes) -> ServiceError:
    """Return the error for an answer with an error status. Pure.

    Args:
        url: that was asked.
        status: HTTP status.
        reason: its name.
        headers: of the answer.
        body: of the answer; azureml-inference-server-http sends `{"message": …}`.
    """
    message = _message(body)
    what = f"{url} answered {status} {reason}".rstrip()
    if any(name.lower() == RUN_FAILED and value.lower() == "true" for name, value in headers.items()):
        return ServiceError(f"{what}: run() raised: {message}", remedy="the service's log has the traceback")
    elsewhere = next((value for name, value in headers.items() if name.lower() == "location"), None)
    if elsewhere is not None and http.HTTPStatus.MULTIPLE_CHOICES <= status < http.HTTPStatus.BAD_REQUEST:
        return ServiceError(what, remedy=f"it names another URL; give that one if you trust it: {elsewhere}")
    remedies: dict[int, str] = {
        http.HTTPStatus.UNAUTHORIZED: "give its key: PACKAGER_KEY in the environment, or --key-file FILE",
        http.HTTPStatus.BAD_REQUEST: f"compare the request with the service's {SWAGGER_PATH}",
        http.HTTPStatus.NOT_FOUND: f"requests are posted to {SCORE_PATH}",
        http.HTTPStatus.METHOD_NOT_ALLOWED: f"requests are posted to {SCORE_PATH}",
        http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "this entry script takes JSON; do not give --binary",
    }
    return ServiceError(f"{what}: {message}" if message else what, remedy=remedies.get(status))


def _no_answer(url: str, reason: object, timeout: float) -> ServiceError | TemporaryError:
    if isinstance(reason, TimeoutError):
        return TemporaryError(f"{url} did not answer within {timeout:g} s", remedy="allow it more time: --timeout")
    if isinstance(reason, ConnectionRefusedError):
        return ServiceError(f"nothing answers at {url}", remedy="`packager run` starts the service, and prints its URL")
    if isinstance(reason, (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)):
        return ServiceError(f"{url} closed the connection without an answer", remedy="look at the service's log")
    if isinstance(reason, socket.gaierror):
        return ServiceError(f"the host of {url} is not known: {reason.strerror}", remedy="check the URL")
    return ServiceError(f"{url}: {reason}", remedy="check the URL, and look at the service's log")


def _message(body: bytes) -> str:
    text = body.decode(errors="replace").strip()
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if isinstance(values, dict) and isinstance(values.get("message"), str):
        text = values["message"]
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _capitalised(headers: Mapping[str, str]) -> dict[str, str]:
    # urllib keeps one spelling of each name; without this, `content-type` would stand beside our own.
    return {"-".join(word.capitalize() for word in name.split("-")): value for name, value in headers.items()}
