"""Asks the forwarder, from inside its container, or asks a backend for its health. Runs there, not here.

Given to the image's Python as `python -I -S -c …`; standard library only. It prints one JSON object.

    status           what is in flight to which backend
    switch           the same, after the forwarder has looked anew for the current backend
    probe HOST PORT  the status that `GET /` of a backend gives; 0 where it gives none
"""

from __future__ import annotations

import http.client
import json
import socket
import sys

#: As in `packager/programs/service/forwarder.py`.
CONTROL = "\0packager-forwarder"


def ask(command: str) -> str:
    """Return the forwarder's answer to a command."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(CONTROL)
        connection.sendall(command.encode() + b"\n")
        with connection.makefile() as answer:
            return answer.readline()


def probe(host: str, port: int) -> int:
    """Return the status that a backend answers to `GET /`; 0 where it gives none."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


if __name__ == "__main__":
    if sys.argv[1] == "probe":
        print(json.dumps({"status": probe(sys.argv[2], int(sys.argv[3]))}))  # noqa: T201
    else:
        print(ask(sys.argv[1]), end="")  # noqa: T201
