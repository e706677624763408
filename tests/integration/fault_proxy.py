"""A proxy before a real registry that injects faults: answers of its own, delays, and connections that drop.

With `buffered` it takes a request in whole before it passes it on, as nginx does unless told otherwise: then the
registry never sees what was cut on the way to the proxy.
"""

from __future__ import annotations

import http.client
import http.server
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

BLOCK = 1 << 16


class Fault(NamedTuple):
    """What happens to a request.

    Attributes:
        status: answered in the registry's place.
        headers: of that answer.
        cut_request: bytes of the request's body after which the connection drops.
        cut_answer: bytes of the answer's body after which it drops.
        delay: seconds before anything else.
        lose_answer: the registry does what it is asked, and nobody hears of it.
    """

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    cut_request: int | None = None
    cut_answer: int | None = None
    delay: float = 0
    lose_answer: bool = False


class FaultProxy(http.server.ThreadingHTTPServer):
    """Passes everything on to the registry at `upstream`, but for what `fail` says.

    Attributes:
        address: for references.
        received: bytes of request bodies that came in.
        asked: method and path of each request.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.buffered = False
        self.received = 0
        self.asked: list[tuple[str, str]] = []
        self._faults: list[tuple[str, str, Fault]] = []
        self._lock = threading.Lock()

    def fail(self, method: str, pattern: str, *faults: Fault) -> None:
        """The next requests of this method, whose path the pattern is found in, meet these faults."""
        self._faults += [(method, pattern, fault) for fault in faults]

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed, or hang up, are what this is for."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def take(self, method: str, path: str) -> Fault:
        with self._lock:
            self.asked.append((method, path))
            for place, (wanted, pattern, fault) in enumerate(self._faults):
                if wanted == method and re.search(pattern, path):
                    del self._faults[place]
                    return fault
        return Fault()

    def count(self, method: str, pattern: str = "") -> int:
        return sum(method == wanted and bool(re.search(pattern, path)) for wanted, path in self.asked)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FaultProxy
    protocol_version = "HTTP/1.1"

    def _any(self) -> None:
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)
        try:
            with suppress(ConnectionError, _DropError):
                self._pass_on(upstream)
        finally:
            upstream.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - names of http.server

    def _pass_on(self, upstream: http.client.HTTPConnection) -> None:
        fault = self.server.take(self.command, self.path)
        time.sleep(fault.delay)
        length = int(self.headers.get("Content-Length") or 0)
        if fault.status:
            for _ in self._body(length, None):
                pass
            self.send_response(fault.status)
            for name, value in (*fault.headers, ("Content-Length", "0")):
                self.send_header(name, value)
            self.end_headers()
            return
        held = list(self._body(length, fault.cut_request)) if self.server.buffered else None
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() != "connection":
                upstream.putheader(name, value)
        upstream.endheaders()
        for data in held if held is not None else self._body(length, fault.cut_request):
            upstream.send(data)
        answer = upstream.getresponse()
        if fault.lose_answer:
            answer.read()
            self._drop()
        self._answer(answer, fault.cut_answer)

    def _body(self, left: int, cut: int | None) -> Iterator[bytes]:
        while left:
            if cut == 0:
                self._drop()
            data = self.rfile.read(min(left, BLOCK, cut or BLOCK))
            if not data:
                raise _DropError
            self.server.received += len(data)
            left -= len(data)
            cut = None if cut is None else cut - len(data)
            yield data

    def _answer(self, answer: http.client.HTTPResponse, cut: int | None) -> None:
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        if answer.getheader("Content-Length") is None and answer.status != 204:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        while data := answer.read(min(BLOCK, cut or BLOCK)):
            self.wfile.write(data)
            cut = None if cut is None else cut - len(data)
            if cut == 0:
                self._drop()

    def _drop(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        raise _DropError

    def log_message(self, *args: object) -> None:
        pass


class _DropError(Exception):
    pass


@contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """Give a running proxy before a registry."""
    proxy = FaultProxy(upstream)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
