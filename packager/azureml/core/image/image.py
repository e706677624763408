"""`Image`: an image of the engine that the old API made of models."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, Self

from packager.azureml import records
from packager.azureml.arguments import entry, held
from packager.azureml.calling import raises, say
from packager.azureml.exceptions import WebserviceException

if TYPE_CHECKING:
    from packager.azureml.core.image.container import ContainerImage, ContainerImageConfig
    from packager.azureml.core.model import Model
    from packager.azureml.core.workspace import Workspace

_KIND = "images"


@held()
class Image:
    """An image that was made.

    Args:
        workspace: that it is of.
        name: of it; the latest version where `version` is None.
        id: `name:version`, in place of the name.
        tags: it has.
        properties: it has.
        version: its number.

    Raises:
        WebserviceException: there is none.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make the kind of image that there is."""
        from packager.azureml.core.image.container import ContainerImage

        return object.__new__(ContainerImage if cls is Image else cls)

    def __init__(
        self,
        workspace: Workspace,
        name: str | None = None,
        id: str | None = None,
        tags: Sequence[Any] | None = None,
        properties: Sequence[Any] | None = None,
        version: int | None = None,
    ) -> None:
        found = _select(workspace, name, id, tags, properties, version)
        if not found:
            raise WebserviceException(f"ImageNotFound: Image with {id or name or 'these tags'} not found in workspace")
        self._fill(workspace, max(found, key=lambda each: int(each["version"])))

    def _fill(self, workspace: Workspace, data: Mapping[str, Any]) -> None:
        self.workspace, self._data = workspace, dict(data)
        self.name, self.version = str(data["image"]), int(data["version"])
        self.id, self.image_location = f"{self.name}:{self.version}", str(data["location"])
        self.tags, self.properties = dict(data.get("tags") or {}), dict(data.get("properties") or {})
        self.description, self.model_ids = data.get("description"), list(data.get("models") or ())
        self.creation_state, self.image_type, self.image_flavor = "Succeeded", "Docker", "WebApiContainer"
        self.image_build_log_uri, self.generated_dockerfile_uri = None, None
        self.created_time = datetime.fromisoformat(str(data["created"]))

    @classmethod
    def _of(cls, workspace: Workspace, data: Mapping[str, Any]) -> Any:
        from packager.azureml.core.image.container import ContainerImage

        made: Self = object.__new__(ContainerImage)  # type: ignore[assignment]
        made._fill(workspace, data)
        return made

    @property
    def models(self) -> builtins.list[Model]:
        """The registered models in it."""
        from packager.azureml.core.model import Model

        return [Model(self.workspace, id=each) for each in self.model_ids if ":" in each]

    @staticmethod
    @raises()
    def create(
        workspace: Workspace, name: str, models: Sequence[Any], image_config: ContainerImageConfig
    ) -> ContainerImage:
        """Make an image of models, and return it when it is there.

        Args:
            workspace: that has the models.
            name: of the image.
            models: objects, `name:version`, or paths of files.
            image_config: what `ContainerImage.image_configuration` returned.

        Raises:
            WebserviceException: it cannot be made.
        """
        from packager.azureml.core.image.container import ContainerImage
        from packager.azureml.imaging import create_image

        say("Creating image")
        made: ContainerImage = ContainerImage._of(workspace, create_image(workspace, name, models, image_config))
        return made

    @staticmethod
    def image_configuration() -> Any:
        """Refuse: `ContainerImage` has it.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("an image has no configuration of its own kind: ContainerImage.image_configuration()")

    @staticmethod
    def list(
        workspace: Workspace,
        image_name: str | None = None,
        model_name: str | None = None,
        model_id: str | None = None,
        tags: Sequence[Any] | None = None,
        properties: Sequence[Any] | None = None,
    ) -> builtins.list[Image]:
        """Return the images that have all that is asked for, the oldest first."""
        found = _select(workspace, image_name, None, tags, properties, None)
        return [
            Image._of(workspace, each)
            for each in sorted(found, key=lambda each: str(each["created"]))
            if model_name is None or model_name in [one.partition(":")[0] for one in each.get("models") or ()]
            if model_id is None or model_id in (each.get("models") or ())
        ]

    def update_creation_state(self) -> None:
        """Do nothing: it is there."""

    def wait_for_creation(self, show_output: bool = False) -> None:
        """Say that it is there.

        Args:
            show_output: print the states.
        """
        if show_output:
            say("Running\nSucceeded")
        say(f'Image creation operation finished for image {self.id}, operation "Succeeded"')

    @raises()
    def delete(self) -> None:
        """Forget it; the engine keeps it until `docker image rm`."""
        records.remove(self.workspace, _KIND, self.id)

    def update(self, tags: dict[str, str]) -> None:
        """Replace its tags."""
        self._said(tags=tags)

    def add_tags(self, tags: dict[str, str]) -> None:
        """Add tags, or replace their values."""
        self._said(tags={**self.tags, **tags})
        say("Image tag add operation complete.")

    def remove_tags(self, tags: Sequence[str]) -> None:
        """Remove tags by their names."""
        self._said(tags={name: value for name, value in self.tags.items() if name not in tags})
        say("Image tag remove operation complete.")

    def add_properties(self, properties: dict[str, str]) -> None:
        """Add properties."""
        self._said(properties={**properties, **self.properties})
        say("Image properties add operation complete.")

    @raises()
    def _said(self, **fields: Any) -> None:
        self._data.update(fields)
        records.write(self.workspace, _KIND, self.id, self._data)
        self._fill(self.workspace, self._data)

    def serialize(self) -> dict[str, Any]:
        """Return it as JSON's values."""
        return {
            "name": self.name, "id": self.id, "version": self.version, "tags": self.tags,
            "properties": self.properties, "description": self.description, "imageLocation": self.image_location,
            "creationState": self.creation_state, "modelIds": self.model_ids,
            "createdTime": self.created_time.isoformat(), "imageType": self.image_type,
        }  # fmt: skip

    @classmethod
    def deserialize(cls, workspace: Workspace, image_payload: Mapping[str, Any]) -> Image:
        """Return the image that `serialize` told of."""
        return Image(workspace, id=entry(image_payload, "id"))

    def run(self, input_data: str | bytes) -> NoReturn:
        """Refuse: an image is asked when it is deployed.

        Raises:
            WebserviceException: always.
        """
        raise WebserviceException("deploy the image to ask it: Webservice.deploy_from_image")


def _select(
    workspace: Workspace,
    name: str | None,
    id: str | None,
    tags: Sequence[Any] | None,
    properties: Sequence[Any] | None,
    version: int | None,
) -> builtins.list[dict[str, Any]]:
    from packager.azureml.core.webservice.described import has

    return [
        each
        for each in records.read_all(workspace, _KIND).values()
        if {"image", "version", "location", "created"} <= each.keys()
        if name in (None, each["image"])
        if id in (None, f"{each['image']}:{each['version']}")
        if version in (None, each["version"])
        if has(each.get("tags") or {}, tags) and has(each.get("properties") or {}, properties)
    ]
