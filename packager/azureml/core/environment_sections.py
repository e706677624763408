"""The parts of an `Environment`, and its form as JSON (`azureml_environment.json`; azureml-core 1.61 writes it so)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from packager.azureml.core.conda_dependencies import CondaDependencies
from packager.azureml.core.container_registry import ContainerRegistry
from packager.azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from packager.azureml.core.environment import Environment

#: The bases that v1 takes where none is named. They are names here: images stand on the base of their target.
DEFAULT_CPU_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:20251130.v1"
DEFAULT_GPU_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-cuda11.8-cudnn8-ubuntu22.04"
#: How the names of Azure ML's own bases begin.
AZURE_BASES = ("mcr.microsoft.com/azureml/", "mcr.microsoft.com/mlops/")


class DockerImagePlatform:
    """What a base image runs on."""

    def __init__(self, os: str = "Linux", architecture: str = "amd64") -> None:
        self.os, self.architecture = os, architecture


class DockerBuildContext:
    """A folder with a Dockerfile, which is kept by its name.

    Args:
        location_type: `local`.
        location: the folder.
        dockerfile_path: in it.
    """

    def __init__(self, location_type: str | None = None, location: str | None = None, **kwargs: Any) -> None:
        self.location_type, self.location = location_type, location
        self.dockerfile_path = kwargs.get("dockerfile_path", "Dockerfile")

    @staticmethod
    def from_local_directory(workspace: Any, path: str, dockerfile_path: str = "Dockerfile") -> DockerBuildContext:
        """Return the folder of a path."""
        return DockerBuildContext("local", path, dockerfile_path=dockerfile_path)


class DockerSection:
    """The base image.

    Attributes:
        enabled: `build_local` makes an image.
        base_image: reference; one of Azure ML's own stands for the target's.
        base_dockerfile: text or path of a Dockerfile whose image is the base.
        base_image_registry: that has it.
        build_context: a folder with a Dockerfile.
        platform, arguments, shm_size, shared_volumes, gpu_support: kept, and written to files.
    """

    def __init__(self, **kwargs: Any) -> None:
        bare = bool(kwargs.get("_skip_defaults"))
        self.enabled = False
        self.base_image: str | None = None if bare else DEFAULT_CPU_IMAGE
        self.base_dockerfile: str | None = None
        self.base_image_registry = ContainerRegistry()
        self.build_context: DockerBuildContext | None = None
        self.platform = DockerImagePlatform()
        self.arguments: list[str] = []
        self.shm_size: str | None = None if bare else "2g"
        self.shared_volumes = True
        self.gpu_support = False


class PythonSection:
    """Packages.

    Attributes:
        conda_dependencies: which.
        user_managed_dependencies: the base image has them.
        interpreter_path: of the base image's Python.
        base_conda_environment: of the base image.
    """

    def __init__(self, **kwargs: Any) -> None:
        self.interpreter_path = "python"
        self.user_managed_dependencies = False
        self.base_conda_environment: str | None = None
        self._conda_dependencies_file: str | None = None
        self.conda_dependencies: CondaDependencies | None = (
            None if kwargs.get("_skip_defaults") else CondaDependencies()
        )

    @property
    def conda_dependencies_file(self) -> str | None:
        """A conda file that says which packages."""
        return self._conda_dependencies_file

    @conda_dependencies_file.setter
    def conda_dependencies_file(self, value: str | None) -> None:
        if value:
            self.conda_dependencies = CondaDependencies(value)
        self._conda_dependencies_file = value


def to_json(environment: Environment) -> dict[str, Any]:
    """Return an environment as JSON's values, with its packages and Dockerfile in it."""
    python, docker, registry = environment.python, environment.docker, environment.docker.base_image_registry
    context = docker.build_context
    return {
        "name": environment.name,
        "version": environment.version,
        "environmentVariables": dict(environment.environment_variables),
        "python": {
            "userManagedDependencies": python.user_managed_dependencies,
            "interpreterPath": python.interpreter_path,
            "condaDependenciesFile": python.conda_dependencies_file,
            "baseCondaEnvironment": python.base_conda_environment,
            **({"condaDependencies": python.conda_dependencies.as_dict()} if python.conda_dependencies else {}),
        },
        "docker": {
            "enabled": docker.enabled,
            "baseImage": docker.base_image,
            "baseDockerfile": docker.base_dockerfile,
            "buildContext": {
                "locationType": context.location_type,
                "location": context.location,
                "dockerfilePath": context.dockerfile_path,
            }
            if context
            else None,
            "sharedVolumes": docker.shared_volumes,
            "shmSize": docker.shm_size,
            "arguments": list(docker.arguments),
            # Without the password: who may pull is Docker's to know (`docker login`).
            "baseImageRegistry": {
                "address": registry.address,
                "username": registry.username,
                "password": None,
                "registryIdentity": None,
            },
            "platform": {"os": docker.platform.os, "architecture": docker.platform.architecture},
        },
        "spark": environment.spark,
        "databricks": environment.databricks,
        "r": environment.r,
        "inferencingStackVersion": environment.inferencing_stack_version,
        "assetId": environment.asset_id,
    }


def from_json(environment: Environment, data: Mapping[str, Any]) -> None:
    """Put into an environment what a file says.

    Raises:
        UserErrorException: it is of another form.
    """
    python, docker = _part(data, "python"), _part(data, "docker")
    environment.name = str(data.get("name") or "")
    environment.version = str(data["version"]) if data.get("version") is not None else None
    environment.environment_variables = {
        name: str(value) for name, value in _part(data, "environmentVariables").items()
    }
    environment.inferencing_stack_version = data.get("inferencingStackVersion")
    environment.asset_id = data.get("assetId")
    for name in ("spark", "databricks", "r"):
        setattr(environment, name, data.get(name, getattr(environment, name)))
    own = environment.python
    own.user_managed_dependencies = bool(python.get("userManagedDependencies"))
    own.interpreter_path = python.get("interpreterPath") or "python"
    own.base_conda_environment = python.get("baseCondaEnvironment")
    if packages := _part(python, "condaDependencies"):
        own.conda_dependencies = CondaDependencies(_underlying_structure=dict(packages))
    _docker(environment.docker, docker)


def _docker(section: DockerSection, data: Mapping[str, Any]) -> None:
    registry, platform, context = _part(data, "baseImageRegistry"), _part(data, "platform"), _part(data, "buildContext")
    section.enabled = bool(data.get("enabled"))
    section.base_image = data.get("baseImage")
    section.base_dockerfile = data.get("baseDockerfile")
    section.arguments = list(data.get("arguments") or [])
    section.shm_size = data.get("shmSize")
    section.shared_volumes = bool(data.get("sharedVolumes", True))
    section.base_image_registry.address = registry.get("address")
    section.base_image_registry.username = registry.get("username")
    section.platform = DockerImagePlatform(platform.get("os") or "Linux", platform.get("architecture") or "amd64")
    if context:
        section.build_context = DockerBuildContext(
            context.get("locationType"),
            context.get("location"),
            dockerfile_path=context.get("dockerfilePath") or "Dockerfile",
        )


def _part(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name) or {}
    if not isinstance(found, Mapping):
        raise UserErrorException(f"it is no environment of Azure ML: {name!r} is an object")
    return found
