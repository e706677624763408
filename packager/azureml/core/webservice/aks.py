"""`azureml.core.webservice.aks`: services that were written for Azure Kubernetes Service."""

from packager.azureml.core.webservice.aks_endpoint import AksEndpoint
from packager.azureml.core.webservice.aks_service import AksWebservice
from packager.azureml.core.webservice.configurations import (
    AksEndpointDeploymentConfiguration,
    AksServiceDeploymentConfiguration,
)

__all__ = [
    "AksEndpoint", "AksEndpointDeploymentConfiguration", "AksServiceDeploymentConfiguration", "AksWebservice",
]  # fmt: skip
