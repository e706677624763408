"""A registry in this process, as the OCI distribution spec 1.1 has it, that fails where a test says so."""

from __future__ import annotations

import base64
import hashlib
import http.server
import itertools
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit


class Asked(NamedTuple):
    method: str
    path: str
    authorization: str


class Fault(NamedTuple):
    """What happens to a request: a status, or a connection that drops after so many bytes of its body (or answer)."""

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    drop_after: int | None = None
    body: bytes | None = None
    reason: str | None = None


class FakeRegistry(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.asked: list[Asked] = []
        self.received = 0
        self.numbers = itertools.count()
        self.faults: list[tuple[Callable[[Asked], bool], Fault]] = []
        self.token: str | None = None
        self.ranges = True
        self.scopes: list[str] = []
        self.says_digests = True
        self.tags_move = True
        self.deletes = True
        self.page = 1000
        self.lock = threading.Lock()

    def fail(self, method: str, pattern: str, *faults: Fault) -> None:
        """The next requests of this kind fail, one after the other."""
        for fault in faults:
            self.faults.append((lambda asked: asked.method == method and bool(re.search(pattern, asked.path)), fault))

    def take_fault(self, asked: Asked) -> Fault | None:
        for place, (fits, fault) in enumerate(self.faults):
            if fits(asked):
                del self.faults[place]
                return fault
        return None

    def count(self, method: str, pattern: str = "") -> int:
        return sum(asked.method == method and bool(re.search(pattern, asked.path)) for asked in self.asked)

    def add(self, repository: str, data: bytes) -> str:
        digest = digest_of(data)
        self.blobs[repository, digest] = data
        return digest


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FakeRegistry
    protocol_version = "HTTP/1.1"
    # Head and body of an answer are sent one after the other: with it, each waits 40 ms for the other side.
    disable_nagle_algorithm = True

    def _any(self) -> None:
        with suppress(ConnectionError, _CutError):
            self._answer()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - names of http.server

    def _answer(self) -> None:
        asked = Asked(self.command, self.path, self.headers.get("Authorization", ""))
        self.server.asked.append(asked)
        self.fault = self.server.take_fault(asked)
        url = urlsplit(self.path)
        self.question = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/token" and self.fault is None:
            self._body()
            self.server.scopes += parse_qs(url.query).get("scope", [])
            return self._say(200, json.dumps({"token": self.server.token}).encode())
        if self.fault is not None and self.fault.status:
            self._body()
            return self._say(
                self.fault.status, b"" if self.fault.body is None else self.fault.body, *self.fault.headers
            )
        if self.server.token is not None and asked.authorization != f"Bearer {self.server.token}":
            self._body()
            realm = f'Bearer realm="http://{self.server.address}/token",service="s",scope="repository:x:pull"'
            return self._say(401, b"", ("WWW-Authenticate", realm))
        if url.path.endswith("/tags/list"):
            return self._tags(url.path.removeprefix("/v2/").removesuffix("/tags/list"))
        found = re.fullmatch(r"/v2/(.+?)/(manifests|blobs)/(.*)", url.path)
        assert found is not None, self.path
        repository, kind, name = found.groups()
        if kind == "manifests":
            return self._manifest(repository, name)
        return self._upload(repository, name) if name.startswith("uploads/") else self._blob(repository, name)

    def _tags(self, repository: str) -> None:
        with self.server.lock:
            tags = sorted(name for of, name in self.server.manifests if of == repository and ":" not in name)
        if not tags:
            return self._say(404, b'{"errors": [{"code": "NAME_UNKNOWN", "message": "no such repository"}]}')
        after = self.question.get("last", "")
        page = [tag for tag in tags if tag > after][: self.server.page]
        link = f'</v2/{repository}/tags/list?n={self.server.page}&last={page[-1]}>; rel="next"' if page else ""
        more = [("Link", link)] if page and page[-1] != tags[-1] else []
        body = json.dumps({"name": repository, "tags": page}).encode()
        return self._say(200, body if self.fault is None or self.fault.body is None else self.fault.body, *more)

    def _manifest(self, repository: str, name: str) -> None:
        manifests = self.server.manifests
        if self.command == "PUT":
            data = self._body()
            kept = (self.headers["Content-Type"], data)
            with self.server.lock:
                if not self.server.tags_move and manifests.get((repository, name), kept)[1] != data:
                    return self._say(409, b'{"errors": [{"code": "DENIED", "message": "tags are immutable"}]}')
                manifests[repository, name] = manifests[repository, digest_of(data)] = kept
            return self._say(201, b"", ("Docker-Content-Digest", digest_of(data)))
        if self.command == "DELETE":
            if not self.server.deletes:
                return self._say(405, b'{"errors": [{"code": "UNSUPPORTED", "message": "no"}]}')
            with self.server.lock:
                gone = [key for key, (_, data) in manifests.items() if key[0] == repository and digest_of(data) == name]
                for key in gone:
                    del manifests[key]
            return self._say(202 if gone else 404)
        if (repository, name) not in self.server.manifests:
            return self._say(404)
        kind, data = self.server.manifests[repository, name]
        digest = [("Docker-Content-Digest", digest_of(data))] if self.server.says_digests else []
        return self._say(200, data, ("Content-Type", kind), *digest)

    def _blob(self, repository: str, digest: str) -> None:
        data = self.server.blobs.get((repository, digest))
        if data is None:
            return self._say(404)
        if self.fault is not None and self.fault.body is not None:
            data = self.fault.body
        start = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start and self.server.ranges:
            first = int(start[1])
            return self._say(206, data[first:], ("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}"))
        return self._say(200, data)

    def _upload(self, repository: str, name: str) -> None:
        identity = name.removeprefix("uploads/")
        if self.command == "POST":
            self._body()
            source, digest = self.question.get("from", ""), self.question.get("mount", "")
            if (source, digest) in self.server.blobs:
                self.server.blobs[repository, digest] = self.server.blobs[source, digest]
                return self._say(201)
            identity = f"u{next(self.server.numbers)}"
            self.server.uploads[identity] = bytearray()
            return self._say(202, b"", ("Location", f"/v2/{repository}/blobs/uploads/{identity}?_state=x"))
        upload = self.server.uploads.get(identity)
        if upload is None:
            return self._say(404)
        place = (
            ("Location", f"/v2/{repository}/blobs/uploads/{identity}?_state=x"),
            ("Range", f"0-{max(0, len(upload) - 1)}"),
        )
        if self.command == "GET":
            return self._say(204, b"", *place)
        sent = re.match(r"(\d+)-", self.headers.get("Content-Range", ""))
        if sent and int(sent[1]) != len(upload):
            self._body()
            return self._say(416, b"", *place)
        self._body(upload)
        if self.command == "PATCH":
            return self._say(202, b"", place[0], ("Range", f"0-{len(upload) - 1}"))
        del self.server.uploads[identity]
        if digest_of(bytes(upload)) != self.question["digest"]:
            return self._say(400, b'{"errors": [{"code": "DIGEST_INVALID", "message": "no"}]}')
        self.server.blobs[repository, self.question["digest"]] = bytes(upload)
        return self._say(201)

    def _body(self, into: bytearray | None = None) -> bytes:
        left = int(self.headers.get("Content-Length") or 0)
        body = bytearray() if into is None else into
        until = self.fault.drop_after if self.fault is not None else None
        while left:
            data = self.rfile.read(min(left, 1 << 16 if until is None else min(1 << 16, until or 1)))
            if not data:
                raise _CutError
            if until is not None:
                if not until:
                    self._hang_up()
                until -= len(data)
            left -= len(data)
            body += data
            self.server.received += len(data)
        return bytes(body)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
        raise _CutError

    def _say(self, status: int, body: bytes = b"", *headers: tuple[str, str]) -> None:
        self.send_response(status, self.fault.reason if self.fault is not None else None)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault is not None and self.fault.drop_after is not None and self.command == "GET":
            self.wfile.write(body[: self.fault.drop_after])
            self.wfile.flush()
            self._hang_up()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class _CutError(Exception):
    pass


@contextmanager
def running() -> Iterator[FakeRegistry]:
    server = FakeRegistry()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def log_in(folder: Path, host: str) -> None:
    auth = base64.b64encode(b"alice:s3cret").decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
