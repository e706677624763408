"""What an AKS service was asked to have, as values: replicas, probes, limits. This machine keeps to what it can."""

from __future__ import annotations

from typing import Any

import msgspec


class ContainerResourceRequirements(msgspec.Struct, frozen=True, kw_only=True):
    """What the container may use: on one machine, what is asked for is the limit.

    Attributes:
        cpu, cpu_limit: processors; None for no limit.
        memory_in_gb, memory_in_gb_limit: gibibytes; None for no limit.
        gpu: GPUs that were asked for.
    """

    cpu: float | None = None
    memory_in_gb: float | None = None
    cpu_limit: float | None = None
    memory_in_gb_limit: float | None = None
    gpu: int | None = None

    def serialize(self) -> dict[str, Any]:
        """Return it as JSON's values."""
        return {
            "cpu": self.cpu, "cpuLimit": self.cpu_limit, "memoryInGB": self.memory_in_gb,
            "memoryInGBLimit": self.memory_in_gb_limit, "gpu": self.gpu,
        }  # fmt: skip


class AutoScaler(msgspec.Struct, frozen=True, kw_only=True):
    """How many replicas were asked for; on this machine there is one.

    Attributes:
        autoscale_enabled: their number is to follow the load.
        min_replicas, max_replicas: the least, and the most.
        refresh_period_seconds: how often it is looked.
        target_utilization: in percent.
    """

    autoscale_enabled: bool = True
    max_replicas: int = 10
    min_replicas: int = 1
    refresh_period_seconds: int = 1
    target_utilization: int = 70

    def serialize(self) -> dict[str, Any]:
        """Return it as JSON's values."""
        return {
            "autoscaleEnabled": self.autoscale_enabled, "minReplicas": self.min_replicas,
            "maxReplicas": self.max_replicas, "refreshPeriodInSeconds": self.refresh_period_seconds,
            "targetUtilization": self.target_utilization,
        }  # fmt: skip


class LivenessProbeRequirements(msgspec.Struct, frozen=True, kw_only=True):
    """How it was asked to be looked after; on this machine it is the time in which it must become healthy.

    Attributes:
        period_seconds: how often it is asked.
        initial_delay_seconds: before it is asked at first.
        timeout_seconds: that an answer may take.
        success_threshold, failure_threshold: answers that make it well, or not.
    """

    period_seconds: int = 10
    initial_delay_seconds: int = 310
    timeout_seconds: int = 2
    success_threshold: int = 1
    failure_threshold: int = 3

    def serialize(self) -> dict[str, Any]:
        """Return it as JSON's values."""
        return {
            "periodSeconds": self.period_seconds, "initialDelaySeconds": self.initial_delay_seconds,
            "timeoutSeconds": self.timeout_seconds, "successThreshold": self.success_threshold,
            "failureThreshold": self.failure_threshold,
        }  # fmt: skip


#: Parameters of a deployment configuration that are kept as they are asked for, beside what this machine does of them.
KEPT = (
    "autoscale_enabled", "autoscale_min_replicas", "autoscale_max_replicas", "autoscale_refresh_seconds",
    "autoscale_target_utilization", "num_replicas", "gpu_cores", "period_seconds", "initial_delay_seconds",
    "timeout_seconds", "success_threshold", "failure_threshold", "replica_max_concurrent_requests",
    "max_request_wait_time", "scoring_timeout_ms", "namespace", "enable_app_insights",
)  # fmt: skip


def scaler_of(asked: dict[str, Any]) -> AutoScaler:
    """Return the replicas of a configuration; v1's own where it says nothing. Pure."""
    return AutoScaler(
        autoscale_enabled=asked.get("autoscale_enabled", "num_replicas" not in asked),
        max_replicas=asked.get("autoscale_max_replicas", 10),
        min_replicas=asked.get("autoscale_min_replicas", 1),
        refresh_period_seconds=asked.get("autoscale_refresh_seconds", 1),
        target_utilization=asked.get("autoscale_target_utilization", 70),
    )


def probes_of(asked: dict[str, Any]) -> LivenessProbeRequirements:
    """Return the probes of a configuration; v1's own where it says nothing. Pure."""
    names = LivenessProbeRequirements.__struct_fields__
    return LivenessProbeRequirements(**{name: asked[name] for name in names if name in asked})
