"""`AksEndpoint`: several versions of a service behind one address of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from packager.azureml import endpoints
from packager.azureml.arguments import held
from packager.azureml.calling import raises, say
from packager.azureml.core.webservice.aks_service import AksWebservice
from packager.azureml.core.webservice.configurations import (
    AksEndpointDeploymentConfiguration,
    AksServiceDeploymentConfiguration,
    require_percentile,
)
from packager.azureml.core.webservice.requirements import KEPT
from packager.azureml.deploying import find
from packager.azureml.exceptions import WebserviceException
from packager.serving.status import Status
from packager.serving.traffic import VERSION_HEADER
from packager.steps import service as services
from packager.steps.v1_records import Record

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace

__all__ = ["AksEndpoint", "AksVersion"]


@held(but=("create_version", "update_version", "delete_version"))
class AksEndpoint(AksWebservice):
    """Versions of a service behind one address, each with a share of the requests; the default gets what is left."""

    _webservice_type: ClassVar[str | None] = "AKSENDPOINT"

    class VersionType(Enum):
        """Whether others are held against a version. It is kept, and changes nothing."""

        control = "Control"
        treatment = "Treatment"

    @staticmethod
    def deploy_configuration(
        autoscale_enabled: bool | None = None,
        autoscale_min_replicas: int | None = None,
        autoscale_max_replicas: int | None = None,
        autoscale_refresh_seconds: int | None = None,
        autoscale_target_utilization: int | None = None,
        collect_model_data: bool | None = None,
        auth_enabled: bool | None = None,
        cpu_cores: float | None = None,
        memory_gb: float | None = None,
        enable_app_insights: bool | None = None,
        scoring_timeout_ms: int | None = None,
        replica_max_concurrent_requests: int | None = None,
        max_request_wait_time: int | None = None,
        num_replicas: int | None = None,
        primary_key: str | None = None,
        secondary_key: str | None = None,
        tags: dict[str, str] | None = None,
        properties: dict[str, str] | None = None,
        description: str | None = None,
        gpu_cores: int | None = None,
        period_seconds: int | None = None,
        initial_delay_seconds: int | None = None,
        timeout_seconds: int | None = None,
        success_threshold: int | None = None,
        failure_threshold: int | None = None,
        namespace: str | None = None,
        token_auth_enabled: bool | None = None,
        version_name: str | None = None,
        traffic_percentile: float | None = None,
        compute_target_name: str | None = None,
        cpu_cores_limit: float | None = None,
        memory_gb_limit: float | None = None,
    ) -> AksEndpointDeploymentConfiguration:
        """Return what is wanted of the place where it runs; parameters as azureml-core 1.61 has them."""
        return AksEndpointDeploymentConfiguration(
            autoscale_enabled, autoscale_min_replicas, autoscale_max_replicas, autoscale_refresh_seconds,
            autoscale_target_utilization, collect_model_data, auth_enabled, cpu_cores, memory_gb,
            enable_app_insights, scoring_timeout_ms, replica_max_concurrent_requests, max_request_wait_time,
            num_replicas, primary_key, secondary_key, tags, properties, description, gpu_cores, period_seconds,
            initial_delay_seconds, timeout_seconds, success_threshold, failure_threshold, namespace,
            token_auth_enabled, version_name, traffic_percentile, compute_target_name, cpu_cores_limit,
            memory_gb_limit,
        )  # fmt: skip

    @property
    def versions(self) -> dict[str, AksWebservice]:
        """Name → version."""
        return {name: AksVersion._in(self.workspace, self._record, name) for name in self._record.versions}

    @raises(waits=True)
    def create_version(
        self,
        version_name: str,
        autoscale_enabled: bool | None = None,
        autoscale_min_replicas: int | None = None,
        autoscale_max_replicas: int | None = None,
        autoscale_refresh_seconds: int | None = None,
        autoscale_target_utilization: int | None = None,
        collect_model_data: bool | None = None,
        cpu_cores: float | None = None,
        memory_gb: float | None = None,
        scoring_timeout_ms: int | None = None,
        replica_max_concurrent_requests: int | None = None,
        max_request_wait_time: int | None = None,
        num_replicas: int | None = None,
        tags: dict[str, str] | None = None,
        properties: dict[str, str] | None = None,
        description: str | None = None,
        models: Sequence[Any] | None = None,
        inference_config: Any | None = None,
        gpu_cores: int | None = None,
        period_seconds: int | None = None,
        initial_delay_seconds: int | None = None,
        timeout_seconds: int | None = None,
        success_threshold: int | None = None,
        failure_threshold: int | None = None,
        traffic_percentile: float | None = None,
        is_default: bool | None = None,
        is_control_version_type: bool | None = None,
        cpu_cores_limit: float | None = None,
        memory_gb_limit: float | None = None,
    ) -> None:
        """Package models as another version, and start it beside the others; parameters as azureml-core 1.61 has them.

        `traffic_percentile` is a whole number; the default version, which it is with `is_default`, gets what is left.
        A version that does not become healthy has failed, gets no requests, and is told of in `wait_for_deployment`.

        Raises:
            WebserviceException: there is one of the name, it cannot be packaged, or more than all requests are shared.
        """
        require_percentile(traffic_percentile)
        wanted = AksServiceDeploymentConfiguration(
            autoscale_enabled, autoscale_min_replicas, autoscale_max_replicas, autoscale_refresh_seconds,
            autoscale_target_utilization, collect_model_data, None, cpu_cores, memory_gb, None, scoring_timeout_ms,
            replica_max_concurrent_requests, max_request_wait_time, num_replicas, None, None, tags, properties,
            description, gpu_cores, period_seconds, initial_delay_seconds, timeout_seconds, success_threshold,
            failure_threshold, None, None, None, cpu_cores_limit, memory_gb_limit,
        )._wanted()  # fmt: skip
        self._take(
            endpoints.create_version(
                self.workspace, self._record, version_name, wanted, models, inference_config,
                traffic=traffic_percentile, default=bool(is_default), control=bool(is_control_version_type),
            )
        )  # fmt: skip
        self.update_deployment_state()

    @raises(waits=True)
    def update_version(
        self,
        version_name: str,
        autoscale_enabled: bool | None = None,
        autoscale_min_replicas: int | None = None,
        autoscale_max_replicas: int | None = None,
        autoscale_refresh_seconds: int | None = None,
        autoscale_target_utilization: int | None = None,
        collect_model_data: bool | None = None,
        cpu_cores: float | None = None,
        memory_gb: float | None = None,
        scoring_timeout_ms: int | None = None,
        replica_max_concurrent_requests: int | None = None,
        max_request_wait_time: int | None = None,
        num_replicas: int | None = None,
        tags: dict[str, str] | None = None,
        properties: dict[str, str] | None = None,
        description: str | None = None,
        models: Sequence[Any] | None = None,
        inference_config: Any | None = None,
        gpu_cores: int | None = None,
        period_seconds: int | None = None,
        initial_delay_seconds: int | None = None,
        timeout_seconds: int | None = None,
        success_threshold: int | None = None,
        failure_threshold: int | None = None,
        traffic_percentile: float | None = None,
        is_default: bool | None = None,
        is_control_version_type: bool | None = None,
        cpu_cores_limit: float | None = None,
        memory_gb_limit: float | None = None,
    ) -> None:
        """Replace what a version runs, its limits, its share, or what is said of it, without losing a request.

        Parameters as azureml-core 1.61 has them; replicas, probes and what else a cluster has are passed over.

        Raises:
            WebserviceException: no such version, the new one does not become healthy (the old one serves on), or more
                than all requests are shared.
        """
        require_percentile(traffic_percentile)
        given = locals()
        asked = {name: given[name] for name in KEPT if given.get(name) is not None}
        changes = {
            "models": models, "config": inference_config, "cpus": cpu_cores_limit or cpu_cores,
            "memory_gb": memory_gb_limit or memory_gb, "tags": tags, "properties": properties,
            "description": description, "asked": asked or None,
        }  # fmt: skip
        self._take(
            endpoints.update_version(
                self.workspace, self._record, version_name, changes, traffic=traffic_percentile,
                default=bool(is_default), control=bool(is_control_version_type),
            )
        )  # fmt: skip
        self.update_deployment_state()

    @raises(waits=True)
    def delete_version(self, version_name: str) -> None:
        """Remove a version; its share goes to the default, and requests in flight are finished first.

        Raises:
            WebserviceException: there is no such version, or it is the only one.
        """
        self._take(endpoints.delete_version(self.workspace, self._record, version_name))
        self.update_deployment_state()

    @raises(waits=True)
    def get_logs(self, num_lines: int = 5000, init: bool = False) -> str:
        """Return the last lines of each version's log."""
        if len(self._record.versions) < 2:
            return super().get_logs(num_lines, init)
        return "\n".join(f"==> {name} <==\n{each.get_logs(num_lines)}" for name, each in self.versions.items())

    def update(
        self,
        auth_enabled: bool | None = None,
        token_auth_enabled: bool | None = None,
        enable_app_insights: bool | None = None,
        description: str | None = None,
        tags: dict[str, str] | None = None,
        properties: dict[str, str] | None = None,
    ) -> None:
        """Change what is said of it.

        Raises:
            WebserviceException: it is deleted, or keys would come or go.
        """
        token = bool(token_auth_enabled) if token_auth_enabled or auth_enabled else None
        self._update(
            None, None, None, auth=auth_enabled if not token_auth_enabled else True, token=token, tags=tags,
            properties=properties, description=description,
        )  # fmt: skip


class AksVersion(AksWebservice):
    """A version of an `AksEndpoint`, which `endpoint.versions` has: a service but for address and keys."""

    _endpoint: str

    @classmethod
    def _in(cls, workspace: Workspace, endpoint: Record, name: str) -> AksVersion:
        made = object.__new__(cls)
        made._endpoint, made._of_endpoint = endpoint.name, endpoint
        made._fill(workspace, endpoint.versions[name])
        return made

    @property
    def _service(self) -> str:
        return self._endpoint

    @property
    def _headers(self) -> dict[str, str]:
        return {VERSION_HEADER: self.name}

    def _found(self) -> Record | None:
        found = find(self.workspace, self._endpoint)
        if found is None or self.name not in found.versions:
            return None
        self._of_endpoint = found
        return found.versions[self.name]

    def _looked(self) -> Status:
        return services.look(self._endpoint, version=self.name)

    def _logs(self, lines: int) -> bytes:
        return b"".join(services.logs(self._endpoint, lines, version=self.name))

    def _take(self, record: Record) -> None:
        of = self._of_endpoint
        wanted = msgspec.structs.replace(record.wanted, auth=of.wanted.auth, token=of.wanted.token)
        super()._take(msgspec.structs.replace(record, wanted=wanted))
        self.is_default, self.traffic_percentile = record.name == of.default, of.shares.get(record.name, 0)
        kinds = AksEndpoint.VersionType
        self.version_type = kinds.control if record.control else kinds.treatment

    def update_deployment_state(self) -> None:
        """Look how it is, and which share of the requests it gets."""
        super().update_deployment_state()
        if self._status is not None:
            self.traffic_percentile = services.traffic_of(self._status).get(self.name, self.traffic_percentile)

    def _keep(self, record: Record) -> None:
        self._of_endpoint = endpoints.keep_version(self.workspace, self._endpoint, record)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: a version is its endpoint's to change.

        Raises:
            WebserviceException: always.
        """
        raise WebserviceException(f"{self.name} is a version: {self._endpoint}.update_version({self.name!r}, …)")

    @raises(waits=True)
    def delete(self) -> None:
        """Remove it; see `AksEndpoint.delete_version`."""
        found = find(self.workspace, self._endpoint)
        if found is None or self.name not in found.versions:
            say(f"No service with name {self.name} found to delete.")
            return
        endpoints.delete_version(self.workspace, found, self.name)
        self._status, self.state = None, "Deleting"
