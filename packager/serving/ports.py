"""Ports that are published: what `-p` means, and where what is published is reached. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from packager.contract import DEFAULT_PORT
from packager.errors import UsageError
from packager.serving.service import LOOPBACK, Publish


def parse_publish(text: str | None, container_port: int) -> Publish:
    """Return what `-p` means.

    Args:
        text: `[[ADDRESS:]PORT:]CONTAINER_PORT` as in `docker run -p`, with IPv6 addresses in brackets. None publishes
            the container's port under its own number.
        container_port: of the server.

    Raises:
        UsageError: it is not of that form.
    """
    if text is None:
        return Publish(container_port=container_port, port=container_port)
    match = re.fullmatch(r"(?:(?:(\[[0-9a-fA-F:]+\]|[0-9.]+):)?(\d{1,5}):)?(\d{1,5})", text)
    if match is None:
        raise UsageError(f"-p {text!r} is not [[ADDRESS:]PORT:]CONTAINER_PORT", remedy=f"such as 6789:{DEFAULT_PORT}")
    inner = int(match[3])
    outer = int(match[2]) if match[2] is not None else inner
    if not 0 < inner < 65536 or outer > 65535:
        raise UsageError(f"-p {text!r}: a port is at most 65535, and the container's is not 0")
    address = match[1].strip("[]") if match[1] else None
    if address is not None:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise UsageError(f"-p {text!r}: {address} is no IP address") from None
    return Publish(container_port=inner, port=outer, address=address)


def require_port(publish: Publish, title: str, ports: Sequence[int]) -> None:
    """Refuse to publish a port on which nobody listens.

    Args:
        publish: what `-p` means.
        title: of the image.
        ports: that it exposes; of one that exposes none, nobody knows where it listens.

    Raises:
        UsageError: the port is none of them.
    """
    if not ports or publish.container_port in ports:
        return
    address = f"[{publish.address}]:" if ":" in (publish.address or "") else f"{publish.address}:"
    listens = " and ".join(map(str, ports))
    raise UsageError(
        f"{title} listens on {listens}, and nobody would answer on {publish.container_port}",
        remedy=f"-p {address if publish.address else ''}{publish.port}:{ports[0]}",
    )


def reachable_host(address: str, engine_host: str | None) -> str:
    """Return the host part of the URL under which a published port is reached from here.

    Args:
        address: on which the engine publishes it.
        engine_host: where the engine runs; None for this machine.
    """
    if engine_host is not None and ipaddress.ip_address(address).is_unspecified:
        return engine_host
    if ipaddress.ip_address(address).is_unspecified:
        return LOOPBACK if "." in address else "[::1]"
    return f"[{address}]" if ":" in address else address
