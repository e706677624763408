"""`ContainerImage` and its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from packager.azureml.arguments import held
from packager.azureml.core.container_registry import ContainerRegistry
from packager.azureml.core.image.image import Image
from packager.azureml.exceptions import WebserviceException

if TYPE_CHECKING:
    from packager.azureml.core.inference_config import InferenceConfig


@held()
class ContainerImageConfig:
    """What an image is made of besides models; parameters as azureml-core 1.61 has them.

    Raises:
        WebserviceException: a file is not there.
    """

    def __init__(
        self,
        execution_script: str,
        runtime: str,
        conda_file: str | None = None,
        docker_file: str | None = None,
        schema_file: str | None = None,
        dependencies: Sequence[str] | None = None,
        enable_gpu: bool | None = None,
        tags: dict[str, str] | None = None,
        properties: dict[str, str] | None = None,
        description: str | None = None,
        base_image: str | None = None,
        base_image_registry: ContainerRegistry | None = None,
        allow_absolute_path: bool = False,
        cuda_version: str | None = None,
    ) -> None:
        self.execution_script, self.runtime, self.conda_file = execution_script, runtime, conda_file
        self.docker_file, self.schema_file = docker_file, schema_file
        self.dependencies = list(dependencies or ())
        self.enable_gpu, self.cuda_version = enable_gpu, cuda_version
        self.tags, self.properties, self.description = tags or {}, properties or {}, description
        self.base_image, self.base_image_registry = base_image, base_image_registry or ContainerRegistry()
        self.allow_absolute_path = allow_absolute_path
        self.validate_configuration()

    def validate_configuration(self) -> None:
        """Look whether its files are there.

        Raises:
            WebserviceException: one is not.
        """
        for each in (self.schema_file, self.docker_file, *self.dependencies):
            if each and not Path(each).exists():
                raise WebserviceException(f"Error, {each} doesn't exist.")
        self._inference()

    def _inference(self) -> InferenceConfig:
        """Return the same as an `InferenceConfig`, which looks at the other files."""
        from packager.azureml.core.inference_config import InferenceConfig

        return InferenceConfig(
            self.execution_script, runtime=self.runtime, conda_file=self.conda_file,
            extra_docker_file_steps=self.docker_file, enable_gpu=self.enable_gpu, description=self.description,
            base_image=self.base_image, base_image_registry=self.base_image_registry, cuda_version=self.cuda_version,
        )  # fmt: skip

    def _beside(self) -> tuple[Path, ...]:
        """Return the files that go beside the script."""
        return tuple(Path(each) for each in (*self.dependencies, *filter(None, [self.schema_file])))


@held()
class ContainerImage(Image):
    """An image with a web service in it."""

    @staticmethod
    def image_configuration(
        execution_script: str,
        runtime: str,
        conda_file: str | None = None,
        docker_file: str | None = None,
        schema_file: str | None = None,
        dependencies: Sequence[str] | None = None,
        enable_gpu: bool | None = None,
        tags: dict[str, str] | None = None,
        properties: dict[str, str] | None = None,
        description: str | None = None,
        base_image: str | None = None,
        base_image_registry: ContainerRegistry | None = None,
        cuda_version: str | None = None,
    ) -> ContainerImageConfig:
        """Return what an image is made of besides models; parameters as azureml-core 1.61 has them."""
        return ContainerImageConfig(
            execution_script, runtime, conda_file, docker_file, schema_file, dependencies, enable_gpu, tags,
            properties, description, base_image, base_image_registry, cuda_version=cuda_version,
        )  # fmt: skip
