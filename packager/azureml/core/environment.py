"""`Environment`: what an entry script is installed with, written in Python or read from files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packager.azureml.arguments import held
from packager.azureml.calling import LINES, not_here, raises, say
from packager.azureml.core.conda_dependencies import CONDA_FILE_NAME, CondaDependencies
from packager.azureml.core.environment_sections import (
    DEFAULT_CPU_IMAGE,
    DEFAULT_GPU_IMAGE,
    DockerBuildContext,
    DockerImagePlatform,
    DockerSection,
    PythonSection,
    from_json,
    to_json,
)
from packager.azureml.exceptions import UserErrorException
from packager.scratch import scratch

if TYPE_CHECKING:
    from packager.azureml.core.container_registry import ContainerRegistry
    from packager.azureml.core.workspace import Workspace

__all__ = [
    "DEFAULT_CPU_IMAGE", "DEFAULT_GPU_IMAGE", "CondaDependencies", "DockerBuildContext", "DockerImagePlatform",
    "DockerSection", "Environment", "PythonSection",
]  # fmt: skip

_DEFINITION, _DOCKERFILE = "azureml_environment.json", "BaseDockerfile"


@held(UserErrorException, but=("__init__",))
class Environment:
    """Python, packages and variables.

    Args:
        name: of it.

    Attributes:
        version: that it is registered under, as text; None before.
        python: packages.
        docker: the base image.
        environment_variables: of the image.
        inferencing_stack_version: is kept; the inference server follows from the packages.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"the name of an environment is a text, and {type(name).__name__} is none")
        bare = bool(kwargs.get("_skip_defaults"))
        self.name = name
        self.version: str | None = None
        self.python = PythonSection(_skip_defaults=bare)
        self.docker = DockerSection(_skip_defaults=bare)
        self.spark: Any = {"repositories": [], "packages": [], "precachePackages": True}
        self.databricks: Any = {
            "mavenLibraries": [], "pypiLibraries": [], "rcranLibraries": [], "jarLibraries": [], "eggLibraries": [],
        }  # fmt: skip
        self._environment_variables: dict[str, str] = {} if bare else {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"}
        self.inferencing_stack_version: str | None = None
        self.r: Any = None
        self.asset_id: str | None = None

    @property
    def environment_variables(self) -> dict[str, str]:
        """Variables of the image."""
        return self._environment_variables

    @environment_variables.setter
    def environment_variables(self, value: dict[str, str] | None) -> None:
        self._environment_variables = dict(value or {})

    @staticmethod
    def from_conda_specification(name: str, file_path: str) -> Environment:
        """Return the environment of a conda file.

        Raises:
            UserErrorException: the file is not valid.
        """
        return Environment._from(name, conda_specification=file_path)

    @staticmethod
    def from_pip_requirements(name: str, file_path: str, pip_version: str | None = None) -> Environment:
        """Return the environment of a file with requirements.

        Args:
            name: of it.
            file_path: one requirement or option a line.
            pip_version: of pip, which conda installs.
        """
        return Environment._from(name, pip_requirements=file_path, pip_version=pip_version)

    @staticmethod
    def from_docker_image(
        name: str,
        image: str,
        container_registry: ContainerRegistry | None = None,
        conda_specification: str | None = None,
        pip_requirements: str | None = None,
    ) -> Environment:
        """Return an environment on a base image: with these packages, or none besides those that the image has.

        Args:
            name: of it.
            image: with Python in it.
            container_registry: that has it.
            conda_specification: a conda file.
            pip_requirements: a file with requirements.
        """
        made = Environment._from(name, conda_specification, pip_requirements, on_image=True)
        made.docker.base_image = image
        if container_registry is not None:
            made.docker.base_image_registry = container_registry
        return made

    @staticmethod
    def from_dockerfile(
        name: str,
        dockerfile: str | DockerBuildContext,
        conda_specification: str | None = None,
        pip_requirements: str | None = None,
    ) -> Environment:
        """Return an environment on the image of a Dockerfile.

        Args:
            name: of it.
            dockerfile: its path, or its text.
            conda_specification: a conda file.
            pip_requirements: a file with requirements.
        """
        made = Environment._from(name, conda_specification, pip_requirements, on_image=True)
        made.docker.base_image = None
        text = str(dockerfile)
        if "\n" not in text and Path(text).is_file():
            text = Path(text).read_text(encoding="utf-8")
        made.docker.base_dockerfile = text
        return made

    @staticmethod
    def from_docker_build_context(name: str, docker_build_context: DockerBuildContext) -> Environment:
        """Return an environment that is built of a folder with a Dockerfile; it is kept, and not packaged."""
        made = Environment(name, _skip_defaults=True)
        made.docker.build_context = docker_build_context
        return made

    @staticmethod
    def from_existing_conda_environment(name: str, conda_environment_name: str) -> Environment | None:
        """Return the environment that conda on this machine has under a name; None where it has none.

        Args:
            name: of it.
            conda_environment_name: in conda.
        """
        from packager.azureml.existing import export_conda

        exported = export_conda(conda_environment_name)
        if exported is None:
            say(f"Could not find existing conda environment named: {conda_environment_name}")
            return None
        made = Environment(name)
        made.python.conda_dependencies = CondaDependencies(_underlying_structure=exported)
        return made

    @staticmethod
    def _from(
        name: str,
        conda_specification: str | None = None,
        pip_requirements: str | None = None,
        pip_version: str | None = None,
        on_image: bool = False,
    ) -> Environment:
        if conda_specification and pip_requirements:
            raise UserErrorException("a conda file and a file with requirements: one of them says which packages")
        made = Environment(name)
        if conda_specification:
            made.python.conda_dependencies = CondaDependencies(conda_specification)
        elif pip_requirements:
            lines = (line.strip() for line in Path(pip_requirements).read_text(encoding="utf-8").splitlines())
            packages = CondaDependencies()
            packages.set_pip_requirements([line for line in lines if line and not line.startswith("#")])
            if pip_version:
                packages.add_conda_package(f"pip={pip_version}")
            made.python.conda_dependencies = packages
        made.python.user_managed_dependencies = on_image and not (conda_specification or pip_requirements)
        return made

    @staticmethod
    @raises(UserErrorException)
    def get(workspace: Workspace, name: str, version: str | None = None, label: str | None = None) -> Environment:
        """Return a registered environment, or a curated one.

        Args:
            workspace: that has it.
            name: of it; v1's curated names give the nearest of packager's.
            version: a number, as text; the latest where None.
            label: `Latest`, for the latest.

        Raises:
            UserErrorException: version and label are given, or there is none.
            Exception: there is no such environment.
        """
        if label and version:
            raise UserErrorException("Only one of version or label can be specified")
        from packager.azureml.registered_environments import read_registered

        return read_registered(workspace, name, version)

    @staticmethod
    @raises(UserErrorException)
    def list(workspace: Workspace) -> dict[str, Environment]:
        """Return name → the latest version of every environment, with those curated under v1's names."""
        from packager.azureml.registered_environments import list_registered

        return list_registered(workspace)

    @raises(UserErrorException)
    def register(self, workspace: Workspace) -> Environment:
        """Register it; the version is the next, or the latest one's where that is the same.

        Args:
            workspace: that gets it.
        """
        from packager.azureml.registered_environments import PYTHON, read_registered

        with scratch("packager-environment-") as temporary:
            folder = Path(temporary, "definition")
            self.clone(self.name).save_to_directory(str(folder))
            packages = self.python.conda_dependencies
            unasked = packages is not None and packages.python_is_default
            found = workspace._facade.environments.register(
                self.name, folder, properties={PYTHON: "default"} if unasked else None
            )
        return read_registered(workspace, self.name, str(found.version))

    def clone(self, new_name: str) -> Environment:
        """Return a copy under another name, which is not registered.

        Raises:
            UserErrorException: there is no name.
        """
        if not new_name:
            raise UserErrorException("Name is required to instantiate an Environment object")
        made = Environment._of(to_json(self))
        made.name, made.version, made.asset_id = new_name, None, None
        if self.python.conda_dependencies is not None and made.python.conda_dependencies is not None:
            made.python.conda_dependencies._asked = self.python.conda_dependencies._asked
        return made

    def save_to_directory(self, path: str, overwrite: bool = False) -> None:
        """Write `azureml_environment.json`, and `conda_dependencies.yml` and `BaseDockerfile` where it has them.

        Args:
            path: of a folder.
            overwrite: it may be there.

        Raises:
            FileExistsError: it is there.
        """
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=overwrite)
        definition = to_json(self)
        if definition["python"].pop("condaDependencies", None) is not None:
            assert self.python.conda_dependencies is not None, "it has just been written"
            self.python.conda_dependencies.save(str(folder / CONDA_FILE_NAME))
        if text := definition["docker"].pop("baseDockerfile", None):
            (folder / _DOCKERFILE).write_text(text, encoding="utf-8")
        (folder / _DEFINITION).write_text(json.dumps(definition, indent=4) + "\n", encoding="utf-8")

    @staticmethod
    def load_from_directory(path: str) -> Environment:
        """Return what `save_to_directory` wrote.

        Raises:
            FileNotFoundError: it wrote nothing there.
            UserErrorException: a file is not valid.
        """
        definition, conda, dockerfile = (Path(path, name) for name in (_DEFINITION, CONDA_FILE_NAME, _DOCKERFILE))
        try:
            data = json.loads(definition.read_text(encoding="utf-8-sig"))
        except ValueError as error:
            raise UserErrorException(f"{definition} is not valid JSON: {error}") from None
        made = Environment._of(data)
        if conda.is_file():
            made.python.conda_dependencies = CondaDependencies(str(conda))
        if dockerfile.is_file():
            made.docker.base_dockerfile = dockerfile.read_text(encoding="utf-8")
        return made

    @staticmethod
    def _of(data: dict[str, Any]) -> Environment:
        made = Environment(str(data.get("name") or ""), _skip_defaults=True)
        from_json(made, data)
        return made

    @raises(UserErrorException)
    def build_local(self, workspace: Workspace, platform: str | None = None, **kwargs: Any) -> None:
        """Lock it and lay it down on this machine; with `useDocker=True`, as an image of the engine.

        Args:
            workspace: beside whose environments the lock is kept.
            platform: is not used: it is for this machine.
            kwargs: `useDocker`, as v1 has it.
        """
        from packager.azureml.packaging import build_environment

        build_environment(workspace, self, docker=bool(kwargs.get("useDocker", self.docker.enabled)), reporter=LINES)

    @raises(UserErrorException)
    def build(self, workspace: Workspace, image_build_compute: str | None = None) -> Any:
        """Lock it and build an image of it; see `build_local`. Returns what has been waited for already.

        Args:
            workspace: beside whose environments the lock is kept.
            image_build_compute: is not used: this machine builds.
        """
        from packager.azureml.packaging import build_environment

        return build_environment(workspace, self, docker=True, reporter=LINES)

    def get_image_details(self, workspace: Workspace) -> Any:
        """Refuse: an environment has no image before something is packaged with it.

        Raises:
            AzureMLException: always.
        """
        not_here("the image of an environment alone", "package a model with it: Model.package(...).location")

    @staticmethod
    @raises(UserErrorException)
    def add_private_pip_wheel(workspace: Workspace, file_path: str, exist_ok: bool = False) -> str:
        """Keep a wheel with the workspace, and return what `add_pip_package` takes.

        Args:
            workspace: that keeps it.
            file_path: of the wheel.
            exist_ok: one of its name may be there, and is replaced.

        Raises:
            UserErrorException: there is no such file, or one of its name is there.
        """
        from packager.azureml.records import folder

        source = Path(file_path)
        target = folder(workspace, "wheels") / source.name
        if not source.is_file() or source.suffix != ".whl":
            raise UserErrorException(f"{file_path} is no wheel that is there")
        if target.exists() and not exist_ok:
            raise UserErrorException(f"A wheel with the name {source.name} already exists; exist_ok=True replaces it")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return target.as_uri()

    def __repr__(self) -> str:
        return json.dumps(to_json(self), indent=4, sort_keys=True)
