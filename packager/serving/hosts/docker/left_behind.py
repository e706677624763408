"""Containers whose packager was killed before it could remove them (SIGKILL, a power cut): the next one does.

Each container that is not meant to stay is labelled with the process that started it. Whoever starts another on the
same machine removes those whose process is gone. An engine can serve several machines, and each container has process
numbers of its own: what was started elsewhere is left alone while it may run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from packager.serving.hosts.process.process import Process, this_process

if TYPE_CHECKING:
    from docker import DockerClient

#: Label of every container that ends with a process; its value is the process (`owner`).
OWNER = "packager.owner"

#: A container that has ended for so long is nobody's, whichever machine started it.
ABANDONED = timedelta(days=1)


def owner() -> str:
    """Return which process this is, as the label says it; empty where the system does not tell.

    The number alone is given again after a while, and is another process in another container.
    """
    try:
        process = this_process()
        return f"{process.boot}/{_namespace()}/{process.pid}/{process.started}"
    except OSError:
        return ""


def is_gone(label: str) -> bool:
    """Return whether the process that a label names has ended; one of another machine or container may be there."""
    match label.split("/"):
        case [boot, namespace, pid, started] if pid.isdecimal() and started.isdecimal():
            process = Process(pid=int(pid), started=int(started), boot=boot)
            with suppress(OSError):
                return process.of_this_boot and namespace == _namespace() and not process.running
    return False


def _namespace() -> str:
    return os.readlink("/proc/self/ns/pid")


def remove_left(client: DockerClient, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> tuple[str, ...]:
    """Remove containers that were left behind, and return their names. What cannot be removed is left to the next.

    Args:
        client: of the engine.
        clock: the time now.
    """
    import docker.errors

    removed = []
    with suppress(docker.errors.DockerException):
        for found in client.api.containers(all=True, filters={"label": OWNER}):
            with suppress(docker.errors.DockerException):
                if _is_left(found, lambda each: client.api.inspect_container(each)["State"], clock):
                    client.api.remove_container(found["Id"], force=True, v=True)
                    removed.append(str(next(iter(found["Names"]), found["Id"])).removeprefix("/"))
    return tuple(removed)


def _is_left(
    found: Mapping[str, Any], state: Callable[[str], Mapping[str, Any]], clock: Callable[[], datetime]
) -> bool:
    if is_gone(found["Labels"].get(OWNER, "")):
        return True
    if found["State"] not in ("exited", "dead"):
        return False
    ended = _time(state(found["Id"]).get("FinishedAt", ""))
    return ended is not None and clock() - ended > ABANDONED


def _time(text: str) -> datetime | None:
    """Return a time as the engine writes it, to the second."""
    try:
        return datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
