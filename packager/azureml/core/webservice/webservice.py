"""`Webservice`: a named service of this machine, as v1 has it."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

from packager.azureml.arguments import entry, held
from packager.azureml.calling import ONE_AT_A_TIME, raises, say
from packager.azureml.core.webservice.configurations import WebserviceDeploymentConfiguration
from packager.azureml.core.webservice.described import Described, has
from packager.azureml.core.webservice.old_deployments import OldDeployments
from packager.azureml.deploying import find, find_all, forget, service_of
from packager.azureml.exceptions import WebserviceException
from packager.azureml.updating import update
from packager.errors import PackagerError, ServiceError, UsageError
from packager.serving.client import score
from packager.serving.service import KeyPair, Which
from packager.serving.status import Status
from packager.steps import service as services
from packager.steps.v1_records import Record

if TYPE_CHECKING:
    from packager.azureml.core.image import Image
    from packager.azureml.core.workspace import Workspace

__all__ = ["Webservice", "WebserviceDeploymentConfiguration"]

_TIMEOUT = 3600.0


@held(but=("run",))
class Webservice(Described, OldDeployments):
    """A service; `Webservice(workspace, name)` gives an object of its own kind.

    Args:
        workspace: that it is of.
        name: of it.

    Raises:
        WebserviceException: there is none.
    """

    _webservice_type: ClassVar[str | None] = None

    def __new__(cls, workspace: Workspace, name: str, *args: Any, **kwargs: Any) -> Self:
        """Make an object of the service's own kind."""
        if cls is Webservice:
            found = find(workspace, name)
            if found is None:
                raise _missing(name)
            return service_of(workspace, found)  # type: ignore[return-value]
        return super().__new__(cls)

    def __init__(self, workspace: Workspace, name: str) -> None:
        if getattr(self, "_record", None) is not None:
            return  # `__new__` has filled it
        record = find(workspace, name)
        if record is None:
            raise _missing(name)
        if self._webservice_type not in (None, record.compute):
            raise WebserviceException(
                f"the service {name} is of the type {record.compute}, not {self._webservice_type}"
            )
        self._fill(workspace, record)

    @classmethod
    def _of(cls, workspace: Workspace, record: Record) -> Self:
        made = object.__new__(cls)
        made._fill(workspace, record)
        return made

    @property
    def _service(self) -> str:
        """Name of the service of this machine."""
        return self.name

    @property
    def _headers(self) -> dict[str, str]:
        """What its requests have beside a key."""
        return {}

    def _found(self) -> Record | None:
        return find(self.workspace, self.name)

    def _looked(self) -> Status:
        return services.look(self.name)

    def _logs(self, lines: int) -> bytes:
        return b"".join(services.logs(self.name, lines))

    def _fill(self, workspace: Workspace, record: Record) -> None:
        self.workspace, self.name = workspace, record.name
        self._take(record)
        self.update_deployment_state()

    def _take(self, record: Record) -> None:
        self._record = record
        self.tags, self.properties = dict(record.tags), dict(record.properties)
        self.description, self.compute_type = record.description or None, record.compute
        self.created_time, self.updated_time = map(datetime.fromisoformat, (record.created, record.updated))
        self.created_by: dict[str, str] = {}
        self.auth_enabled = record.wanted.auth and not record.wanted.token
        self.token_auth_enabled = record.wanted.token
        self.compute_name = record.target or record.compute
        self.image_id, self.image_digest, self.image = record.reference, None, None
        self.location, self.environment = self.workspace.location, None
        self.cpu_cores, self.memory_gb = record.wanted.cpus, record.wanted.memory_gb
        self.deployment_status = "Succeeded" if not record.error else "Failed"
        self.is_default, self.traffic_percentile = True, 100
        self.version_type: Any = None

    @property
    def scoring_uri(self) -> str | None:
        """Where requests are posted; None where it does not run."""
        return self._address(lambda status: status.scoring_url)

    @property
    def swagger_uri(self) -> str | None:
        """Where its description is; None where it does not run."""
        return self._address(lambda status: status.swagger_url)

    def _address(self, part: Callable[[Status], str]) -> str | None:
        text = part(self._status) if self._status is not None else ""
        return text.replace("//127.0.0.1:", "//localhost:") or None

    def update_deployment_state(self) -> None:
        """Look how it is, and whether others changed it."""
        with ONE_AT_A_TIME:
            record = self._found()
        if record is not None:
            self._take(record)
        try:
            self._status: Status | None = self._looked()
        except PackagerError:
            self._status = None
        reason = self._status.reason if self._status is not None and not self._status.well else ""
        self.error: Any = self._record.error or reason or None
        self.state = self._state(gone=record is None)

    def _state(self, *, gone: bool) -> str:
        if gone:
            return "Deleting"
        if self._status is None or self._record.error:
            return "Failed"  # what it ran before may serve on
        return "Unhealthy" if self._status.state == "Stopped" else self._status.state

    @raises(waits=True)
    def wait_for_deployment(self, show_output: bool = False, timeout_sec: float | None = None) -> None:
        """Say how the deployment ended: it has, when this object is there.

        Args:
            show_output: print the states.
            timeout_sec: is not needed.

        Raises:
            WebserviceException: it failed; with the last lines of its log.
        """
        self.update_deployment_state()
        result = "Succeeded" if self.state in ("Healthy", "Transitioning") else "Failed"
        if show_output:
            say(f"Running\n{result}")
        if result == "Failed":
            raise WebserviceException(
                "Service deployment polling reached non-successful terminal state, current service state: "
                f"{self.state}\n"
                f"More information can be found using '.get_logs()'\nError:\n{self.error}"
            )
        say(f'{self._webservice_type} service creation operation finished, operation "{result}"')

    @raises(waits=True)
    def run(self, input: str | bytes) -> Any:
        """Post a request, and return the answer: JSON is decoded.

        Args:
            input: JSON.

        Raises:
            WebserviceException: it does not run, answers with an error, or its answer is no JSON.
        """
        if not isinstance(input, str | bytes):
            raise WebserviceException(f"a request is str or bytes, and {type(input).__name__} is none: json.dumps() it")
        if self.scoring_uri is None:
            self.update_deployment_state()
        if self.scoring_uri is None:
            raise WebserviceException(
                "Error attempting to call webservice, scoring_uri unavailable. This could be due to a failed "
                f"deployment, or the service is not ready yet.\nCurrent State: {self.state}\nErrors: {self.error}"
            )
        headers = self._headers
        if self._record.wanted.token:
            headers["Authorization"] = f"Bearer {services.access_token(self._service).text}"
        elif self._record.wanted.auth:
            headers["Authorization"] = f"Bearer {services.show_keys(self._service).primary}"
        body = input.encode() if isinstance(input, str) else input
        try:
            answer = score(self.scoring_uri, body, headers=headers, timeout=_TIMEOUT).body
        except ServiceError as error:
            raise WebserviceException(
                "Received bad response from service. More information can be found by calling `.get_logs()` on the "
                f"webservice object.\n{error}",
                inner_exception=error,
            ) from None
        try:
            return json.loads(answer)
        except ValueError:
            raise WebserviceException(f"the answer is no JSON: {answer[:200]!r}") from None

    @raises(waits=True)
    def get_logs(self, num_lines: int = 5000, init: bool = False) -> str:
        """Return the last lines of its log.

        Args:
            num_lines: how many.
            init: is not needed: there is no other container.
        """
        if self._status is None and self._record.error:
            return self._record.error
        return self._logs(num_lines).decode(errors="replace")

    @raises()
    def get_keys(self) -> tuple[str, str]:
        """Return its two keys.

        Raises:
            WebserviceException: its requests need none.
        """
        pair = self._keys()
        return pair.primary, pair.secondary

    @raises()
    def regen_key(self, key: str, set_key: str | None = None) -> None:
        """Make one of its keys new; the other stays.

        Args:
            key: `Primary` or `Secondary`.
            set_key: what it is to be: a new one is made where None.

        Raises:
            WebserviceException: it is no such key, or one is given.
        """
        if not key or key.capitalize() not in ("Primary", "Secondary"):
            raise WebserviceException(
                f"Error, invalid value provided for key: {key}.\nValid options are: Primary, Secondary"
            )
        if set_key is not None:
            raise WebserviceException("a key is made here, and not given: leave set_key out")
        self._keys("primary" if key.capitalize() == "Primary" else "secondary")

    def _keys(self, regenerate: Which | None = None) -> KeyPair:
        try:
            return services.show_keys(self._service, regenerate)
        except UsageError as error:
            if self._record.wanted.auth:
                raise
            raise WebserviceException(
                f"{error.message}: deploy it with deploy_configuration(auth_enabled=True)", inner_exception=error
            ) from error

    def get_token(self) -> Any:
        """Refuse.

        Raises:
            NotImplementedError: tokens are AKS's.
        """
        raise NotImplementedError(f"{self._webservice_type} web services do not support Token Authentication.")

    def update(self, *args: Any) -> None:
        """Refuse: what can change is of the kind of service.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"{self._webservice_type} web services are updated by their own class.")

    @raises(waits=True)
    def _update(self, models: Sequence[Any] | None, config: Any, image: Image | None, **more: Any) -> None:
        """Replace what it runs, or what is said of it."""
        if image is not None and (models is not None or config is not None):
            raise WebserviceException("Error, unable to use image along with models or inference_config.")
        self.update_deployment_state()
        auth = more.pop("auth", None)
        if auth is not None and bool(auth) != self._record.wanted.auth:
            raise WebserviceException(
                "whether requests need a key is of the deployment: deploy it again, with overwrite"
            )
        reference = image.image_location if image is not None else None
        self._take(
            update(self.workspace, self._record, {"models": models, "config": config, "reference": reference, **more})
        )
        self.update_deployment_state()

    @raises(waits=True)
    def delete(self) -> None:
        """Remove it; requests in flight are finished first."""
        if find(self.workspace, self.name) is None:
            # One of this name that runs now is another workspace's.
            say(f"No service with name {self.name} found to delete.")
            self._status, self.state = None, "Deleting"
            return
        with suppress(ServiceError):  # it never ran, or is gone
            services.delete(self.name)
        forget(self.workspace, self.name)
        self._status, self.state = None, "Deleting"

    @classmethod
    def deserialize(cls, workspace: Workspace, webservice_payload: Mapping[str, Any]) -> Webservice:
        """Return the service that `serialize` told of."""
        return Webservice(workspace, entry(webservice_payload, "name"))

    @staticmethod
    def list(
        workspace: Workspace,
        compute_type: str | None = None,
        image_name: str | None = None,
        image_id: str | None = None,
        model_name: str | None = None,
        model_id: str | None = None,
        tags: Sequence[Any] | None = None,
        properties: Sequence[Any] | None = None,
        image_digest: str | None = None,
    ) -> builtins.list[Webservice]:
        """Return the services of a workspace that have all that is asked for."""
        return [
            service_of(workspace, each)
            for each in find_all(workspace)
            if compute_type is None or each.compute.upper() == compute_type.upper()
            if image_name is None or each.reference.rpartition(":")[0] == image_name
            if image_id in (None, each.reference)
            if model_name is None or model_name in [one.partition(":")[0] for one in each.models]
            if model_id is None or model_id in each.models
            if has(each.tags, tags) and has(each.properties, properties)
        ]

    @staticmethod
    def check_for_existing_webservice(
        workspace: Workspace, name: str, overwrite: bool = False, request_func: Any = None, check_func: Any = None
    ) -> None:
        """Refuse a name that a service has.

        Raises:
            WebserviceException: there is one, and it is not to be replaced.
        """
        if not overwrite and find(workspace, name) is not None:
            raise WebserviceException(f"Service {name} with the same name already exists.")

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(workspace={self.workspace!r}, name={self.name}, image_id={self.image_id}, "
            f"compute_type={self.compute_type}, state={self.state}, scoring_uri={self.scoring_uri}, tags={self.tags}, "
            f"properties={self.properties})"
        )


def _missing(name: str) -> WebserviceException:
    return WebserviceException(f"WebserviceNotFound: Webservice with name {name} not found in provided workspace")
