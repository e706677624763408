"""`InferenceConfig`: the entry script of a service, and what it is installed with; both generations of parameters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from packager.azureml.arguments import held
from packager.azureml.core.conda_dependencies import CondaDependencies
from packager.azureml.core.container_registry import ContainerRegistry
from packager.azureml.core.environment import Environment
from packager.azureml.exceptions import WebserviceException

_RUNTIMES = ("python", "spark-py", "python-slim")


@held()
class InferenceConfig:
    """The entry script of a service, and what it is installed with.

    Attributes:
        entry_script: relative to the source directory, or to the current folder without one.
        source_directory: packaged whole, under its own name.
        environment: packages; in place of the parameters below.
        runtime: `python`.
        conda_file: a conda file.
        extra_docker_file_steps: a file with Dockerfile lines: refused when something is packaged.
        enable_gpu: the target gpu.
        cuda_version: of it.
        base_image: with Python in it.
        base_image_registry: that has it.
        description: for people.

    Raises:
        WebserviceException: a file is not there, or parameters of both generations are given.
    """

    def __init__(
        self,
        entry_script: str,
        runtime: str | None = None,
        conda_file: str | None = None,
        extra_docker_file_steps: str | None = None,
        source_directory: str | None = None,
        enable_gpu: bool | None = None,
        description: str | None = None,
        base_image: str | None = None,
        base_image_registry: ContainerRegistry | None = None,
        cuda_version: str | None = None,
        environment: Environment | None = None,
    ) -> None:
        self.entry_script, self.source_directory, self.environment = entry_script, source_directory, environment
        self.runtime, self.conda_file, self.description = runtime, conda_file, description
        self.extra_docker_file_steps = extra_docker_file_steps
        self.enable_gpu, self.cuda_version = enable_gpu, cuda_version
        self.base_image, self.base_image_registry = base_image, base_image_registry or ContainerRegistry()
        self.validate_configuration()

    def validate_configuration(self) -> None:
        """Look whether its files are there, and whether it can be meant so.

        Raises:
            WebserviceException: they are not, or it cannot.
        """
        if not self.entry_script:
            raise WebserviceException("Error, need to specify entry_script.")
        older = ("runtime", "conda_file", "extra_docker_file_steps", "enable_gpu", "cuda_version", "base_image")
        given = [name for name in older if getattr(self, name)]
        if self.environment is not None and given:
            raise WebserviceException(
                f"Error, unable to provide {', '.join(given)} along with an environment object: the environment says it"
            )
        if self.source_directory:
            self.source_directory = os.path.realpath(self.source_directory)
            if not os.path.isdir(self.source_directory):
                raise WebserviceException(f"source directory {self.source_directory} doesn't exist.")
        if Path(self.entry_script).suffix != ".py":
            raise WebserviceException("Invalid driver type. Currently only Python drivers are supported.")
        if self.runtime and self.runtime.lower() not in _RUNTIMES:
            raise WebserviceException("Provided runtime not supported. Possible runtimes are: python")
        for name, what in (("entry_script", "entry_script"), ("conda_file", "Conda file"),
                           ("extra_docker_file_steps", "extra docker file steps")):  # fmt: skip
            value = getattr(self, name)
            if value and not self._at(value).is_file():
                base = "source directory" if self.source_directory else "current working directory"
                raise WebserviceException(f"{what} {value} doesn't exist. {what} should be path relative to {base}")

    def _at(self, path: str) -> Path:
        return Path(self.source_directory or "", path)

    def _environment(self) -> Environment:
        """Return what it is installed with, whichever generation says it."""
        if self.environment is not None:
            return self.environment
        made = Environment("inference")
        made.environment_variables = {}
        if self.conda_file:
            made.python.conda_dependencies = CondaDependencies(str(self._at(self.conda_file)))
        if self.base_image:
            made.docker.base_image = self.base_image
            made.docker.base_image_registry = self.base_image_registry
        return made

    def __repr__(self) -> str:
        shown: dict[str, Any] = {name: value for name, value in vars(self).items() if value is not None}
        shown.pop("base_image_registry")
        return f"InferenceConfig({', '.join(f'{name}={value!r}' for name, value in shown.items())})"
