"""What the spec's `service:` section asks for, put into force where a package is started; options go before it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from packager.contract import AUTH_LABEL, TARGET_LABEL, TITLE_LABEL
from packager.engine.api import connect
from packager.serving.hosts.docker.image import ImagePackage
from packager.serving.keys import AUTH_VARIABLE
from packager.serving.service import HealthTimes, Package
from packager.spec.load import SpecFile
from packager.spec.model import Server
from packager.spec.service import Probes, Replicas, ServiceWishes
from packager.steps.reporting import Reporter

#: Seconds until a service must be healthy where nobody says otherwise.
READY_IN = 120.0


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """What a package gets of what its spec asks for.

    Attributes:
        package: it, as one whose requests need a key where that is asked for.
        env: variables.
        memory: the most, in bytes; None for no limit.
        cpus: the most processors; None for no limit.
        gpus: how many.
        health: times of the health check.
        ready_in: seconds until it must be healthy.
        said: what is not as it was asked for, in one sentence; empty where all is.
    """

    package: Package
    env: dict[str, str] = {}
    memory: int | None = None
    cpus: float | None = None
    gpus: int = 0
    health: HealthTimes | None = None
    ready_in: float = READY_IN
    said: str = ""

    @property
    def engine_options(self) -> dict[str, Any]:
        """The attributes of `ImageRequest` that follow; for a package without Docker they say nothing."""
        return {"memory": self.memory, "cpus": self.cpus, "health": self.health, "gpus": self.gpus}


def grant(
    spec_file: SpecFile | None, package: Package, given: Mapping[str, str], reporter: Reporter, *, cpus: bool = True
) -> Granted:
    """Return what a package gets: what its spec asks for, as far as this machine has it. The rest is said.

    Args:
        spec_file: the spec; None where there is none, and one of another package's counts for nothing.
        package: an image of the engine, or what is laid down on this machine.
        given: variables by options, which go before.
        reporter: is told what is not as it was asked for.
        cpus: its processors are not given by an option.

    Raises:
        EngineError: no engine to ask for its processors.
    """
    if isinstance(package, ImagePackage) and TARGET_LABEL not in package.labels:
        reporter.warn(f"{package.title} is none of packager's images: it has no label {TARGET_LABEL}")
    if spec_file is None or spec_file.spec.service == ServiceWishes():
        return Granted(package=package)
    if isinstance(package, ImagePackage) and package.labels.get(TITLE_LABEL) != spec_file.spec.name:
        return Granted(package=package)
    granted = decide(spec_file.spec.service, spec_file.spec.server, package, given)
    if granted.said:
        reporter.step(granted.said)
    if cpus and granted.cpus is not None and isinstance(package, ImagePackage):
        return _within(granted, granted.cpus, reporter)
    return granted


def _within(granted: Granted, cpus: float, reporter: Reporter) -> Granted:
    """Lower the limit to what the engine's machine has: a wish for elsewhere must not keep it from starting here."""
    with connect() as client:
        there = int(client.info().get("NCPU") or 0)
    if not there or cpus <= there:
        return granted
    reporter.warn(f"`service:` asks for {cpus:g} processors, and the engine's machine has {there}: it gets all")
    return msgspec.structs.replace(granted, cpus=float(there))


def decide(service: ServiceWishes, server: Server, package: Package, given: Mapping[str, str]) -> Granted:
    """Return what a package gets, whatever the machine has. Pure.

    Args:
        service: what is asked for.
        server: the spec's, whose values the image has.
        package: to be started.
        given: variables by options, which go before.
    """
    docker = isinstance(package, ImagePackage)
    env = variables(service, server)
    if service.needs_key and package.labels.get(AUTH_LABEL) != "key" and AUTH_VARIABLE not in given:
        env[AUTH_VARIABLE] = "key"
        package = msgspec.structs.replace(package, labels={**package.labels, AUTH_LABEL: "key"})
    return Granted(
        package=package,
        env={name: value for name, value in env.items() if name not in given},
        memory=service.most_memory if docker else None,
        cpus=service.most_cpu if docker else None,
        gpus=service.gpu or 0,
        health=_times(service.probes),
        ready_in=max(READY_IN, _start_time(service.probes)),
        said=_sentence(_unmet(service, docker=docker)),
    )


def variables(service: ServiceWishes, server: Server) -> dict[str, str]:
    """Return the variables by which a container keeps to what is asked for, where its image does otherwise. Pure."""
    env = {}
    if service.concurrency is not None and service.concurrency != server.workers:
        env["WORKER_COUNT"] = str(service.concurrency)
    if service.scoring_timeout is not None:
        env["SCORING_TIMEOUT_MS"] = str(round(service.scoring_timeout * 1000))
        if server.timeout <= service.scoring_timeout:
            # Else the worker would be replaced before run() is interrupted, and the answer lost.
            env["WORKER_TIMEOUT"] = str(math.ceil(service.scoring_timeout) + 60)
    if service.max_queue_wait is not None:
        env["PACKAGER_MAX_QUEUE_WAIT_MS"] = str(max(1, round(service.max_queue_wait * 1000)))
    return env


def _times(probes: Probes) -> HealthTimes | None:
    if probes == Probes():
        return None
    return HealthTimes(
        interval=probes.period,
        timeout=probes.timeout,
        start_period=probes.initial_delay,
        retries=probes.failure_threshold,
    )


def _start_time(probes: Probes) -> float:
    """Return the seconds that a start may take by the probes, before whoever asks gives it up."""
    return (probes.initial_delay or 0) + (probes.period or 10) * (probes.failure_threshold or 3)


def _unmet(service: ServiceWishes, *, docker: bool) -> list[str]:
    """Return what this machine does not do of what is asked for."""
    unmet = []
    replicas = service.replicas
    most = (replicas.max or replicas.min) if isinstance(replicas, Replicas) else replicas
    if most is not None and most > 1:
        unmet.append(f"one replica (of {_range(replicas)})")
    if not docker:
        if service.most_cpu is not None or service.most_memory is not None:
            unmet.append("no limits of processors and memory, which only a container has")
        if service.gpu:
            unmet.append("all GPUs that there are")
        if service.probes != Probes():
            unmet.append("no health checks once it is healthy")
    if service.probes.success_threshold not in (None, 1):
        unmet.append("well after one good answer")
    if service.tls is not None:
        unmet.append("no TLS")
    names = [name for name, value in (("namespace", service.namespace), ("dns_name", service.dns_name)) if value]
    if names:
        unmet.append(f"no {' and '.join(names)}")
    return unmet


def _range(replicas: int | Replicas | None) -> str:
    if isinstance(replicas, Replicas):
        return f"{replicas.min} to {replicas.max}" if replicas.max not in (None, replicas.min) else str(replicas.min)
    return str(replicas)


def _sentence(unmet: list[str]) -> str:
    return f"of `service:` not as asked for on this machine: {'; '.join(unmet)}" if unmet else ""
