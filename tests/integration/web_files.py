"""A web server of files that does what real ones do: ranges, validators, cuts, logins, redirects."""

from __future__ import annotations

import hashlib
import http.server
import re
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Self

BLOCK = 1 << 16


class Page(NamedTuple):
    """What is answered for a path.

    Attributes:
        body: of the whole file.
        status: in place of 200.
        headers: more of them; one without a value is left out.
        ranges: it knows them.
        login: the Authorization header that it wants.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = {}
    ranges: bool = True
    login: str = ""


class WebFiles(http.server.ThreadingHTTPServer):
    """Serves `pages` on a port of its own.

    Attributes:
        pages: by path with query.
        cuts: of the next answers with a body: bytes after which the connection drops; None lets one pass.
        held: a connection that would drop waits for this instead, where it is set to be used.
        asked: path and headers (lower case) of each request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, Page] = {}
        self.cuts: list[int | None] = []
        self.held: threading.Event | None = None
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()

    def put(self, path: str, body: bytes, **options: object) -> str:
        """Serve a file; return its URL."""
        self.pages[path] = Page(body, **options)  # type: ignore[arg-type]
        return self.url + path

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed, or hang up, are what this is for."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebFiles

    def do_GET(self) -> None:
        self._answer(send_body=True)

    def do_HEAD(self) -> None:
        self._answer(send_body=False)

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, *, send_body: bool) -> None:
        asked = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.path, asked))
        page = self.server.pages.get(self.path, Page(b"not here", status=404))
        if page.login and asked.get("authorization") != page.login:
            page = Page(b"who are you", status=401)
        etag = f'"{hashlib.sha256(page.body).hexdigest()[:16]}"'
        headers = {"ETag": etag, "Content-Type": "application/octet-stream", **page.headers}
        status, first = page.status, 0
        if status == 200 and asked.get("if-none-match") == headers["ETag"] != "":
            status, page = 304, page._replace(body=b"")
        found = re.match(r"bytes=([0-9]+)-", asked.get("range", ""))
        if status == 200 and page.ranges and found and asked.get("if-range", headers["ETag"]) == headers["ETag"]:
            status, first = 206, int(found[1])
            headers["Content-Range"] = f"bytes {first}-{len(page.body) - 1}/{len(page.body)}"
        body = page.body[first:]
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if send_body and status != 304:
            self._send(body)

    def _send(self, body: bytes) -> None:
        cut = self.server.cuts.pop(0) if self.server.cuts and body else None
        for start in range(0, len(body if cut is None else body[:cut]), BLOCK):
            self.wfile.write(body[start : min(start + BLOCK, len(body) if cut is None else cut)])
        if cut is not None:
            if self.server.held is not None:
                self.server.held.wait(60)
            self.close_connection = True
