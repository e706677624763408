"""`Model`: a registered model; `InferenceConfig` and `ModelPackage` beside it."""

from __future__ import annotations

import builtins
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packager.azureml.arguments import entry, held
from packager.azureml.calling import raises, say
from packager.azureml.core.inference_config import InferenceConfig
from packager.azureml.core.model_package import ModelPackage
from packager.azureml.core.resource_configuration import ResourceConfiguration
from packager.azureml.exceptions import WebserviceException
from packager.azureml.finding_models import filters, find_version, texts
from packager.azureml.model_paths import model_path
from packager.azureml.removing import delete_model

if TYPE_CHECKING:
    from packager.azureml.core.profile import ModelProfile
    from packager.azureml.core.webservice import Webservice
    from packager.azureml.core.workspace import Workspace
    from packager.workspace.values import Version

__all__ = ["InferenceConfig", "Model", "ModelPackage"]


@held()
class Model:
    """A version of a registered model.

    Args:
        workspace: that has it.
        name: of it; the latest version where `version` is None.
        id: `name:version`, in place of the name.
        tags: it has: keys, or `[key, value]`.
        properties: the same.
        version: its number.
        run_id: of the run that made it.
        model_framework: it is of.

    Raises:
        WebserviceException: there is none, or it is not said which.
    """

    class Framework:
        """Names of frameworks."""

        CUSTOM = "Custom"
        TENSORFLOW = "TensorFlow"
        SCIKITLEARN = "ScikitLearn"
        ONNX = "Onnx"
        TFKERAS = "TfKeras"
        PYTORCH = "PyTorch"
        MULTI = "Multi"

    def __init__(
        self,
        workspace: Workspace,
        name: str | None = None,
        id: str | None = None,
        tags: Sequence[Any] | None = None,
        properties: Sequence[Any] | None = None,
        version: int | None = None,
        run_id: str | None = None,
        model_framework: str | None = None,
        expand: bool = True,
        **kwargs: Any,
    ) -> None:
        if id is None and name is None and not (tags or properties or run_id):
            raise WebserviceException("Error, one of id or name must be provided.")
        found = find_version(workspace, name, id, tags, properties, version, run_id, model_framework)
        self._fill(workspace, found)

    def _fill(self, workspace: Workspace, version: Version) -> None:
        self.workspace, self._version = workspace, version
        self.name, self.version, self.id = version.name, version.version, version.id
        self.tags, self.properties = dict(version.tags), dict(version.properties)
        self.description = version.description or None
        self.model_framework, self.model_framework_version = version.framework, version.framework_version
        self.created_time = datetime.fromisoformat(version.created)
        self.created_by: dict[str, str] = {}
        self.run_id, self.experiment_name, self.run = version.run_id, None, None
        self.url = f"{workspace._facade.location.rstrip('/')}/models/{version.name}/{version.version}"
        self.mime_type, self.unpack = "application/x-python", True
        self.datasets: dict[str, builtins.list[Any]] = {}
        self.sample_input_dataset: Any = None
        self.sample_output_dataset: Any = None
        own = version.resources
        self.resource_configuration = (
            ResourceConfiguration(cpu=own.cpu, memory_in_gb=own.memory_gb, gpu=own.gpu) if own else None
        )

    @classmethod
    def _of(cls, workspace: Workspace, version: Version) -> Model:
        made = cls.__new__(cls)
        made._fill(workspace, version)
        return made

    @staticmethod
    def register(
        workspace: Workspace,
        model_path: str,
        model_name: str,
        tags: dict[str, str] | None = None,
        properties: dict[str, str] | None = None,
        description: str | None = None,
        datasets: Sequence[Any] | None = None,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        child_paths: Sequence[str] | None = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: ResourceConfiguration | None = None,
    ) -> Model:
        """Register the next version of a model, and return it. Parameters as of azureml-core 1.61.

        Raises:
            WebserviceException: there is no such file; a framework's version without the framework; name or tags are
                none.
        """
        return Model._register(
            workspace, model_path, model_name, tags, properties, description, datasets, model_framework,
            model_framework_version, child_paths, sample_input_dataset, sample_output_dataset, resource_configuration,
        )  # fmt: skip

    @staticmethod
    @raises()
    def _register(
        workspace: Workspace,
        model_path: str,
        model_name: str,
        tags: dict[str, str] | None,
        properties: dict[str, str] | None,
        description: str | None,
        datasets: Sequence[Any] | None,
        model_framework: str | None,
        model_framework_version: str | None,
        child_paths: Sequence[str] | None,
        sample_input_dataset: Any,
        sample_output_dataset: Any,
        resource_configuration: ResourceConfiguration | None,
        run_id: str | None = None,
    ) -> Model:
        from packager.azureml.registering import register_model

        if model_framework_version and not model_framework:
            raise WebserviceException("Model framework version cannot be provided without a valid framework")
        if "://" not in str(model_path) and not os.path.exists(model_path):
            raise WebserviceException(f'Error, provided model path "{model_path}" cannot be found')
        say(f"Registering model {model_name}")
        version = register_model(
            workspace, str(model_path), model_name,
            tags=texts(tags), properties=texts(properties), description=description or "",
            framework=model_framework, framework_version=model_framework_version,
            children=tuple(child_paths or ()), samples=sample_input_dataset, resources=resource_configuration,
            run_id=run_id,
        )  # fmt: skip
        made = Model._of(workspace, version)
        made.sample_input_dataset, made.sample_output_dataset = sample_input_dataset, sample_output_dataset
        made.add_dataset_references(datasets or ())
        return made

    @staticmethod
    @raises()
    def list(
        workspace: Workspace,
        name: str | None = None,
        tags: Sequence[Any] | None = None,
        properties: Sequence[Any] | None = None,
        run_id: str | None = None,
        latest: bool = False,
        dataset_id: str | None = None,
        expand: bool = True,
        page_count: int = 255,
        model_framework: str | None = None,
    ) -> builtins.list[Model]:
        """Return the models that have all that is asked for, the newest versions of a name first."""
        found = workspace._facade.models.list(
            name, tags=filters(tags), properties=filters(properties), framework=model_framework, run_id=run_id,
            latest=latest,
        )  # fmt: skip
        return [Model._of(workspace, each) for each in sorted(found, key=lambda each: (each.name, -each.version))]

    @raises()
    def download(self, target_dir: str = ".", exist_ok: bool = False, exists_ok: bool | None = None) -> str:
        """Copy its file or folder into a folder, and return the path there.

        Args:
            target_dir: the folder.
            exist_ok: replace what has the same name there.
            exists_ok: the same, as it was called once.

        Raises:
            WebserviceException: something of the name is there.
        """
        overwrite = exist_ok if exists_ok is None else exists_ok
        top = Path(target_dir, self._version.top)
        if self._version.top and os.path.lexists(top) and not overwrite:
            raise WebserviceException(f"File already exists. To overwrite, set exist_ok to True. {top}")
        return str(self.workspace._facade.models.download(self.id, target_dir, overwrite=overwrite))

    @raises()
    def delete(self) -> None:
        """Remove this version; its number is not given again.

        Raises:
            WebserviceException: a service, an image of the old API, or what packager's verbs made needs it.
        """
        delete_model(self.workspace, self.id)

    @raises()
    def update(
        self,
        tags: dict[str, str] | None = None,
        description: str | None = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: ResourceConfiguration | None = None,
    ) -> None:
        """Replace the tags, the description, or the samples that this object names.

        Raises:
            WebserviceException: it is deleted; other resources are asked for: they are of the registered version.
        """
        if resource_configuration is not None:
            raise WebserviceException("the resources of a registered version stay: register it again with others")
        removed = [name for name in self.tags if tags is not None and name not in tags]
        self._changed(add_tags=texts(tags), remove_tags=removed, description=description)
        self.sample_input_dataset = sample_input_dataset or self.sample_input_dataset
        self.sample_output_dataset = sample_output_dataset or self.sample_output_dataset

    @raises()
    def add_tags(self, tags: dict[str, str]) -> None:
        """Add tags, or replace their values."""
        self._changed(add_tags=texts(tags))
        say("Model tag add operation complete.")

    @raises()
    def remove_tags(self, tags: Sequence[str]) -> None:
        """Remove tags by their names."""
        self._changed(remove_tags=[tags] if isinstance(tags, str) else tags)
        say("Model tag remove operation complete.")

    @raises()
    def add_properties(self, properties: dict[str, str]) -> None:
        """Add properties.

        Raises:
            WebserviceException: one is there, with another value.
        """
        self._changed(add_properties=texts(properties))
        say("Model properties add operation complete.")

    @raises()
    def update_tags_properties(
        self,
        add_tags: dict[str, str] | None = None,
        remove_tags: Sequence[str] | None = None,
        add_properties: dict[str, str] | None = None,
    ) -> None:
        """Change tags and properties at once."""
        self._changed(add_tags=texts(add_tags), remove_tags=remove_tags or (), add_properties=texts(add_properties))

    def add_dataset_references(self, datasets: Sequence[Any]) -> None:
        """Keep `(purpose, dataset)` with this object."""
        if not all(isinstance(each, tuple | list) and len(each) == 2 for each in datasets):
            raise WebserviceException('datasets are pairs of a purpose and a dataset: [("training", dataset)]')
        for purpose, dataset in datasets:
            self.datasets.setdefault(purpose, []).append(dataset)

    def _changed(self, **changes: Any) -> None:
        version = self.workspace._facade.models.update(self.id, **changes)
        self._version = version
        self.tags, self.properties = dict(version.tags), dict(version.properties)
        self.description = version.description or None

    def serialize(self) -> dict[str, Any]:
        """Return it as JSON's values."""
        resources = self.resource_configuration
        return {
            "createdTime": self.created_time.isoformat(), "createdBy": self.created_by,
            "description": self.description, "id": self.id, "mimeType": self.mime_type, "name": self.name,
            "framework": self.model_framework, "frameworkVersion": self.model_framework_version,
            "tags": self.tags, "properties": self.properties, "unpack": self.unpack, "url": self.url,
            "version": self.version, "experimentName": self.experiment_name, "runId": self.run_id,
            "runDetails": str(self.run), "datasets": [],
            "resourceConfiguration": resources.serialize() if resources else None,
            "sampleInputDatasetId": getattr(self.sample_input_dataset, "id", None),
            "sampleOutputDatasetId": getattr(self.sample_output_dataset, "id", None),
        }  # fmt: skip

    @staticmethod
    def deserialize(workspace: Workspace, model_payload: Mapping[str, Any]) -> Model:
        """Return the model that `serialize` told of."""
        return Model(workspace, id=entry(model_payload, "id"))

    def get_sas_urls(self) -> dict[str, str]:
        """Refuse: its files have no address for others.

        Raises:
            WebserviceException: always.
        """
        raise WebserviceException("files of a model have no URL here: download() copies them")

    @staticmethod
    def get_model_path(model_name: str, version: int | None = None, _workspace: Workspace | None = None) -> str:
        """Return the path of a model's file or folder: below `azureml-models`, here, or fetched from a workspace.

        Raises:
            ModelNotFoundException: it is nowhere.
            WebserviceException: the version is no number.
        """
        if version is not None and not isinstance(version, int):
            raise WebserviceException("version should be an int")
        if model_name is None:
            raise WebserviceException("model_name is None")
        return model_path(model_name, version, _workspace)

    @staticmethod
    def print_configuration(
        models: Sequence[Any], inference_config: Any, deployment_config: Any, deployment_target: Any
    ) -> None:
        """Print what is to be deployed."""
        say(f"Models: {[getattr(each, 'id', each) for each in models]}")
        if deployment_target is not None:
            say(f"Compute target: {getattr(deployment_target, 'name', deployment_target)}")
        if inference_config is not None:
            say(f"Entry script: {getattr(inference_config, 'entry_script', inference_config)}")

    @staticmethod
    @raises(waits=True)
    def deploy(
        workspace: Workspace,
        name: str,
        models: Sequence[Any],
        inference_config: InferenceConfig | None = None,
        deployment_config: Any = None,
        deployment_target: Any = None,
        overwrite: bool = False,
        show_output: bool = False,
    ) -> Webservice:
        """Package models and start them as a service of this machine; parameters as of azureml-core 1.61.

        What cannot be packaged raises here; what does not become healthy, in `wait_for_deployment`.

        Raises:
            WebserviceException: there is a service of the name, or it cannot be packaged.
        """
        from packager.azureml.deploying import deploy

        if show_output:
            Model.print_configuration(models, inference_config, deployment_config, deployment_target)
        return deploy(
            workspace, name, models, inference_config, deployment_config, deployment_target, overwrite=overwrite
        )

    @staticmethod
    @raises()
    def package(
        workspace: Workspace,
        models: Sequence[Any],
        inference_config: InferenceConfig | None = None,
        generate_dockerfile: bool = False,
        image_name: str | None = None,
        image_label: str | None = None,
    ) -> ModelPackage:
        """Package models as an image, or as what `docker build` makes one of; see `deploy`."""
        from packager.azureml.packaging import make_package

        return make_package(workspace, models, inference_config, generate_dockerfile, image_name, image_label)

    @staticmethod
    @raises(waits=True)
    def profile(
        workspace: Workspace,
        profile_name: str,
        models: Sequence[Any],
        inference_config: InferenceConfig,
        input_dataset: Any,
        cpu: float | None = None,
        memory_in_gb: float | None = None,
        description: str | None = None,
    ) -> ModelProfile:
        """Measure models in an image, under limits and then under smaller ones; parameters as of azureml-core 1.61.

        Raises:
            UserErrorException: there is no request.
            WebserviceException: it cannot be packaged.
        """
        from packager.azureml.core.profile import ModelProfile
        from packager.azureml.profiling import profile_models

        profile_models(workspace, profile_name, models, inference_config, input_dataset, cpu, memory_in_gb, description)
        return ModelProfile(workspace, profile_name)

    def __repr__(self) -> str:
        return (
            f"Model(workspace={self.workspace!r}, name={self.name}, id={self.id}, version={self.version}, "
            f"tags={self.tags}, properties={self.properties})"
        )
