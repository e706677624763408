"""`ComputeTarget`: the name of a place to deploy to, which is this machine."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from packager.azureml import records
from packager.azureml.arguments import entry, held
from packager.azureml.calling import raises, say, tell
from packager.azureml.exceptions import ComputeTargetException

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace

_KIND = "compute"


@held(ComputeTargetException)
class ComputeTarget:
    """A place that was created or attached by its name.

    Args:
        workspace: that it is of.
        name: of it.

    Raises:
        ComputeTargetException: there is none.
    """

    def __new__(cls, workspace: Workspace, name: str) -> Any:
        """Make the kind of target that there is."""
        from packager.azureml.core.compute.aks import AksCompute

        return object.__new__(AksCompute)

    def __init__(self, workspace: Workspace, name: str) -> None:
        data = records.read(workspace, _KIND, name)
        if data is None:
            raise ComputeTargetException(
                f"ComputeTargetNotFound: Compute Target with name {name} not found in provided workspace"
            )
        self.workspace, self.name, self.type = workspace, name, "AKS"
        self.location, self.provisioning_state, self.provisioning_errors = workspace.location, "Succeeded", None
        self.description, self.id = None, f"{workspace.name}/{name}"
        self.tags: dict[str, str] = {}
        self.cluster_resource_id = str(data.get("resource") or "")

    @staticmethod
    @raises(ComputeTargetException)
    def create(workspace: Workspace, name: str, provisioning_configuration: Any) -> Any:
        """Take a name for this machine; no cluster is made.

        Args:
            workspace: that it is of.
            name: of it.
            provisioning_configuration: what `AksCompute.provisioning_configuration` returned.
        """
        records.write(workspace, _KIND, name, {"resource": "", "how": "created"})
        tell(f"the compute target {name} is this machine: no cluster is made")
        return ComputeTarget(workspace, name)

    @staticmethod
    @raises(ComputeTargetException)
    def attach(workspace: Workspace, name: str, attach_configuration: Any) -> Any:
        """Take a name for this machine; no cluster is asked.

        Args:
            workspace: that it is of.
            name: of it.
            attach_configuration: what `AksCompute.attach_configuration` returned, or the id of a cluster.
        """
        resource = getattr(attach_configuration, "resource_id", None) or str(attach_configuration or "")
        records.write(workspace, _KIND, name, {"resource": resource, "how": "attached"})
        tell(f"the compute target {name} is this machine: no cluster is asked")
        return ComputeTarget(workspace, name)

    @staticmethod
    def list(workspace: Workspace) -> builtins.list[Any]:
        """Return the places of a workspace, by name."""
        return [ComputeTarget(workspace, name) for name in records.read_all(workspace, _KIND)]

    def wait_for_completion(self, show_output: bool = False, is_delete_operation: bool = False) -> None:
        """Say that it is there.

        Args:
            show_output: print it.
            is_delete_operation: it was deleted.
        """
        if show_output:
            say('Succeeded\nProvisioning operation finished, operation "Succeeded"')

    def get_status(self) -> str:
        """Return that it is there."""
        return self.provisioning_state

    def refresh_state(self) -> None:
        """Do nothing: it is there."""

    def delete(self) -> None:
        """Forget the name."""
        records.remove(self.workspace, _KIND, self.name)

    def detach(self) -> None:
        """Forget the name."""
        self.delete()

    def serialize(self) -> dict[str, Any]:
        """Return it as JSON's values."""
        return {
            "id": self.id, "name": self.name, "location": self.location,
            "properties": {"computeType": self.type, "provisioningState": self.provisioning_state},
        }  # fmt: skip

    @staticmethod
    def deserialize(workspace: Workspace, object_dict: Mapping[str, Any]) -> Any:
        """Return the place that `serialize` told of."""
        return ComputeTarget(workspace, entry(object_dict, "name"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(workspace={self.workspace!r}, name={self.name}, type={self.type})"
