"""`AciWebservice`: a service of this machine, with what its configuration asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from packager.azureml.arguments import held
from packager.azureml.core.webservice.configurations import AciServiceDeploymentConfiguration
from packager.azureml.core.webservice.webservice import Webservice

if TYPE_CHECKING:
    from packager.azureml.core.image import Image

__all__ = ["AciServiceDeploymentConfiguration", "AciWebservice"]


@held(but=("run",))
class AciWebservice(Webservice):
    """A service that was written for Azure Container Instances; it runs on this machine."""

    _webservice_type: ClassVar[str | None] = "ACI"

    @staticmethod
    def deploy_configuration(
        cpu_cores: float | None = None,
        memory_gb: float | None = None,
        tags: dict[str, str] | None = None,
        properties: dict[str, str] | None = None,
        description: str | None = None,
        location: str | None = None,
        auth_enabled: bool | None = None,
        ssl_enabled: bool | None = None,
        enable_app_insights: bool | None = None,
        ssl_cert_pem_file: str | None = None,
        ssl_key_pem_file: str | None = None,
        ssl_cname: str | None = None,
        dns_name_label: str | None = None,
        primary_key: str | None = None,
        secondary_key: str | None = None,
        collect_model_data: bool | None = None,
        cmk_vault_base_url: str | None = None,
        cmk_key_name: str | None = None,
        cmk_key_version: str | None = None,
        vnet_name: str | None = None,
        subnet_name: str | None = None,
    ) -> AciServiceDeploymentConfiguration:
        """Return what is wanted of the place where it runs; parameters as azureml-core 1.61 has them."""
        return AciServiceDeploymentConfiguration(
            cpu_cores, memory_gb, tags, properties, description, location, auth_enabled, ssl_enabled,
            enable_app_insights, ssl_cert_pem_file, ssl_key_pem_file, ssl_cname, dns_name_label, primary_key,
            secondary_key, collect_model_data, cmk_vault_base_url, cmk_key_name, cmk_key_version, vnet_name,
            subnet_name,
        )  # fmt: skip

    def run(self, input_data: str | bytes) -> Any:
        """Post a request; see `Webservice.run`."""
        return super().run(input_data)

    def update(
        self,
        image: Image | None = None,
        tags: dict[str, str] | None = None,
        properties: dict[str, str] | None = None,
        description: str | None = None,
        auth_enabled: bool | None = None,
        ssl_enabled: bool | None = None,
        ssl_cert_pem_file: str | None = None,
        ssl_key_pem_file: str | None = None,
        ssl_cname: str | None = None,
        enable_app_insights: bool | None = None,
        models: Sequence[Any] | None = None,
        inference_config: Any = None,
    ) -> None:
        """Replace what it runs, or what is said of it, without losing a request.

        Parameters as azureml-core 1.61 has them; TLS and App Insights are passed over.

        Raises:
            WebserviceException: it is deleted, or the new one does not become healthy: the old one serves on.
        """
        self._update(
            models, inference_config, image, auth=auth_enabled, tags=tags, properties=properties,
            description=description,
        )  # fmt: skip
