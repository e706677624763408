"""Workers that were killed, by a server's log: its master starts others for ever, and none of them comes up. Pure."""

from __future__ import annotations

import re

#: What gunicorn writes of a worker that ended by SIGKILL; and of one that it ends itself, which did not answer it.
_KILLED = re.compile(r".*Worker \(pid:(?P<pid>\d+)\) was sent SIGKILL.*")
_ENDED_BY_GUNICORN = re.compile(r"WORKER TIMEOUT \(pid:(\d+)\)")

#: What azureml-inference-server-http writes once init() has returned in a worker.
INIT_RETURNED = "init has completed"

#: Workers that were killed, from which on the next ones will be, too.
AGAIN = 2


def killed_workers(log: str) -> frozenset[str]:
    """Return the lines of a log that tell of a worker that was killed, and not by the server itself.

    Lines have the time: those of an earlier start of the container are others, though the numbers are the same.
    """
    by_gunicorn = set(_ENDED_BY_GUNICORN.findall(log))
    return frozenset(found[0] for found in _KILLED.finditer(log) if found["pid"] not in by_gunicorn)


def dies_at_start(log: str) -> bool:
    """Whether, as a log ends, workers are killed one after the other before init() has returned in any."""
    return len(killed_workers(log.rpartition(INIT_RETURNED)[2])) >= AGAIN
