"""`AksCompute`: a cluster by its name; it is this machine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from packager.azureml.arguments import held
from packager.azureml.calling import not_here
from packager.azureml.core.compute.compute import ComputeTarget
from packager.azureml.exceptions import ComputeTargetException

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace


@held(ComputeTargetException)
class AksCompute(ComputeTarget):
    """A cluster; see `ComputeTarget`."""

    class ClusterPurpose:
        """What it is for."""

        FAST_PROD = "FastProd"
        DENSE_PROD = "DenseProd"
        DEV_TEST = "DevTest"

    @staticmethod
    def provisioning_configuration(
        agent_count: int | None = None,
        vm_size: str | None = None,
        ssl_cname: str | None = None,
        ssl_cert_pem_file: str | None = None,
        ssl_key_pem_file: str | None = None,
        location: str | None = None,
        vnet_resourcegroup_name: str | None = None,
        vnet_name: str | None = None,
        subnet_name: str | None = None,
        service_cidr: str | None = None,
        dns_service_ip: str | None = None,
        docker_bridge_cidr: str | None = None,
        cluster_purpose: str | None = None,
        load_balancer_type: str | None = None,
        load_balancer_subnet: str | None = None,
    ) -> Any:
        """Return what would be asked of Azure; `ComputeTarget.create` asks nobody."""
        made = SimpleNamespace(**locals())
        made.enable_ssl = lambda **kwargs: None
        return made

    @staticmethod
    def attach_configuration(
        resource_group: str | None = None,
        cluster_name: str | None = None,
        resource_id: str | None = None,
        cluster_purpose: str | None = None,
        load_balancer_type: str | None = None,
        load_balancer_subnet: str | None = None,
    ) -> Any:
        """Return which cluster is meant; `ComputeTarget.attach` asks nobody."""
        made = SimpleNamespace(**locals())
        made.enable_ssl = lambda **kwargs: None
        return made

    @staticmethod
    def attach(workspace: Workspace, name: str, resource_id: str) -> Any:
        """Take a name for this machine; see `ComputeTarget.attach`."""
        return ComputeTarget.attach(workspace, name, resource_id)

    def get_credentials(self) -> Any:
        """Refuse: there is no cluster.

        Raises:
            AzureMLException: always.
        """
        not_here("the credentials of a cluster", "services of this machine need none: `packager service list`")

    def update(self, update_configuration: Any) -> None:
        """Do nothing: there is no cluster to be changed."""
