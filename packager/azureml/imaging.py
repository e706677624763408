"""Images of the API that came before `Model.deploy`, made by packager's steps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from packager.azureml import records
from packager.azureml.packaging import build_image, declare
from packager.steps.declared import package_name

if TYPE_CHECKING:
    from packager.azureml.core.image.container import ContainerImageConfig
    from packager.azureml.core.workspace import Workspace


def create_image(
    workspace: Workspace, name: str, models: Sequence[Any], config: ContainerImageConfig
) -> dict[str, Any]:
    """Make the next version of an image, and return what is remembered of it.

    Raises:
        WebserviceException, PackagerError: it cannot be packaged.
    """
    numbers = [
        int(each["version"]) for each in records.read_all(workspace, "images").values() if each.get("image") == name
    ]
    version = max(numbers, default=0) + 1
    declared = declare(workspace, name, models, config._inference(), beside=config._beside())
    location = f"{package_name(name)}:{version}"
    build_image(workspace, declared, "packages", location)
    data = {
        "image": name, "version": version, "location": location, "tags": config.tags,
        "properties": config.properties, "description": config.description,
        "models": [each.registered or str(each.name) for each in declared.models],
        "created": datetime.now(UTC).isoformat(),
    }  # fmt: skip
    records.write(workspace, "images", f"{name}:{version}", data)
    return data
