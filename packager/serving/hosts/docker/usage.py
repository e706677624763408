"""What a container uses, by the engine's counters of its cgroup; and what the engine's machine has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from packager.engine.api import connect
from packager.serving.hosts.docker.container import RunningContainer
from packager.serving.usage import Machine, Usage


def container_usage(container: RunningContainer) -> Usage | None:
    """Return what a container uses; None where the engine does not tell, as of one that has ended."""
    import docker.errors
    import requests

    try:
        # `one_shot`: without it the engine waits a second for a second sample.
        return usage_of(cast(dict[str, Any], container.container.stats(stream=False, one_shot=True)))
    except (docker.errors.DockerException, requests.exceptions.RequestException):
        return None


def usage_of(stats: Mapping[str, Any]) -> Usage | None:
    """Return what the engine's `/containers/{id}/stats` says; None where it says nothing. Pure.

    `usage` has files that the kernel keeps; `docker stats` takes off `inactive_file` (v1: `total_inactive_file`),
    and so is it here. Only cgroup v1 has `max_usage`.
    """
    memory = stats.get("memory_stats") or {}
    used = ((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage")
    if not used or "usage" not in memory:
        return None
    detail = memory.get("stats") or {}
    cache = int(detail.get("total_inactive_file", detail.get("inactive_file", 0)))
    return Usage(
        cpu=int(used) / 1e9,
        memory=max(int(memory["usage"]) - cache, 0),
        cache=cache,
        peak=int(memory["max_usage"]) if memory.get("max_usage") else None,
    )


def engine_machine() -> Machine:
    """Return what the engine's machine has.

    Raises:
        EngineError: no engine.
    """
    with connect(timeout=60) as client:
        info = client.info()
    return Machine(cpus=max(int(info.get("NCPU") or 1), 1), memory=int(info.get("MemTotal") or 0))
