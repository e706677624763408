"""How long a request waits for its turn, and how long it may: beyond, it is answered 503 and not scored."""

from __future__ import annotations

import socket
import struct
from typing import Any, Mapping, Optional

#: Variable: milliseconds that a request may wait for its turn.
QUEUE_WAIT = "PACKAGER_MAX_QUEUE_WAIT_MS"

#: In the kernel's `struct tcp_info` (linux/tcp.h): `tcpi_last_data_recv`, milliseconds since the last data arrived, and
#: `tcpi_unacked`, of a listener the number of connections that nobody has accepted.
_INFO_SIZE, _LAST_DATA, _UNACCEPTED = 56, 52, 24


def longest_wait(environ: Mapping[str, str]) -> Optional[float]:
    """Return the seconds that a request may wait for its turn; None for as long as it takes."""
    asked = environ.get(QUEUE_WAIT, "")
    return int(asked) / 1000 if asked.isdecimal() and int(asked) else None


def waited(sock: Any) -> float:
    """Return the seconds since the last of a request arrived: it may have stood in the kernel's queue meanwhile.

    Args:
        sock: of its connection; 0 where that does not know (a Unix socket, a system that has no such figures).
    """
    return _told(sock, _LAST_DATA) / 1000


def standing(listener: Any) -> int:
    """Return how many connections nobody has accepted; 0 where that is not known."""
    return _told(listener, _UNACCEPTED)


def _told(sock: Any, offset: int) -> int:
    try:
        found = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
        return int(struct.unpack_from("I", found, offset)[0])
    except (AttributeError, OSError, struct.error):
        return 0


def too_late(longest: float) -> str:
    """Return what the client is told of a request that waited for too long."""
    return f"The request waited for its turn for longer than {longest:g} s."
