"""Asks the forwarder, from inside its container, or asks a backend for its health. Runs there, not here.

Given to the image's Python as `python -I -S -c …`; standard library only. It prints one JSON object.

    status           what is in flight to which backend
    switch           the same, after the forwarder has looked anew for the current backend
    probe HOST PORT  the status that `GET /` of a backend gives; 0 where it gives none within a second

It is asked while a service starts, when processors are busy: it imports little, and waits here rather than be started
again and again.
"""

from __future__ import annotations

import json
import socket
import sys
import time

#: As in `packager/programs/service/forwarder.py`.
CONTROL = "\0packager-forwarder"

#: Seconds: for a backend to give its first good answer, between two attempts, and for each answer.
PATIENCE, PAUSE, ANSWER_TIME = 1.0, 0.04, 5.0


def ask(command: str) -> str:
    """Return the forwarder's answer to a command."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(CONTROL)
        connection.sendall(command.encode() + b"\n")
        with connection.makefile() as answer:
            return answer.readline()


def probe(host: str, port: int, patience: float = PATIENCE) -> int:
    """Return the status that a backend answers to `GET /`, at the latest after `patience` seconds; 0 where none."""
    end = time.monotonic() + patience
    while True:
        status = probe_once(host, port)
        if status == 200 or time.monotonic() > end:
            return status
        time.sleep(PAUSE)


def probe_once(host: str, port: int) -> int:
    """Return the status that a backend answers to `GET /` now; 0 where it gives none."""
    request = f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((host, port), ANSWER_TIME) as connection:
            connection.sendall(request.encode())
            with connection.makefile("rb") as answer:
                return int(answer.readline(1024).split()[1])
    except (OSError, ValueError, IndexError):
        return 0


if __name__ == "__main__":
    if sys.argv[1] == "probe":
        print(json.dumps({"status": probe(sys.argv[2], int(sys.argv[3]))}))  # noqa: T201
    else:
        print(ask(sys.argv[1]), end="")  # noqa: T201
