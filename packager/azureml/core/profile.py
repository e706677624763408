"""`ModelProfile`: what was measured of models in an image of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packager.azureml import records
from packager.azureml.arguments import held
from packager.azureml.calling import say
from packager.azureml.exceptions import WebserviceException

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace


@held()
class ModelProfile:
    """A measurement that `Model.profile` made.

    Args:
        workspace: that it is of.
        name: of it.

    Attributes:
        state: `Succeeded` or `Failed`.
        error: why it failed; None where it did not.
        recommended_cpu: the smallest limit of processors that is as fast, within a tenth.
        recommended_memory_in_gb: the smallest limit of memory that is enough.

    Raises:
        WebserviceException: there is none.
    """

    def __init__(self, workspace: Workspace, name: str) -> None:
        data = records.read(workspace, "profiles", name)
        if data is None:
            raise WebserviceException(
                f"ModelTestResultNotFound: ModelTestResult with name {name} not found in workspace"
            )
        self.workspace, self.name, self._data = workspace, name, data
        self.state, self.error, self.description = data["state"], data.get("error"), data.get("description")
        self.created_time = data["createdTime"]
        self.recommended_cpu = data.get("recommendedCpu")
        self.recommended_memory_in_gb = data.get("recommendedMemoryInGB")

    def wait_for_completion(self, show_output: bool = False) -> None:
        """Say how it ended: it has, when this object is there.

        Args:
            show_output: print it.
        """
        if show_output:
            say(f'Running\n{self.state}\nModel Profile operation with name "{self.name}" finished, "{self.state}"')

    def wait_for_profiling(self, show_output: bool = False) -> None:
        """Say how it ended, as it was called once."""
        self.wait_for_completion(show_output)

    def get_details(self) -> dict[str, Any]:
        """Return all that was measured, by the names that v1 has."""
        return {name: value for name, value in self._data.items() if value is not None}

    def get_results(self) -> dict[str, Any]:
        """Return the advice, as it was asked for once.

        Raises:
            WebserviceException: it failed.
        """
        if self.state != "Succeeded":
            raise WebserviceException(f"the profile {self.name} failed: {self.error}")
        return {"cpu": self.recommended_cpu, "memoryInGB": self.recommended_memory_in_gb}

    def serialize(self) -> dict[str, Any]:
        """Return it as JSON's values."""
        return dict(self._data)
