"""A workload → what each platform that runs containers has to be told, worked out once. Pure."""

from __future__ import annotations

import math

import msgspec

from packager.deployment.workload import Workload
from packager.plan.plan import Health, health_command
from packager.spec.service import Replicas, cpu_of, memory_of

#: Processes and threads: far above what workers with their pools have, far below what a machine bears.
PIDS = 4096

#: Seconds for which gunicorn lets requests end, at least, once it is told to stop.
_GRACEFUL = 30
#: Seconds for what goes on around that: the signal, and the end of the processes.
_AROUND = 5

#: Seconds that a start may take where nobody says otherwise.
_START = 120


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a container gets.

    Attributes:
        health: command and times of the health check.
        start: seconds until it must be healthy.
        grace: seconds from the signal to stop until it is killed.
        cpu: processors that it is sure to have; None where nobody asks for some.
        cpu_limit: the most processors; None for no limit.
        memory: bytes that it is sure to have.
        memory_limit: the most bytes.
        gpus: a number, or `all`; empty for none.
    """

    health: Health
    start: int
    grace: int
    cpu: float | None = None
    cpu_limit: float | None = None
    memory: int | None = None
    memory_limit: int | None = None
    gpus: str = ""


def terms(workload: Workload) -> Terms:
    """Return what a container of a workload gets."""
    service = workload.service
    health = _health(workload)
    return Terms(
        health=health,
        start=max(_START, health.start_period + health.interval * health.retries),
        grace=max(_GRACEFUL, math.ceil(workload.scoring_timeout or 0)) + _AROUND,
        cpu=None if service.cpu is None else cpu_of(service.cpu),
        cpu_limit=service.most_cpu,
        memory=None if service.memory is None else memory_of(service.memory),
        memory_limit=service.most_memory,
        gpus=_gpus(workload),
    )


def grace_reason(workload: Workload) -> str:
    """Return in one sentence why a container gets so long to stop."""
    if workload.scoring_timeout is not None and workload.scoring_timeout > _GRACEFUL:
        return f"Requests in flight are answered first: run() may take {workload.scoring_timeout:g} s."
    return f"Requests in flight are answered first, for which the server gives them {_GRACEFUL} s."


def _gpus(workload: Workload) -> str:
    if workload.service.gpu is not None:
        return str(workload.service.gpu or "")
    return workload.gpus


def _health(workload: Workload) -> Health:
    probes, usual = workload.service.probes, Health(command=health_command(workload.port))
    return Health(
        command=usual.command,
        interval=probes.period or usual.interval,
        timeout=probes.timeout or usual.timeout,
        start_period=usual.start_period if probes.initial_delay is None else probes.initial_delay,
        retries=probes.failure_threshold or usual.retries,
    )


def unmet_by_one_machine(workload: Workload) -> list[str]:
    """Return what of `service:` a machine with one container does not do, a sentence each."""
    service = workload.service
    unmet = []
    least, most = _replicas(workload)
    if most > 1:
        asked = str(most) if least == most else f"{least} to {most}"
        unmet.append(f"one replica runs, of {asked}: two containers cannot have one port")
    if service.probes.success_threshold not in (None, 1):
        unmet.append("it is well after one good answer, whatever `probes.success_threshold` says")
    if service.tls is not None:
        unmet.append("it speaks plain HTTP on this machine's loopback address: put what encrypts in front of it")
    unmet += unmet_anywhere(workload)
    names = [name for name, value in (("namespace", service.namespace), ("dns_name", service.dns_name)) if value]
    if names:
        unmet.append(f"there is no {' and no '.join(names)} here")
    return unmet


def unmet_anywhere(workload: Workload) -> list[str]:
    """Return what of `service:` none of the platforms without a cluster does, a sentence each."""
    unmet = []
    if workload.service.max_queue_wait is not None:
        unmet.append("requests wait for their turn however long it takes, whatever `max_queue_wait` says")
    if workload.service.auth == "token":
        unmet.append("requests need a key in place of a token that ends")
    return unmet


def _replicas(workload: Workload) -> tuple[int, int]:
    match workload.service.replicas:
        case None:
            return 1, 1
        case Replicas(min=least, max=most):
            return least, most or least
        case number:
            return number, number


def tenths(value: float) -> float:
    """Return a number, rounded up to tenths."""
    return math.ceil(round(value * 10, 6)) / 10

