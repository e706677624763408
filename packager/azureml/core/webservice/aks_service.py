"""`AksWebservice`: a service of this machine, with what its configuration asks for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from packager.azureml.arguments import held
from packager.azureml.calling import raises
from packager.azureml.core.webservice.configurations import AksServiceDeploymentConfiguration
from packager.azureml.core.webservice.requirements import (
    KEPT,
    AutoScaler,
    LivenessProbeRequirements,
    probes_of,
    scaler_of,
)
from packager.azureml.core.webservice.webservice import Webservice
from packager.azureml.exceptions import WebserviceException
from packager.steps import service as services

if TYPE_CHECKING:
    from packager.azureml.core.image import Image

__all__ = ["AccessToken", "AksWebservice"]


class AccessToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token: its text, and when it is to be asked for again."""

    access_token: str
    refresh_after: datetime
    token_type: str = "Bearer"

    def __repr__(self) -> str:
        return f"AccessToken(refresh_after={self.refresh_after})"


@held(but=("run",))
class AksWebservice(Webservice):
    """A service that was written for Azure Kubernetes Service; it runs on this machine. Keys are on unless said off."""

    _webservice_type: ClassVar[str | None] = "AKS"

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
        compute_target_name: str | None = None,
        cpu_cores_limit: float | None = None,
        memory_gb_limit: float | None = None,
        blobfuse_enabled: bool | None = None,
    ) -> AksServiceDeploymentConfiguration:
        """Return what is wanted of the place where it runs; parameters as azureml-core 1.61 has them."""
        return AksServiceDeploymentConfiguration(
            autoscale_enabled, autoscale_min_replicas, autoscale_max_replicas, autoscale_refresh_seconds,
            autoscale_target_utilization, collect_model_data, auth_enabled, cpu_cores, memory_gb,
            enable_app_insights, scoring_timeout_ms, replica_max_concurrent_requests, max_request_wait_time,
            num_replicas, primary_key, secondary_key, tags, properties, description, gpu_cores, period_seconds,
            initial_delay_seconds, timeout_seconds, success_threshold, failure_threshold, namespace,
            token_auth_enabled, compute_target_name, cpu_cores_limit, memory_gb_limit, blobfuse_enabled,
        )  # fmt: skip

    @property
    def autoscaler(self) -> AutoScaler:
        """The replicas that were asked for."""
        return scaler_of(self._record.wanted.asked)

    @property
    def liveness_probe_requirements(self) -> LivenessProbeRequirements:
        """The probes that were asked for."""
        return probes_of(self._record.wanted.asked)

    @property
    def num_replicas(self) -> int | None:
        """The replicas that were asked for, where their number is fixed; there is one."""
        return self._record.wanted.asked.get("num_replicas")

    @property
    def max_concurrent_requests_per_container(self) -> int:
        """Requests that are scored at once, each in a process of its own."""
        return int(self._record.wanted.asked.get("replica_max_concurrent_requests", 1))

    @property
    def max_request_wait_time(self) -> int:
        """Milliseconds that a request waits for its turn at most, where that was asked for: then it is answered 503."""
        return int(self._record.wanted.asked.get("max_request_wait_time", 500))

    @property
    def scoring_timeout_ms(self) -> int:
        """Milliseconds after which run() is interrupted."""
        return int(self._record.wanted.asked.get("scoring_timeout_ms", 60000))

    @property
    def namespace(self) -> str | None:
        """Of the cluster that it was written for."""
        return self._record.wanted.asked.get("namespace")

    @property
    def enable_app_insights(self) -> bool:
        """Whether App Insights were asked for."""
        return bool(self._record.wanted.asked.get("enable_app_insights"))

    def run(self, input_data: str | bytes) -> Any:
        """Post a request; see `Webservice.run`."""
        return super().run(input_data)

    @raises()
    def get_token(self) -> tuple[str, datetime]:
        """Return a token, and when it is to be asked for again.

        Raises:
            NotImplementedError: its requests need none.
        """
        found = self.get_access_token()
        return found.access_token, found.refresh_after

    @raises()
    def get_access_token(self) -> AccessToken:
        """Return a token; see `get_token`."""
        if not self.token_auth_enabled:
            raise NotImplementedError(f"the requests of {self.name} need no token: token_auth_enabled was not said")
        token = services.access_token(self._service)
        return AccessToken(access_token=token.text, refresh_after=datetime.fromtimestamp(token.refresh, UTC))

    def update(
        self,
        image: Image | None = None,
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
        namespace: str | None = None,
        token_auth_enabled: bool | None = None,
        cpu_cores_limit: float | None = None,
        memory_gb_limit: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Replace what it runs, its limits, or what is said of it, without losing a request.

        Parameters as azureml-core 1.61 has them; replicas, probes and what else a cluster has are passed over.
        scoring_timeout_ms, max_request_wait_time and replica_max_concurrent_requests hold from now on.

        Raises:
            WebserviceException: it is deleted, or the new one does not become healthy: the old one serves on.
        """
        given = locals()
        asked = {name: given[name] for name in KEPT if given.get(name) is not None}
        if auth_enabled and token_auth_enabled:
            raise WebserviceException("Invalid configuration, auth_enabled and token_auth_enabled cannot both be True.")
        # Where one is on, the other is off; on this machine a token is made of a key.
        token = bool(token_auth_enabled) if token_auth_enabled or auth_enabled else None
        self._update(
            models, inference_config, image, auth=auth_enabled if not token_auth_enabled else True, token=token,
            cpus=cpu_cores_limit or cpu_cores, memory_gb=memory_gb_limit or memory_gb, tags=tags,
            properties=properties, description=description, asked=asked or None,
        )  # fmt: skip
