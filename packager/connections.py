"""Connections of `requests`, with what its own lack: Docker's choice of proxies, and a least speed of answers.

Imported where a request is made alone: `requests` takes a tenth of a second to import.
"""

from __future__ import annotations

import http.client
import io
import os
import ssl
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from packager.errors import UsageError
from packager.proxies import Proxy, proxy_for

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Seconds of waiting for an answer, in each of which it must come by `LEAST_RATE` on average.
WINDOW = 60.0
#: Bytes a second; a modem line that four downloads share is faster.
LEAST_RATE = 200
#: Of CA certificates; the first that is set counts. `requests` knows two; OpenSSL, uv and Go know the third.
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class Pace:
    """How fast an answer comes: time limits between its parts alone let one byte a second through for ever."""

    def __init__(self) -> None:
        self._waited = 0.0
        self._came = 0

    def add(self, seconds: float, count: int) -> None:
        """Take down that so many bytes came after so many seconds of waiting.

        Raises:
            TimeoutError: fewer came than `LEAST_RATE` wants.
        """
        self._waited += seconds
        self._came += count
        if self._waited < WINDOW:
            return
        if self._came < self._waited * LEAST_RATE:
            raise TimeoutError(f"fewer than {LEAST_RATE} bytes a second")
        self._waited, self._came = 0.0, 0


class PacedReader(io.RawIOBase):
    """The bytes of an answer, status line and headers included, as long as they come fast enough.

    Args:
        raw: reads from the connection.
        clock: gives seconds.
    """

    def __init__(self, raw: io.RawIOBase, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._raw = raw
        self._clock = clock
        self._pace: Pace | None = None

    def readable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """See `io.RawIOBase`."""
        return self._raw.fileno()

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        """See `io.RawIOBase`.

        Raises:
            TimeoutError: they come too slowly.
        """
        start = self._clock()
        count = cast("int | None", self._raw.readinto(buffer))
        if self._pace is None:
            # The registry may have thought before its first byte, over the digest of an upload; that has its own limit.
            self._pace = Pace()
        elif count:
            self._pace.add(self._clock() - start, count)
        return count

    def close(self) -> None:
        """Close the connection's reader."""
        self._raw.close()
        super().close()


class _PacedResponse(http.client.HTTPResponse):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fp = io.BufferedReader(PacedReader(self.fp.detach()))


class _Connection(HTTPConnection):
    response_class = _PacedResponse


class _SecureConnection(HTTPSConnection):
    response_class = _PacedResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def ca_bundle(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the variable that names CA certificates, and its value; None where none is set."""
    return next(((name, environ[name]) for name in CA_VARIABLES if environ.get(name)), None)


class Adapter(HTTPAdapter):
    """Sends requests of a session.

    Args:
        environ: variables of proxies and certificates.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._checked = False
        super().__init__(pool_maxsize=8)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """See `HTTPAdapter`."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """See `HTTPAdapter`."""
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        """Send a request, through the proxy that Docker would take.

        Raises:
            UsageError: a variable names no proxy that can be used, or no certificates.
            requests.RequestException: as for `HTTPAdapter.send`.
        """
        url = request.url or ""
        proxy = proxy_for(url, self._environ)
        if proxy is not None:
            check_proxy(proxy)
        # Of the proxy that requests would have taken.
        request.headers.pop("Proxy-Authorization", None)
        if url.startswith("https:") and not self._checked:
            check_bundle(self._environ)
            self._checked = True
        options["proxies"] = {} if proxy is None else {urlsplit(url).scheme: proxy.url}
        return super().send(request, *args, **options)


def check_proxy(proxy: Proxy) -> None:
    """Say what is wrong with a proxy, without its URL, which may hold a password.

    Raises:
        UsageError: it is none that can be used.
    """
    remedy = f"set {proxy.variable} to http://HOST:PORT, or name what needs no proxy in NO_PROXY"
    try:
        parts = urlsplit(proxy.url)
        usable, scheme = bool(parts.hostname) and parts.port != 0, parts.scheme.lower()
    except ValueError:
        usable, scheme = False, ""
    if not usable or scheme not in ("http", "https", "socks4", "socks4a", "socks5", "socks5h"):
        raise UsageError(f"{proxy.variable} does not name a proxy", remedy=remedy)
    if scheme.startswith("socks") and find_spec("socks") is None:
        raise UsageError(
            f"{proxy.variable} names a SOCKS proxy, for which a package is missing",
            remedy=f"pip install pysocks; or {remedy}",
        )


def check_bundle(environ: Mapping[str, str]) -> None:
    """Say what is wrong with the CA certificates that a variable names.

    Raises:
        UsageError: there are none.
    """
    found = ca_bundle(environ)
    if found is None or os.path.isdir(found[1]):
        return
    variable, path = found
    remedy = f"correct {variable}, or unset it"
    if not os.path.exists(path):
        raise UsageError(f"{variable} names a file that is not there: {path}", remedy=remedy)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError:
        raise UsageError(
            f"{variable} names a file without certificates that can be read: {path}", remedy=remedy
        ) from None
