"""`azureml.core`: its classes, each imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

#: Of the azureml-core whose names and parameters are here.
VERSION = "1.61.0"
__version__ = VERSION

if TYPE_CHECKING:
    from packager.azureml.core.compute import ComputeTarget
    from packager.azureml.core.container_registry import ContainerRegistry
    from packager.azureml.core.dataset import Dataset
    from packager.azureml.core.datastore import Datastore
    from packager.azureml.core.environment import Environment
    from packager.azureml.core.experiment import Experiment
    from packager.azureml.core.image import Image
    from packager.azureml.core.model import Model
    from packager.azureml.core.run import Run
    from packager.azureml.core.runconfig import RunConfiguration, ScriptRunConfig
    from packager.azureml.core.webservice import Webservice
    from packager.azureml.core.workspace import Workspace

__all__ = [
    "VERSION", "ComputeTarget", "ContainerRegistry", "Dataset", "Datastore", "Environment", "Experiment", "Image",
    "Model", "Run", "RunConfiguration", "ScriptRunConfig", "Webservice", "Workspace",
]  # fmt: skip

_MODULES = {
    "ComputeTarget": "compute", "ContainerRegistry": "container_registry", "Dataset": "dataset",
    "Datastore": "datastore", "Environment": "environment", "Experiment": "experiment", "Image": "image",
    "Model": "model", "Run": "run", "RunConfiguration": "runconfig", "ScriptRunConfig": "runconfig",
    "Webservice": "webservice", "Workspace": "workspace",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a class, or a module, when it is asked for (PEP 562)."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'azureml.core' has no attribute {name!r}: packager has what registers, packages, "
                         "deploys and asks models (docs/reference/azureml.md)")  # fmt: skip
