"""A web server for the conda channels of `conda_channel` that fails when it is told to."""

import base64
import hashlib
import mimetypes
import re
import threading
from email.utils import formatdate, parsedate_to_datetime
from fnmatch import fnmatch
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

TYPES = {".json": "application/json", ".zst": "application/zstd", ".conda": "application/octet-stream"}

DROP = 0
"""In place of a status: close the connection in the middle of the answer."""


class Request(NamedTuple):
    """What was asked, and how it was answered. The path is as it was sent, with a token if there was one."""

    method: str
    path: str
    headers: dict[str, str]
    status: int


class Fault(NamedTuple):
    status: int
    paths: str
    left: list[int]  # how many more times; empty for always


class ChannelServer:
    """Serves the channels in a folder on this machine, each at `<url>/<name>`.

    Globs are held against the path below the server (`forge/noarch/repodata.json`, with no token); `*` matches slashes,
    too. Faults come before authentication, the one that was added first before others.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[Request] = []
        self.port = 0
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.recover()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start to answer, always on the same port."""
        if self._server:
            return
        self._server = Server(("127.0.0.1", self.port), Handler)
        self._server.channels = self
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer no more: connections are refused, and those that are open are closed."""
        if self._server and self._thread:
            self._server.shutdown()
            self._server.server_close()
            self._server.close_connections()
            self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> "ChannelServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- what goes wrong ---

    def fail(self, status: int, paths: str = "*", times: int | None = None) -> None:
        """Answer with a status, or with half of the file (`DROP`), so many times or always."""
        self._faults.append(Fault(status, paths, [] if times is None else [times]))

    def corrupt(self, paths: str) -> None:
        """Flip a byte in the middle of files."""
        self._corrupted.append(paths)

    def require_basic(self, user: str, password: str, paths: str = "*") -> None:
        self._required.append((paths, "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()))

    def require_bearer(self, token: str, paths: str = "*") -> None:
        self._required.append((paths, f"Bearer {token}"))

    def require_token(self, token: str, paths: str = "*") -> None:
        """Want conda's form of a token: `<url>/t/<token>/<channel>`."""
        self._required.append((paths, f"/t/{token}/"))

    def recover(self) -> None:
        """Let all be well again, and forget what was asked."""
        self._faults: list[Fault] = []
        self._corrupted: list[str] = []
        self._required: list[tuple[str, str]] = []
        self.requests.clear()

    def asked(self, paths: str = "*") -> list[Request]:
        """Return the requests for some paths."""
        return [request for request in self.requests if fnmatch(without_token(request.path)[1], paths)]

    # --- what the handler asks ---

    def fault(self, path: str) -> int | None:
        with self._lock:
            for fault in self._faults:
                if fnmatch(path, fault.paths) and fault.left != [0]:
                    if fault.left:
                        fault.left[0] -= 1
                    return fault.status
        return None

    def is_let_in(self, path: str, token: str, authorization: str) -> bool:
        wanted = [value for paths, value in self._required if fnmatch(path, paths)]
        return all(value == (token if value.startswith("/t/") else authorization) for value in wanted)

    def content(self, path: str) -> bytes:
        data = (self.folder / path).read_bytes()
        if any(fnmatch(path, paths) for paths in self._corrupted):
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]
        return data


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    channels: ChannelServer

    def __init__(self, *args: Any) -> None:
        self.open: set[Any] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for request in list(self.open):
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        channels = self.server.channels
        token, path = without_token(self.path)
        status = channels.fault(path)
        if status is None and not channels.is_let_in(path, token, self.headers.get("Authorization", "")):
            status = HTTPStatus.UNAUTHORIZED
        file = (channels.folder / path).resolve()
        if not status and not (file.is_relative_to(channels.folder.resolve()) and file.is_file()):
            status = HTTPStatus.NOT_FOUND
        if status:
            self.answer(status, f"{status} for tests\n".encode(), {"Content-Type": "text/plain"})
            return
        data = channels.content(path)
        modified = file.stat().st_mtime
        headers = {
            "Content-Type": TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream",
            "ETag": f'"{hashlib.sha256(data).hexdigest()[:16]}"',
            "Last-Modified": formatdate(modified, usegmt=True),
            "Cache-Control": "no-cache",
            "Accept-Ranges": "bytes",
        }
        if status == DROP:
            self.answer(HTTPStatus.OK, data, headers, sent=len(data) // 2)
        elif self.is_known(headers["ETag"], int(modified)):
            self.answer(HTTPStatus.NOT_MODIFIED, b"", headers)
        elif part := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(part[1]), min(int(part[2] or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            self.answer(HTTPStatus.PARTIAL_CONTENT, data[first : last + 1], headers)
        else:
            self.answer(HTTPStatus.OK, data, headers)

    do_HEAD = do_GET  # noqa: N815

    def is_known(self, etag: str, modified: int) -> bool:
        """Whether the client has the file as it is."""
        if known := self.headers.get("If-None-Match"):
            return etag in known or known == "*"
        since = self.headers.get("If-Modified-Since")
        return since is not None and modified <= parsedate_to_datetime(since).timestamp()

    def answer(self, status: int, data: bytes, headers: dict[str, str], sent: int | None = None) -> None:
        asked = Request(self.command, self.path, dict(self.headers), DROP if sent is not None else int(status))
        self.server.channels.requests.append(asked)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="channels"')
        self.send_header("Content-Length", str(len(data)))
        if sent is not None:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[:sent])
        if sent is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Print nothing."""


def without_token(path: str) -> tuple[str, str]:
    """Return `/t/<token>/` if a path starts with it, and the rest, without a slash in front."""
    text = unquote(urlsplit(path).path)
    found = re.match(r"/t/[^/]+/", text)
    return (found[0], text[found.end() :]) if found else ("", text.lstrip("/"))
