"""`ResourceConfiguration`: what a service with a model wants."""

from __future__ import annotations

from typing import Any

from packager.azureml.arguments import held


@held()
class ResourceConfiguration:
    """Processors, memory and GPUs.

    Attributes:
        cpu: processors.
        memory_in_gb: gibibytes of memory.
        gpu: GPUs.
    """

    def __init__(self, cpu: float | None = None, memory_in_gb: float | None = None, gpu: int | None = None) -> None:
        self.cpu, self.memory_in_gb, self.gpu = cpu, memory_in_gb, gpu

    def serialize(self) -> dict[str, Any]:
        """Return it as JSON's values."""
        return {"cpu": self.cpu, "memoryInGB": self.memory_in_gb, "gpu": self.gpu}

    @staticmethod
    def deserialize(payload_obj: dict[str, Any] | None) -> ResourceConfiguration | None:
        """Return what `serialize` gave; None of nothing."""
        if not payload_obj:
            return None
        return ResourceConfiguration(
            cpu=payload_obj.get("cpu"), memory_in_gb=payload_obj.get("memoryInGB"), gpu=payload_obj.get("gpu")
        )
