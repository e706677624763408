"""`azureml.core.webservice.aks`: services that were written for Azure Kubernetes Service."""

from packager.azureml.core.webservice.aks_endpoint import AksEndpoint
from packager.azureml.core.webservice.aks_service import AksWebservice
from packager.azureml.core.webservice.configurations import (
    AksEndpointDeploymentConfiguration,
    AksServiceDeploymentConfiguration,
)
from packager.azureml.core.webservice.requirements import (
    AutoScaler,
    ContainerResourceRequirements,
    LivenessProbeRequirements,
)

__all__ = [
    "AksEndpoint",
    "AksEndpointDeploymentConfiguration",
    "AksServiceDeploymentConfiguration",
    "AksWebservice",
    "AutoScaler",
    "ContainerResourceRequirements",
    "LivenessProbeRequirements",
]  # fmt: skip
