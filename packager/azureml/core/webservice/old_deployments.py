"""The three ways to deploy that came before `Model.deploy`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packager.azureml.arguments import held
from packager.azureml.calling import raises
from packager.azureml.deploying import deploy as deploy_models
from packager.azureml.deploying import deploy_image

if TYPE_CHECKING:
    from packager.azureml.core.image import Image
    from packager.azureml.core.image.container import ContainerImageConfig
    from packager.azureml.core.webservice.webservice import Webservice
    from packager.azureml.core.workspace import Workspace


@held()
class OldDeployments:
    """What `Webservice` has of the old image API."""

    @staticmethod
    def deploy(
        workspace: Workspace,
        name: str,
        model_paths: Sequence[str],
        image_config: ContainerImageConfig,
        deployment_config: Any = None,
        deployment_target: Any = None,
        overwrite: bool = False,
    ) -> Webservice:
        """Register files as models of their own names, and deploy them; the old image API."""
        from packager.azureml.core.model import Model

        models = [Model.register(workspace, path, Path(path).name[:30]) for path in model_paths]
        return OldDeployments.deploy_from_model(
            workspace, name, models, image_config, deployment_config, deployment_target, overwrite
        )

    @staticmethod
    @raises(waits=True)
    def deploy_from_model(
        workspace: Workspace,
        name: str,
        models: Sequence[Any],
        image_config: ContainerImageConfig,
        deployment_config: Any = None,
        deployment_target: Any = None,
        overwrite: bool = False,
    ) -> Webservice:
        """Make an image of models, and deploy it; the old image API."""
        return deploy_models(
            workspace, name, models, image_config._inference(), deployment_config, deployment_target,
            overwrite=overwrite, beside=image_config._beside(),
        )  # fmt: skip

    @staticmethod
    @raises(waits=True)
    def deploy_from_image(
        workspace: Workspace,
        name: str,
        image: Image,
        deployment_config: Any = None,
        deployment_target: Any = None,
        overwrite: bool = False,
    ) -> Webservice:
        """Deploy an image that `ContainerImage.create` made; the old image API."""
        return deploy_image(
            workspace, name, image.image_location, deployment_config, deployment_target, overwrite=overwrite,
            ids=[each.id for each in image.models],
        )  # fmt: skip

    @staticmethod
    def deploy_local_from_model(
        workspace: Workspace,
        name: str,
        models: Sequence[Any],
        image_config: ContainerImageConfig,
        deployment_config: Any = None,
        wait: bool = False,
    ) -> Webservice:
        """Make an image of models, and deploy it as a local service; the old image API."""
        from packager.azureml.core.webservice.local import LocalWebservice

        config = deployment_config or LocalWebservice.deploy_configuration()
        return OldDeployments.deploy_from_model(workspace, name, models, image_config, config)
