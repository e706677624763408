"""What a deployment configuration wants of the machine that runs the service. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from packager.errors import UsageError

Compute = Literal["Local", "ACI", "AKS", "AKSENDPOINT"]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A service as its configuration has it.

    Attributes:
        compute: what v1 calls the place.
        port: of this machine; a free one where None.
        cpus: limit in processors; None for none.
        memory_gb: limit in gibibytes; None for none.
        auth: requests need a key.
        token: callers get it as a token.
        version: name of the first version of an endpoint; that of the endpoint where it is empty.
        traffic: share of the requests that the version gets, in percent; None where nothing is said.
        keys: that are given: primary, secondary.
        timeout: seconds until it must be healthy.
        asked: of an AKS configuration, by its parameters, as it is asked for.
        passed_over: what of it means nothing on one machine, in words.
        description: for people.
        tags: to find it by.
        properties: that never change.
    """

    compute: Compute
    port: int | None = None
    cpus: float | None = None
    memory_gb: float | None = None
    auth: bool = False
    token: bool = False
    version: str = ""
    traffic: float | None = None
    keys: tuple[str | None, str | None] = (None, None)
    timeout: float = 300.0
    asked: dict[str, Any] = {}
    passed_over: tuple[str, ...] = ()
    description: str = ""
    tags: dict[str, str] = {}
    properties: dict[str, str] = {}

    def within(self, processors: int) -> Wanted:
        """Return what a machine with so many processors can give of it."""
        if self.cpus is None or self.cpus <= processors:
            return self
        note = f"{self.cpus:g} processors (there are {processors})"
        return msgspec.structs.replace(self, cpus=float(processors), passed_over=(*self.passed_over, note))

    @property
    def memory(self) -> str | None:
        """The limit of memory in Docker's form; None for none."""
        return None if self.memory_gb is None else f"{round(self.memory_gb * 1024)}m"

    def sentence(self, name: str) -> str:
        """Return in one line where a service runs, and with what."""
        parts = [f"processors: {self.cpus:g}"] if self.cpus is not None else []
        parts += [f"memory: {self.memory_gb:g} GB"] if self.memory_gb is not None else []
        parts += ["keys" if not self.token else "a token"] if self.auth else []
        having = f", with {', '.join(parts)}" if parts else ""
        left = f"; not on one machine: {', '.join(self.passed_over)}" if self.passed_over else ""
        return f"{name}: this machine is {self.compute.removesuffix('ENDPOINT')} here{having}{left}"


#: Field of the spec's `service`, or of its `replicas` or `probes` → the parameter of v1 that it came from.
_PARAMETERS = {
    "gpu": "gpu_cores", "concurrency": "replica_max_concurrent_requests", "namespace": "namespace",
    "replicas.min": "autoscale_min_replicas", "replicas.max": "autoscale_max_replicas",
    "replicas.target": "autoscale_target_utilization", "probes.period": "period_seconds",
    "probes.initial_delay": "initial_delay_seconds", "probes.timeout": "timeout_seconds",
    "probes.success_threshold": "success_threshold", "probes.failure_threshold": "failure_threshold",
}  # fmt: skip


#: Parameter of v1 → the field of the spec's `service` by which this machine keeps to it; times are in milliseconds.
_IN_FORCE = {
    "max_request_wait_time": "max_queue_wait", "scoring_timeout_ms": "scoring_timeout",
    "replica_max_concurrent_requests": "concurrency",
}  # fmt: skip


def asked_of(service: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a spec's `service`, read from a deployment configuration, asks for, by v1's parameters. Pure."""
    flat = {
        f"{name}.{key}" if key else name: value
        for name, own in service.items()
        for key, value in (own.items() if isinstance(own, Mapping) else (("", own),))
    }
    found = {_PARAMETERS[name]: value for name, value in flat.items() if name in _PARAMETERS}
    if "replicas" in flat:
        found["num_replicas"] = flat["replicas"]
    for name, parameter in (("max_queue_wait", "max_request_wait_time"), ("scoring_timeout", "scoring_timeout_ms")):
        if name in flat:
            found[parameter] = round(flat[name] * 1000)
    return found


def in_force(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the spec's `service` by which a machine keeps to what an AKS configuration asks for. Pure.

    Args:
        asked: by v1's parameters.

    Raises:
        UsageError: one of them is not above zero.
    """
    found = {field: asked[parameter] for parameter, field in _IN_FORCE.items() if asked.get(parameter) is not None}
    for parameter, field in _IN_FORCE.items():
        value = found.get(field, 1)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise UsageError(
                f"{parameter} must be greater than zero",
                remedy="milliseconds, or a number of requests; or leave it out",
            )
    return {name: value if name == "concurrency" else value / 1000 for name, value in found.items()}
