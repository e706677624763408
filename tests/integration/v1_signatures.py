"""Prints names and parameters of v1's classes as JSON; run by an interpreter that has them, under either name."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import warnings
from typing import Any

warnings.simplefilter("ignore")

CLASSES = {
    "core": "Datastore Dataset Run Experiment",
    "core.workspace": "Workspace",
    "core.model": "Model ModelPackage InferenceConfig",
    "core.environment": "Environment",
    "core.conda_dependencies": "CondaDependencies",
    "core.container_registry": "ContainerRegistry",
    "core.resource_configuration": "ResourceConfiguration",
    "core.webservice": "Webservice LocalWebservice AciWebservice AksWebservice AksEndpoint",
    "core.webservice.local": "LocalWebserviceDeploymentConfiguration",
    "core.webservice.aci": "AciServiceDeploymentConfiguration",
    "core.webservice.aks": "AksServiceDeploymentConfiguration AksEndpointDeploymentConfiguration",
    "core.profile": "ModelProfile",
    "core.image": "ContainerImage Image",
    "core.image.container": "ContainerImageConfig",
    "core.compute": "ComputeTarget AksCompute",
    "core.authentication": "InteractiveLoginAuthentication ServicePrincipalAuthentication AzureCliAuthentication",
    "exceptions": "AzureMLException WebserviceException ComputeTargetException UserErrorException "
    "ModelNotFoundException WorkspaceException",
}


def parameters(function: Any) -> list[Any] | None:
    """Name, kind and default of each parameter; None where Python cannot tell."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return [[each.name, each.kind.name, None if each.default is each.empty else repr(each.default)] for each in found]


def functions(owner: Any) -> dict[str, Any]:
    names = [name for name in dir(owner) if name == "__init__" or not name.startswith("_")]
    found = {name: getattr(owner, name) for name in names}
    return {name: parameters(value) for name, value in found.items() if callable(value) and not isinstance(value, type)}


def main(package: str) -> None:
    result: dict[str, Any] = {}
    for module, names in CLASSES.items():
        owner = importlib.import_module(f"{package}.{module}")
        result |= {f"{module}:{name}": functions(getattr(owner, name)) for name in names.split()}
    json.dump(result, sys.stdout)


main(sys.argv[1])
