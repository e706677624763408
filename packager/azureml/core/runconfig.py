"""`azureml.core.runconfig`: names that scripts import from here; runs are training."""

from packager.azureml.calling import trains
from packager.azureml.core.conda_dependencies import CondaDependencies
from packager.azureml.core.container_registry import ContainerRegistry
from packager.azureml.core.environment import DEFAULT_CPU_IMAGE, DEFAULT_GPU_IMAGE, DockerSection, Environment

RunConfiguration = trains("RunConfiguration")
ScriptRunConfig = trains("ScriptRunConfig")
MpiConfiguration = trains("MpiConfiguration")
DockerConfiguration = trains("DockerConfiguration")

__all__ = [
    "DEFAULT_CPU_IMAGE", "DEFAULT_GPU_IMAGE", "CondaDependencies", "ContainerRegistry", "DockerConfiguration",
    "DockerSection", "Environment", "MpiConfiguration", "RunConfiguration", "ScriptRunConfig",
]  # fmt: skip
