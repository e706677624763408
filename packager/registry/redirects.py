"""Where a registry sends us on to, and whether we go there; pure."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from packager.errors import RegistryError
from packager.http import readable

#: As many as Go follows.
MOST = 10
_PORTS = {"http": 80, "https": 443}


def place(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL.

    Raises:
        RegistryError: it is none of HTTP.
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname or "", parts.port
    except ValueError:
        scheme, host, port = "", "", None
    if scheme not in _PORTS or not host:
        raise RegistryError(f"{readable(url, 100)!r}, which a registry names, is no address of HTTP")
    return scheme, host, port or _PORTS[scheme]


def next_place(method: str, url: str, status: int, location: str | None) -> str | None:
    """Return where a redirect leads; None where the answer is none.

    What writes is sent again to the same host alone, and nothing goes from TLS to a place without: another host that
    answers 200 would pass for the registry, and whoever is on the way would read along.

    Args:
        method: of the request.
        url: that was asked.
        status: of the answer.
        location: of the answer; relative ones are, too.

    Raises:
        RegistryError: it leads where we do not go.
    """
    if status not in (301, 302, 303, 307, 308) or location is None:
        return None
    try:
        target = urljoin(url, location)
    except ValueError:
        target = location
    old, new = place(url), place(target)
    same_host = old[1] == new[1]
    if old[0] == "https" and new[0] == "http":
        # Behind a proxy that ends TLS, registries name themselves by `http://`.
        if not same_host or urlsplit(target).netloc != urlsplit(url).netloc:
            raise RegistryError(f"{old[1]} sends us on from TLS to {readable(new[1])} without")
        target = f"https{target[len('http') :]}"
        new = place(target)
    if method in ("GET", "HEAD"):
        return target
    upgraded = same_host and (old[0], old[2], new[0], new[2]) == ("http", 80, "https", 443)
    if status in (307, 308) and (old == new or upgraded):
        return target
    raise RegistryError(
        f"{old[1]} sends us on to {readable(new[1])} ({status}) with what we write, and nothing is written there",
        remedy="name the registry by the address that it answers at itself",
    )
