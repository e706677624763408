"""Limits of requests for workers that are not ours, which keep none: older gunicorns, and a user's own."""

from __future__ import annotations

import io
from typing import Any, Callable, Dict, Iterable, Optional

from packager.programs.image.scoring import Refused, refuse
from packager.programs.image.turns import too_late, waited

#: Bytes that are read of a body without a length at once.
BLOCK = 1 << 20
#: Bytes of a body that is too large which are read on: closed before, the client would not see the answer.
READ_ON = 1 << 16


class Bounded:
    """A WSGI application that refuses bodies above a limit, and requests that waited for too long, before all else.

    Args:
        app: what answers all others.
        largest: bytes that a body may have.
        longest: seconds that a request to be scored may wait for its turn; they are told when it comes.
    """

    def __init__(self, app: Callable[..., Iterable[bytes]], largest: int, longest: Optional[float] = None) -> None:
        self._app, self._largest, self._longest = app, largest, longest

    def __call__(self, environ: Dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        longest = self._longest if "score" in environ.get("PATH_INFO", "") else None
        if longest is not None and waited(environ.get("gunicorn.socket")) > longest:
            return refuse(start_response, Refused("503 Service Unavailable", too_late(longest), retry_after=1))
        length, body = environ.get("CONTENT_LENGTH") or "", environ["wsgi.input"]
        if length.isdecimal():
            if int(length) <= self._largest:
                return self._app(environ, start_response)
            body.read(min(int(length), READ_ON))
        elif "chunked" not in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
            return self._app(environ, start_response)
        else:
            held = io.BytesIO()  # it says its length when it has come
            while held.tell() <= self._largest:
                block = body.read(min(BLOCK, self._largest + 1 - held.tell()))
                if not block:
                    held.seek(0)
                    return self._app({**environ, "wsgi.input": held}, start_response)
                held.write(block)
        message = f"The body of the request is larger than {self._largest} bytes."
        return refuse(start_response, Refused("413 Request Entity Too Large", message))
