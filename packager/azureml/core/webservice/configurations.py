"""What `deploy_configuration(…)` of a service returns: what is wanted of the place where it runs."""

from __future__ import annotations

from typing import Any

import msgspec

from packager.azureml.core.webservice.requirements import KEPT
from packager.azureml.exceptions import WebserviceException
from packager.steps.v1_wanted import Wanted


class WebserviceDeploymentConfiguration:
    """What all of them have.

    Attributes:
        description: for people.
        tags: to find it by.
        properties: that never change.
        primary_key, secondary_key: of its requests.
        location: is kept, and says nothing on this machine.
    """

    def __init__(
        self,
        type: Any,
        description: str | None = None,
        tags: dict[str, str] | None = None,
        properties: dict[str, str] | None = None,
        primary_key: str | None = None,
        secondary_key: str | None = None,
        location: str | None = None,
    ) -> None:
        self._webservice_type = type
        self.description, self.tags, self.properties = description, tags, properties
        self.primary_key, self.secondary_key, self.location = primary_key, secondary_key, location

    def validate_configuration(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            WebserviceException: a number is none.
        """

    def _wanted(self) -> Wanted:
        raise NotImplementedError

    def _common(self) -> dict[str, Any]:
        return {
            "description": self.description or "",
            "tags": {name: str(value) for name, value in (self.tags or {}).items()},
            "properties": {name: str(value) for name, value in (self.properties or {}).items()},
            "keys": (self.primary_key, self.secondary_key),
        }

    def _positive(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name, None)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
                raise WebserviceException(f"Invalid configuration, {name} must be greater than zero.")

    def __repr__(self) -> str:
        # Without the keys.
        shown = {name: value for name, value in vars(self).items() if value is not None and "key" not in name}
        parts = (f"{name}={value!r}" for name, value in shown.items() if not name.startswith("_"))
        return f"{type(self).__name__}({', '.join(parts)})"


class LocalWebserviceDeploymentConfiguration(WebserviceDeploymentConfiguration):
    """A service of this machine.

    Attributes:
        port: that it has here; a free one where None.
    """

    def __init__(self, port: int | None = None) -> None:
        from packager.azureml.core.webservice.local import LocalWebservice

        super().__init__(LocalWebservice)
        self.port = port
        self.validate_configuration()

    def validate_configuration(self) -> None:
        """Refuse a port that is none.

        Raises:
            WebserviceException: it is none.
        """
        if self.port is not None and (not isinstance(self.port, int) or not 0 < self.port < 65536):
            raise WebserviceException("Invalid port, it must be a whole number from 1 to 65535.")

    def _wanted(self) -> Wanted:
        return Wanted(compute="Local", port=self.port)


class AciServiceDeploymentConfiguration(WebserviceDeploymentConfiguration):
    """A container of Azure Container Instances; parameters as azureml-core 1.61 has them."""

    def __init__(
        self,
        cpu_cores: float | None = None,
        memory_gb: float | None = None,
        tags: dict[str, str] | None = None,
        properties: dict[str, str] | None = None,
        description: str | None = None,
        location: str | None = None,
        auth_enabled: bool | None = None,
        ssl_enabled: bool | None = None,
        enable_app_insights: bool | None = None,
        ssl_cert_pem_file: str | None = None,
        ssl_key_pem_file: str | None = None,
        ssl_cname: str | None = None,
        dns_name_label: str | None = None,
        primary_key: str | None = None,
        secondary_key: str | None = None,
        collect_model_data: bool | None = None,
        cmk_vault_base_url: str | None = None,
        cmk_key_name: str | None = None,
        cmk_key_version: str | None = None,
        vnet_name: str | None = None,
        subnet_name: str | None = None,
    ) -> None:
        from packager.azureml.core.webservice.aci import AciWebservice

        super().__init__(AciWebservice, description, tags, properties, primary_key, secondary_key, location)
        self.cpu_cores, self.memory_gb, self.auth_enabled = cpu_cores, memory_gb, auth_enabled
        self.ssl_enabled, self.ssl_cname = ssl_enabled, ssl_cname
        self.ssl_cert_pem_file, self.ssl_key_pem_file = ssl_cert_pem_file, ssl_key_pem_file
        self.enable_app_insights, self.collect_model_data = enable_app_insights, collect_model_data
        self.dns_name_label, self.vnet_name, self.subnet_name = dns_name_label, vnet_name, subnet_name
        self.cmk_vault_base_url, self.cmk_key_name, self.cmk_key_version = (
            cmk_vault_base_url, cmk_key_name, cmk_key_version,
        )  # fmt: skip
        self.validate_configuration()

    def validate_configuration(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            WebserviceException: processors or memory that are none; keys where none is asked for.
        """
        self._positive("cpu_cores", "memory_gb")
        if (self.primary_key or self.secondary_key) and not self.auth_enabled:
            raise WebserviceException("Invalid configuration, keys are given and auth_enabled is not.")

    def _wanted(self) -> Wanted:
        passed = {
            "TLS": self.ssl_enabled,
            "App Insights": self.enable_app_insights,
            "data collection": self.collect_model_data,
            f"the DNS label {self.dns_name_label}": self.dns_name_label,
            f"the network {self.vnet_name}": self.vnet_name,
            "a key of the vault": self.cmk_key_name,
        }
        return Wanted(
            compute="ACI",
            cpus=self.cpu_cores,
            memory_gb=self.memory_gb,
            auth=bool(self.auth_enabled),
            passed_over=tuple(name for name, value in passed.items() if value),
            **self._common(),
        )


class AksServiceDeploymentConfiguration(WebserviceDeploymentConfiguration):
    """A deployment of Azure Kubernetes Service; parameters as azureml-core 1.61 has them."""

    def __init__(
        self,
        autoscale_enabled: bool | None,
        autoscale_min_replicas: int | None,
        autoscale_max_replicas: int | None,
        autoscale_refresh_seconds: int | None,
        autoscale_target_utilization: int | None,
        collect_model_data: bool | None,
        auth_enabled: bool | None,
        cpu_cores: float | None,
        memory_gb: float | None,
        enable_app_insights: bool | None,
        scoring_timeout_ms: int | None,
        replica_max_concurrent_requests: int | None,
        max_request_wait_time: int | None,
        num_replicas: int | None,
        primary_key: str | None,
        secondary_key: str | None,
        tags: dict[str, str] | None,
        properties: dict[str, str] | None,
        description: str | None,
        gpu_cores: int | None,
        period_seconds: int | None,
        initial_delay_seconds: int | None,
        timeout_seconds: int | None,
        success_threshold: int | None,
        failure_threshold: int | None,
        namespace: str | None,
        token_auth_enabled: bool | None,
        compute_target_name: str | None,
        cpu_cores_limit: float | None,
        memory_gb_limit: float | None,
        blobfuse_enabled: bool | None = None,
    ) -> None:
        from packager.azureml.core.webservice.aks import AksWebservice

        super().__init__(AksWebservice, description, tags, properties, primary_key, secondary_key)
        self.autoscale_enabled, self.num_replicas = autoscale_enabled, num_replicas
        self.autoscale_min_replicas, self.autoscale_max_replicas = autoscale_min_replicas, autoscale_max_replicas
        self.autoscale_refresh_seconds = autoscale_refresh_seconds
        self.autoscale_target_utilization = autoscale_target_utilization
        self.collect_model_data, self.enable_app_insights = collect_model_data, enable_app_insights
        self.auth_enabled, self.token_auth_enabled = auth_enabled, token_auth_enabled
        self.cpu_cores, self.cpu_cores_limit = cpu_cores, cpu_cores_limit
        self.memory_gb, self.memory_gb_limit, self.gpu_cores = memory_gb, memory_gb_limit, gpu_cores
        self.scoring_timeout_ms, self.max_request_wait_time = scoring_timeout_ms, max_request_wait_time
        self.replica_max_concurrent_requests = replica_max_concurrent_requests
        self.period_seconds, self.initial_delay_seconds = period_seconds, initial_delay_seconds
        self.timeout_seconds, self.success_threshold = timeout_seconds, success_threshold
        self.failure_threshold, self.namespace = failure_threshold, namespace
        self.compute_target_name, self.blobfuse_enabled = compute_target_name, blobfuse_enabled
        self.validate_configuration()

    def validate_configuration(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            WebserviceException: a number is none, a limit is below what is asked for, or two settings contradict.
        """
        self._positive(
            "cpu_cores", "memory_gb", "cpu_cores_limit", "memory_gb_limit", "scoring_timeout_ms", "num_replicas",
            "max_request_wait_time", "replica_max_concurrent_requests",
            "autoscale_min_replicas", "autoscale_max_replicas", "gpu_cores",
            "period_seconds", "timeout_seconds", "success_threshold", "failure_threshold",
        )  # fmt: skip
        for name in ("cpu_cores", "memory_gb"):
            asked, limit = getattr(self, name), getattr(self, f"{name}_limit")
            if asked is not None and limit is not None and limit < asked:
                raise WebserviceException(f"Invalid configuration, {name}_limit is below {name}.")
        if self.auth_enabled and self.token_auth_enabled:
            raise WebserviceException("Invalid configuration, auth_enabled and token_auth_enabled cannot both be True.")
        if self.autoscale_enabled and self.num_replicas:
            raise WebserviceException(
                "Invalid configuration, autoscale_enabled and num_replicas contradict each other."
            )
        low, high = self.autoscale_min_replicas, self.autoscale_max_replicas
        if low is not None and high is not None and low > high:
            raise WebserviceException("Invalid configuration, autoscale_min_replicas is above autoscale_max_replicas.")

    def _wanted(self) -> Wanted:
        many = self.num_replicas or self.autoscale_min_replicas or 1
        passed = {
            f"{many} replicas": many > 1,
            "autoscaling": self.autoscale_enabled,
            f"{self.gpu_cores} GPUs": self.gpu_cores,
            "App Insights": self.enable_app_insights,
            "data collection": self.collect_model_data,
            f"the namespace {self.namespace}": self.namespace,
        }
        token = bool(self.token_auth_enabled)
        delay = (self.initial_delay_seconds or 0) + (self.period_seconds or 0) * (self.failure_threshold or 0)
        return Wanted(
            compute="AKS",
            cpus=self.cpu_cores_limit or self.cpu_cores,
            memory_gb=self.memory_gb_limit or self.memory_gb,
            auth=token or self.auth_enabled is not False,
            token=token,
            timeout=max(300.0, float(delay)),
            asked={name: value for name in KEPT if (value := getattr(self, name)) is not None},
            passed_over=tuple(name for name, value in passed.items() if value),
            **self._common(),
        )


class AksEndpointDeploymentConfiguration(AksServiceDeploymentConfiguration):
    """One version of an `AksEndpoint`; parameters as azureml-core 1.61 has them."""

    def __init__(
        self,
        autoscale_enabled: bool | None,
        autoscale_min_replicas: int | None,
        autoscale_max_replicas: int | None,
        autoscale_refresh_seconds: int | None,
        autoscale_target_utilization: int | None,
        collect_model_data: bool | None,
        auth_enabled: bool | None,
        cpu_cores: float | None,
        memory_gb: float | None,
        enable_app_insights: bool | None,
        scoring_timeout_ms: int | None,
        replica_max_concurrent_requests: int | None,
        max_request_wait_time: int | None,
        num_replicas: int | None,
        primary_key: str | None,
        secondary_key: str | None,
        tags: dict[str, str] | None,
        properties: dict[str, str] | None,
        description: str | None,
        gpu_cores: int | None,
        period_seconds: int | None,
        initial_delay_seconds: int | None,
        timeout_seconds: int | None,
        success_threshold: int | None,
        failure_threshold: int | None,
        namespace: str | None,
        token_auth_enabled: bool | None,
        version_name: str | None,
        traffic_percentile: float | None,
        compute_target_name: str | None,
        cpu_cores_limit: float | None,
        memory_gb_limit: float | None,
    ) -> None:
        from packager.azureml.core.webservice.aks import AksEndpoint

        self.version_name, self.traffic_percentile = version_name, traffic_percentile
        super().__init__(
            autoscale_enabled, autoscale_min_replicas, autoscale_max_replicas, autoscale_refresh_seconds,
            autoscale_target_utilization, collect_model_data, auth_enabled, cpu_cores, memory_gb, enable_app_insights,
            scoring_timeout_ms, replica_max_concurrent_requests, max_request_wait_time, num_replicas, primary_key,
            secondary_key, tags, properties, description, gpu_cores, period_seconds, initial_delay_seconds,
            timeout_seconds, success_threshold, failure_threshold, namespace, token_auth_enabled, compute_target_name,
            cpu_cores_limit, memory_gb_limit,
        )  # fmt: skip
        self._webservice_type = AksEndpoint

    def validate_configuration(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            WebserviceException: see `AksServiceDeploymentConfiguration`; or the traffic is no part of a hundred.
        """
        super().validate_configuration()
        require_percentile(self.traffic_percentile)

    def _wanted(self) -> Wanted:
        return msgspec.structs.replace(
            super()._wanted(),
            compute="AKSENDPOINT",
            version=self.version_name or "",
            traffic=self.traffic_percentile,
        )


def require_percentile(traffic: Any) -> None:
    """Refuse a share of the requests that is none.

    Raises:
        WebserviceException: it is none, or has a fraction, which packager's forwarder does not have.
    """
    if traffic is None:
        return
    if isinstance(traffic, bool) or not isinstance(traffic, int | float) or not 0 <= traffic <= 100:
        raise WebserviceException("Invalid configuration, traffic_percentile must be from 0 to 100.")
    if traffic != int(traffic):
        raise WebserviceException(f"traffic_percentile={traffic:g}: packager shares requests by whole percents")
