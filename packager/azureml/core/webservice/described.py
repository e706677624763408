"""What is said of a service: tags, properties, and all of it as JSON's values."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from packager.azureml.arguments import held
from packager.azureml.calling import raised_as, say
from packager.azureml.core.webservice.requirements import ContainerResourceRequirements
from packager.azureml.deploying import keep
from packager.azureml.exceptions import WebserviceException
from packager.azureml.finding_models import wanted_tags
from packager.steps.v1_records import Record

if TYPE_CHECKING:
    from packager.azureml.core.model import Model
    from packager.azureml.core.workspace import Workspace


@held()
class Described:
    """A service as far as it is described.

    Attributes:
        workspace: that it is of.
        name: of it.
        tags: to find it by.
        properties: that never change.
        description: for people.
        state: in v1's words.
        error: why it does not run; None where it does.
        compute_type: as v1 calls where it runs.
        created_time: when it was deployed.
        updated_time: when it was last changed.
    """

    workspace: Workspace
    name: str
    tags: dict[str, str]
    properties: dict[str, str]
    description: str | None
    state: str
    error: Any
    compute_type: str
    created_time: datetime
    updated_time: datetime
    created_by: dict[str, str]
    image_id: str
    image_digest: str | None
    auth_enabled: bool
    cpu_cores: float | None
    memory_gb: float | None
    _record: Record

    @property
    def models(self) -> builtins.list[Model]:
        """The registered models that it serves."""
        from packager.azureml.core.model import Model

        return [Model(self.workspace, id=each) for each in self._record.models if ":" in each]

    @property
    def scoring_uri(self) -> str | None:
        """Where requests are posted."""
        raise NotImplementedError

    def _take(self, record: Record) -> None:
        raise NotImplementedError

    def _keep(self, record: Record) -> None:
        keep(self.workspace, record)

    @property
    def container_resource_requirements(self) -> ContainerResourceRequirements:
        """What its container may use."""
        cpus, memory = self._record.wanted.cpus, self._record.wanted.memory_gb
        return ContainerResourceRequirements(
            cpu=cpus, memory_in_gb=memory, cpu_limit=cpus, memory_in_gb_limit=memory,
            gpu=self._record.wanted.asked.get("gpu_cores"),
        )  # fmt: skip

    def add_tags(self, tags: Mapping[str, str]) -> None:
        """Add tags, or replace their values."""
        self._say(tags={**self.tags, **{name: str(value) for name, value in tags.items()}})
        say("Webservice tag add operation complete.")

    def remove_tags(self, tags: Sequence[str]) -> None:
        """Remove tags by their names."""
        gone = [tags] if isinstance(tags, str) else tags
        self._say(tags={name: value for name, value in self.tags.items() if name not in gone})
        say("Webservice tag remove operation complete.")

    def add_properties(self, properties: Mapping[str, str]) -> None:
        """Add properties.

        Raises:
            WebserviceException: one is there, with another value.
        """
        if any(self.properties.get(name, value) != value for name, value in properties.items()):
            raise WebserviceException("a property that is there cannot change")
        self._say(properties={**self.properties, **properties})
        say("Webservice add properties operation complete.")

    def _say(self, **fields: Any) -> None:
        with raised_as():
            record = msgspec.structs.replace(self._record, **fields)
            self._keep(record)
        self._take(record)

    def serialize(self) -> dict[str, Any]:
        """Return it as JSON's values."""
        return {
            "name": self.name, "description": self.description, "tags": self.tags, "properties": self.properties,
            "state": self.state, "createdTime": self.created_time.isoformat(),
            "updatedTime": self.updated_time.isoformat(), "error": self.error, "computeType": self.compute_type,
            "workspaceName": self.workspace.name, "imageId": self.image_id, "imageDigest": self.image_digest,
            "imageDetails": None, "scoringUri": self.scoring_uri, "createdBy": self.created_by,
            "authEnabled": self.auth_enabled, "modelDetails": [each.serialize() for each in self.models],
            "containerResourceRequirements": {"cpu": self.cpu_cores, "memoryInGB": self.memory_gb},
        }  # fmt: skip


def has(there: Mapping[str, str], wanted: Sequence[Any] | None) -> bool:
    """Whether tags have what is asked for: `['area', ['type', 'regression']]`; one text is one tag."""
    return all(key in there and value in ([], [there[key]]) for key, *value in wanted_tags(wanted))
