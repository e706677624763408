"""Which proxy a request goes through, as Docker and Go choose it; pure.

Source: golang.org/x/net, `http/httpproxy/proxy.go`. `requests` chooses otherwise: it sends what is for this machine
through a proxy, takes `ple.com` in NO_PROXY for `example.com`, and knows no ports with addresses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

import msgspec

_PORTS = {"http": 80, "https": 443}


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy: its URL, which may hold a password, and the variable that names it."""

    url: str
    variable: str

    def __repr__(self) -> str:
        return f"Proxy({self.variable})"


def host_of(url: str) -> str:
    """Return the host name that a URL has, without brackets; empty where it has none, or is no URL."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_loopback(name: str) -> bool:
    """Whether a host name, or an address without brackets, is this machine's own."""
    try:
        return name.lower() == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def proxy_for(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy of a URL; None where it is asked directly.

    What is on the loopback address never goes through one: a proxy's loopback is another, and it would see passwords.

    Args:
        url: absolute.
        environ: HTTP_PROXY or HTTPS_PROXY by the URL's scheme, else ALL_PROXY, and NO_PROXY; each in lower case, too,
            which counts before the other.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    # A web server hands the header `Proxy` of a request to its programs as HTTP_PROXY (httpoxy, CVE-2016-5385).
    names = [f"{parts.scheme}_proxy", "" if "REQUEST_METHOD" in environ else f"{parts.scheme}_proxy".upper()]
    found = next((name for name in (*names, "all_proxy", "ALL_PROXY") if environ.get(name)), None)
    if found is None or is_loopback(host) or _is_left_out(host, port, environ):
        return None
    value = environ[found]
    return Proxy(url=value if "://" in value else f"http://{value}", variable=found)


def _is_left_out(host: str, port: int, environ: Mapping[str, str]) -> bool:
    entries = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return any(_fits(entry.lower(), host, port) for entry in re.split(r"[,\s]+", entries) if entry)


def _fits(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return ip_address(host) in ip_network(entry, strict=False)
        except ValueError:
            return False
    # An address of IPv6 without brackets has colons, but no port.
    found = re.fullmatch(r"\[([^]]+)\](?::([0-9]+))?|([^:]+)(?::([0-9]+))?|(.*)", entry)
    assert found is not None
    name, wanted = found[1] or found[3] or found[5], found[2] or found[4]
    if wanted and int(wanted) != port:
        return False
    try:
        return ip_address(name) == ip_address(host)
    except ValueError:
        pass
    name = name.removeprefix("*")
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")
