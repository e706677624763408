"""`ModelPackage`: what `Model.package` made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from packager.azureml.calling import LINES, raises, say
from packager.azureml.core.container_registry import ContainerRegistry
from packager.azureml.exceptions import WebserviceException

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace
    from packager.spec.load import SpecFile


class ModelPackage:
    """An image, or what `docker build` makes one of.

    Attributes:
        state: `Succeeded`: it is there when this object is.
        location: reference of the image; the package's folder where there is none.
        generate_dockerfile: it is what `docker build` makes an image of.
        package_build_log_uri: None: standard error had the log.

    Raises:
        WebserviceException: it is made by itself: `Model.package` makes it.
    """

    workspace: Workspace
    environment: Any
    package_build_log_uri: str | None
    state: str
    location: str
    generate_dockerfile: bool
    _spec_file: SpecFile

    def __init__(self, workspace: Workspace, operation_id: str, environment: Any) -> None:
        raise WebserviceException("Model.package makes a ModelPackage")

    @classmethod
    def _made(cls, workspace: Workspace, spec_file: SpecFile, location: str, generate_dockerfile: bool) -> ModelPackage:
        made = cls.__new__(cls)
        made.workspace, made.environment, made.package_build_log_uri = workspace, None, None
        made.state, made.location, made.generate_dockerfile = "Succeeded", location, generate_dockerfile
        made._spec_file = spec_file
        return made

    def update_creation_state(self) -> None:
        """Do nothing: it is there."""

    def wait_for_creation(self, show_output: bool = False) -> None:
        """Say that it is there.

        Args:
            show_output: print it.
        """
        if show_output:
            say(f"Package creation {self.state}")

    @raises()
    def pull(self) -> None:
        """Have the image in the engine, and print its name.

        Raises:
            WebserviceException: there is no image.
        """
        if self.generate_dockerfile:
            raise WebserviceException("this package is a Dockerfile and its files, and no image: save() writes them")
        say(f"Status: Downloaded newer image for {self.location}")

    @raises()
    def save(self, output_directory: str) -> None:
        """Write the Dockerfile and all that it needs into a folder.

        Args:
            output_directory: the folder; one that is there must be empty, or have been written so.

        Raises:
            WebserviceException: it has something else in it.
        """
        from packager.steps.save import save_targets

        for _ in save_targets(self._spec_file, output=Path(output_directory), force=True, reporter=LINES):
            pass

    def get_container_registry(self) -> ContainerRegistry:
        """Return where the image and its base are, without a password: `docker login` keeps it."""
        made, location = ContainerRegistry(), self.workspace._facade.location
        made.address = location.removeprefix("oci://").partition("/")[0] if location.startswith("oci://") else ""
        made.username, made.password = "", ""
        return made

    def get_logs(self, decode: bool = True, offset: int = 0) -> str | bytes:
        """Return what there is to say: standard error had the log.

        Args:
            decode: as text.
            offset: of the first character.
        """
        text = f"packaged {self._spec_file.spec.name} as {self.location}\n"[offset:]
        return text if decode else text.encode()

    def serialize(self) -> dict[str, Any]:
        """Return it as JSON's values."""
        return {"generateDockerfile": self.generate_dockerfile, "state": self.state, "location": self.location}
