"""`AMLResponse` for scripts that are imported here; in an image it is that of the inference server."""

from __future__ import annotations

from typing import Any


class AMLResponse:
    """An answer as an entry script gives it.

    Args:
        message: the body.
        status_code: of HTTP.
        response_headers: of it.
        json_str: `message` is to be written as JSON.
        run_function_failed: `run()` raised.
    """

    def __init__(
        self,
        message: Any,
        status_code: int,
        response_headers: dict[str, str] | None = None,
        json_str: bool = False,
        run_function_failed: bool = False,
    ) -> None:
        self.message, self.status_code, self.json_str = message, status_code, json_str
        self.headers = dict(response_headers or {})
        self.run_function_failed = run_function_failed
