"""Environments of a workspace as v1's class has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from packager.azureml.core.conda_dependencies import CondaDependencies
from packager.azureml.core.environment import Environment
from packager.azureml.exceptions import UserErrorException
from packager.scratch import scratch
from packager.spec.document import parse_yaml

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace
    from packager.steps.listed_environments import ListedEnvironment

_DEFINITION = "azureml_environment.json"
#: Property of a version whose Python nobody asked for: the file cannot tell.
PYTHON = "python"


def read_registered(workspace: Workspace, name: str, version: str | None) -> Environment:
    """Return a registered environment, or a curated one.

    Raises:
        UserErrorException: its definition is none that v1 has.
        PackagerError: there is none, or it cannot be read.
    """
    number = int(version) if version and str(version).isdecimal() else None
    found = workspace._facade.environments.get(name, number if name[:8] != "AzureML-" else None)
    return _made(workspace, found)


def list_registered(workspace: Workspace) -> dict[str, Environment]:
    """Return name → environment: the latest registered ones, and curated ones under v1's names."""
    found: dict[str, Environment] = {}
    for each in workspace._facade.environments.list(latest=True):
        if each.kind != "curated":
            found[each.name] = _made(workspace, workspace._facade.environments.get(each.name))
    return found


def _made(workspace: Workspace, found: ListedEnvironment) -> Environment:
    if found.registered is None:
        made = Environment(found.name)
        made.environment_variables = {}
        made.python.conda_dependencies = _conda(found.text, f"{found.name}.yml")
        # Azure's had it, so that scripts could import azureml.core, which it brings to those that do.
        made.python.conda_dependencies.add_pip_package("azureml-defaults")
        made.version = "1"
        return made
    files = {file.path for file in found.registered.files}
    if _DEFINITION in files:
        with scratch("packager-environment-") as folder:
            workspace._facade.environments.download(found.registered.id, folder, overwrite=True)
            made = Environment.load_from_directory(folder)
    else:
        made = Environment(found.name)
        made.environment_variables = {}
        main = str(found.registered.details.get("definition") or "")
        made.python.conda_dependencies = (
            _requirements(found.text) if main.endswith(".txt") else _conda(found.text, main)
        )
    made.name, made.version = found.name, str(found.registered.version)
    if made.python.conda_dependencies is not None and found.registered.properties.get(PYTHON) == "default":
        made.python.conda_dependencies._asked = False
    return made


def _conda(text: str, name: str) -> CondaDependencies:
    data = msgspec.to_builtins(parse_yaml(text, Path(name)).data)
    if not isinstance(data, dict) or "dependencies" not in data:
        raise UserErrorException(f"{name} is no conda file, which alone Azure ML v1 knows")
    return CondaDependencies(_underlying_structure=data)


def _requirements(text: str) -> CondaDependencies:
    made = CondaDependencies()
    lines = (line.strip() for line in text.splitlines())
    made.set_pip_requirements([line for line in lines if line and not line.startswith("#")])
    return made
