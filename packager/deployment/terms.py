"""A workload → what each platform that runs containers has to be told, worked out once. Pure."""

from __future__ import annotations

import math

import msgspec

from packager.deployment.workload import Workload
from packager.errors import UsageError
from packager.plan.plan import Health, health_command
from packager.spec.service import Replicas, cpu_of, memory_of

#: Processes and threads: far above what workers with their pools have, far below what a machine bears.
PIDS = 4096


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a container gets.

    Attributes:
        health: command and times of the health check.
        cpu: processors that it is sure to have; None where nobody asks for some.
        cpu_limit: the most processors; None for no limit.
        memory: bytes that it is sure to have.
        memory_limit: the most bytes.
        gpus: a number, or `all`; empty for none.
    """

    health: Health
    cpu: float | None = None
    cpu_limit: float | None = None
    memory: int | None = None
    memory_limit: int | None = None
    gpus: str = ""


def terms(workload: Workload) -> Terms:
    """Return what a container of a workload gets."""
    service = workload.service
    return Terms(
        health=_health(workload),
        cpu=None if service.cpu is None else cpu_of(service.cpu),
        cpu_limit=service.most_cpu,
        memory=None if service.memory is None else memory_of(service.memory),
        memory_limit=service.most_memory,
        gpus=_gpus(workload),
    )


def require_published(workload: Workload, reason: str) -> None:
    """Refuse an image that is in no registry.

    Args:
        workload: of the image.
        reason: why a platform needs one, in words.

    Raises:
        UsageError: only an engine of this machine has the image.
    """
    if workload.local:
        raise UsageError(
            f"only the engine of this machine has {workload.package} {workload.version}, and {reason}",
            remedy="push it first: packager push; then deploy it by the digest that is printed, with --image",
        )


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


def unmet_by_one_machine(workload: Workload, *, loopback: bool = True) -> list[str]:
    """Return what of `service:` a machine with one container does not do, a sentence each.

    Args:
        workload: that is to run there.
        loopback: it is reached from the machine alone.
    """
    service = workload.service
    unmet = unmet_replicas(workload, "two containers cannot have one port")
    if service.probes.success_threshold not in (None, 1):
        unmet.append("it is well after one good answer, whatever `probes.success_threshold` says")
    if service.tls is not None:
        where = " on this machine's loopback address" if loopback else ""
        unmet.append(f"it speaks plain HTTP{where}: put what encrypts in front of it")
    unmet += unmet_anywhere(workload)
    names = [name for name, value in (("namespace", service.namespace), ("dns_name", service.dns_name)) if value]
    if names:
        unmet.append(f"there is no {' and no '.join(names)} here")
    return unmet


def unmet_replicas(workload: Workload, reason: str) -> list[str]:
    """Return that there is one replica where more are asked for, in one sentence or none."""
    least, most = _replicas(workload)
    asked = str(most) if least == most else f"{least} to {most}"
    return [f"one replica runs, of {asked}: {reason}"] if most > 1 else []


def unmet_anywhere(workload: Workload) -> list[str]:
    """Return what of `service:` none of the platforms without a cluster does, a sentence each."""
    unmet = []
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
