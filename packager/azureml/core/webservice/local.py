"""`LocalWebservice`: a service of this machine that is called one."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn
from urllib.parse import urlsplit

from packager.azureml.arguments import held
from packager.azureml.calling import raises, say
from packager.azureml.core.webservice.configurations import LocalWebserviceDeploymentConfiguration
from packager.azureml.core.webservice.webservice import Webservice
from packager.azureml.deploying import find, find_all
from packager.azureml.exceptions import WebserviceException
from packager.azureml.updating import reload
from packager.steps.v1_records import Record

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace

__all__ = ["LocalWebservice", "LocalWebserviceDeploymentConfiguration"]


@held(but=("run",))
class LocalWebservice(Webservice):
    """A service of this machine.

    Args:
        workspace: that it is of.
        name: of it.
        must_exist: False gives an object of one that is not there, in the state `unknown`.

    Raises:
        WebserviceException: there is none.
    """

    STATE_DEPLOYING = "deploying"
    STATE_DELETED = "deleted"
    STATE_FAILED = "failed"
    STATE_RUNNING = "running"
    STATE_UNKNOWN = "unknown"
    NETWORK_NAME = "azureml-local"
    _webservice_type: ClassVar[str | None] = "Local"
    _STATES: ClassVar[dict[str, str]] = {"Healthy": STATE_RUNNING, "Transitioning": STATE_DEPLOYING}

    def __init__(self, workspace: Workspace, name: str, must_exist: bool = True) -> None:
        if not must_exist and find(workspace, name) is None:
            self.workspace, self._status = workspace, None
            self.name = name
            self._take(Record(name=name, compute="Local", created=_NEVER, updated=_NEVER, reference=""))
            self.state, self.error = self.STATE_UNKNOWN, None
            return
        super().__init__(workspace, name)

    @staticmethod
    def deploy_configuration(port: int | None = None) -> LocalWebserviceDeploymentConfiguration:
        """Return what is wanted of this machine; see `LocalWebserviceDeploymentConfiguration`."""
        return LocalWebserviceDeploymentConfiguration(port)

    @property
    def port(self) -> int | None:
        """That it has on this machine; None where it does not run."""
        return urlsplit(self._status.url).port if self._status is not None and self._status.url else None

    def _state(self, *, gone: bool) -> str:
        if gone:
            return self.STATE_DELETED
        if self._status is None or self._record.error:
            return self.STATE_FAILED  # what it ran before may serve on
        return self._STATES.get(self._status.state, self.STATE_FAILED)

    def update_deployment_state(self, must_exist: bool = False) -> None:
        """Look how it is.

        Args:
            must_exist: it is an error where it is not there.

        Raises:
            WebserviceException: it is not there.
        """
        super().update_deployment_state()
        if must_exist and self.state == self.STATE_DELETED:
            raise WebserviceException(f"WebserviceNotFound: there is no local service {self.name}")

    @raises(waits=True)
    def wait_for_deployment(self, show_output: bool = False) -> None:
        """Say where it is; it has started, or failed, when this object is there.

        Args:
            show_output: is not needed.

        Raises:
            WebserviceException: it failed; with the last lines of its log.
        """
        self.update_deployment_state()
        if self.state not in (self.STATE_RUNNING, self.STATE_DEPLOYING):
            raise WebserviceException(f"the local service {self.name} is {self.state}: {self.error}")
        address = (self.scoring_uri or "").removesuffix("/score")
        say(f"Local webservice is {self.state} at {address}")

    def run(self, input_data: str | bytes) -> Any:
        """Post a request; see `Webservice.run`."""
        return super().run(input_data)

    def get_logs(self, num_lines: int = 5000, raw: bool = False) -> str:
        """Return the last lines of its log; `raw` is not needed."""
        return super().get_logs(num_lines)

    def get_keys(self) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: always: a local service has none.
        """
        raise NotImplementedError("Local web services do not support auth keys.")

    def regen_key(self, key: str) -> NoReturn:
        """Refuse; see `get_keys`."""
        raise NotImplementedError("Local web services do not support auth keys.")

    def get_token(self) -> NoReturn:
        """Refuse; see `get_keys`."""
        raise NotImplementedError("Local web services do not support Token Authentication.")

    def delete(self, delete_cache: bool = True, delete_image: bool = False, delete_volume: bool = True) -> None:
        """Remove it; its image stays (`docker image rm`), and what was packaged goes with the next package."""
        super().delete()
        self.state = self.STATE_DELETED

    def update(
        self,
        models: Sequence[Any] | None = None,
        image_config: Any = None,
        deployment_config: Any = None,
        wait: bool = False,
        inference_config: Any = None,
    ) -> None:
        """Package it anew, and replace what runs without losing a request.

        Args:
            models: in place of the old ones.
            image_config: of the old image API.
            deployment_config: with the port that it has: it keeps it.
            wait: is not needed.
            inference_config: in place of the old one.
        """
        if image_config is not None and inference_config is not None:
            raise WebserviceException("Error, an image configuration and an inference configuration cannot be provided "
                                      "at the same time.")  # fmt: skip
        port = getattr(deployment_config, "port", None)
        if port is not None and port != self.port:
            raise WebserviceException(f"{self.name} keeps its port ({self.port}): delete and deploy it for another")
        config = inference_config or (image_config._inference() if image_config is not None else None)
        self._update(models, config, None, again=True)

    @raises(waits=True)
    def reload(self, wait: bool = False) -> None:
        """Take the script and the files of the source directory as they are now; environment and models stay.

        The server's workers begin anew in place, without another image; the next deployment or update makes one.

        Args:
            wait: is not needed.

        Raises:
            WebserviceException: it is deleted, or the script cannot start.
        """
        self.update_deployment_state()
        self._take(reload(self.workspace, self._record))
        self.update_deployment_state()

    def deploy_to_cloud(
        self, name: str | None = None, deployment_config: Any = None, deployment_target: Any = None
    ) -> Webservice:
        """Start what it is packaged from again, as another kind of service of this machine.

        Args:
            name: of the new one.
            deployment_config: of it.
            deployment_target: of it.
        """
        from packager.azureml.deploying import redeploy

        return redeploy(self.workspace, self._record, name, deployment_config, deployment_target)

    @staticmethod
    def list(
        workspace: Workspace, model_name: str | None = None, model_id: str | None = None, all: bool | None = None
    ) -> builtins.list[LocalWebservice]:
        """Return the local services, those with a model alone where one is named."""
        found = (each for each in find_all(workspace) if each.compute == "Local")
        return [
            LocalWebservice._of(workspace, each)
            for each in found
            if model_name is None or model_name in [one.partition(":")[0] for one in each.models]
            if model_id is None or model_id in each.models
        ]

    def serialize(self) -> dict[str, Any]:
        """Return it as JSON's values."""
        kept = ("name", "tags", "properties", "state", "createdTime", "updatedTime", "error", "computeType")
        values = super().serialize()
        return {
            **{name: values[name] for name in kept}, "workspaceName": self.workspace.name, "imageId": self.image_id,
            "scoringUri": self.scoring_uri, "swaggerUri": self.swagger_uri, "port": self.port,
        }  # fmt: skip


_NEVER = "1970-01-01T00:00:00+00:00"
