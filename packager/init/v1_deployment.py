"""Deployment configurations of Azure ML v1 (local, ACI, AKS and its endpoints) → what a service wants where it runs.

Keys are those of the command line's files and those of the SDK's parameters, which people write into files as well.
"""

from __future__ import annotations

from packager.init.hints import Hints, Section, folded, shown
from packager.init.service_fields import Convert, gigabytes, milliseconds, number, put_field, put_value, text, whole

#: Where a deployment goes, as the files name it.
KINDS = ("LOCAL", "ACI", "AKS", "AKSENDPOINT")

#: Key → field below `service`, and how its value is made one of the spec's.
_FIELDS: dict[str, tuple[str, Convert]] = {
    "cpu": ("cpu", number),
    "cpuCores": ("cpu", number),
    "memoryInGB": ("memory", gigabytes),
    "memoryGB": ("memory", gigabytes),
    "cpuLimit": ("cpu_limit", number),
    "cpuCoresLimit": ("cpu_limit", number),
    "memoryInGBLimit": ("memory_limit", gigabytes),
    "memoryLimitInGB": ("memory_limit", gigabytes),
    "memoryGBLimit": ("memory_limit", gigabytes),
    "gpu": ("gpu", whole),
    "gpuCores": ("gpu", whole),
    "minReplicas": ("replicas.min", whole),
    "autoscaleMinReplicas": ("replicas.min", whole),
    "maxReplicas": ("replicas.max", whole),
    "autoscaleMaxReplicas": ("replicas.max", whole),
    "targetUtilization": ("replicas.target", whole),
    "autoscaleTargetUtilization": ("replicas.target", whole),
    "maxConcurrentRequestsPerContainer": ("concurrency", whole),
    "replicaMaxConcurrentRequests": ("concurrency", whole),
    "maxQueueWaitMs": ("max_queue_wait", milliseconds),
    "maxRequestWaitTime": ("max_queue_wait", milliseconds),
    "scoringTimeoutMs": ("scoring_timeout", milliseconds),
    "periodSeconds": ("probes.period", whole),
    "initialDelaySeconds": ("probes.initial_delay", whole),
    "timeoutSeconds": ("probes.timeout", whole),
    "successThreshold": ("probes.success_threshold", whole),
    "failureThreshold": ("probes.failure_threshold", whole),
    "namespace": ("namespace", text),
    "dnsNameLabel": ("dns_name", text),
    "cname": ("tls.cname", text),
    "sslCname": ("tls.cname", text),
}

_SECRET = ("a key is no part of a spec", "`packager run --key-file`, `packager service keys`")
_VNET = ("a network is said where the service runs", "")
_INSIGHTS = (
    "nothing is sent to Application Insights by itself",
    "APPLICATIONINSIGHTS_CONNECTION_STRING and the package, when the container starts",
)
_COLLECTED = ("what is scored is not collected", "the entry script can write it")
_CMK = ("it encrypts what Azure stores", "")
_TRAFFIC = ("a spec has one service", "deploy each version as a service of its own")
_REFRESH = ("whoever scales decides how often it looks", "")
#: Key → why it is not taken over, and the way to the same end.
LEFT: dict[str, tuple[str, str]] = {
    "location": ("it is a region of Azure, said where the service runs", ""),
    "vnetName": _VNET,
    "subnetName": _VNET,
    "keys": _SECRET,
    "primaryKey": _SECRET,
    "secondaryKey": _SECRET,
    "appInsightsEnabled": _INSIGHTS,
    "enableAppInsights": _INSIGHTS,
    "dataCollection": _COLLECTED,
    "storageEnabled": _COLLECTED,
    "collectModelData": _COLLECTED,
    "cmkVaultBaseUrl": _CMK,
    "cmkKeyName": _CMK,
    "cmkKeyVersion": _CMK,
    "tags": ("they are those of a service in a workspace of Azure", "`packager build --label NAME=VALUE`"),
    "properties": ("they are those of a service in a workspace of Azure", "`packager build --label NAME=VALUE`"),
    "refreshPeriodInSeconds": _REFRESH,
    "autoscaleRefreshSeconds": _REFRESH,
    "computeTarget": ("it is a cluster in a workspace of Azure", "say where it runs when it is deployed"),
    "computeTargetName": ("it is a cluster in a workspace of Azure", "say where it runs when it is deployed"),
    "blobfuseEnabled": ("models are in the image", ""),
    "versionName": _TRAFFIC,
    "trafficPercentile": _TRAFFIC,
    "isDefault": _TRAFFIC,
    "isControlVersionType": _TRAFFIC,
    "leafDomainLabel": ("it is a name that Azure gives out", "`service: {tls: {cname: …}}` has one of yours"),
}
#: Mappings that hold what may stand on the top as well.
_SECTIONS = ("containerResourceRequirements", "autoScaler", "livenessProbeRequirements", "dataCollection", "keys")


def read_deployment(section: Section, hints: Hints) -> None:
    """Read a deployment configuration.

    Args:
        section: the whole of it.
        hints: get what it says.
    """
    written = section.text("computeType") or ""
    kind = folded(written).upper()
    if kind in KINDS:
        section.took("computeType", "service", "where it goes is said when it is deployed")
    elif kind:
        section.left("computeType", f"{shown(written)!r} is none of local, ACI, AKS and AKSEndpoint")
    _port(section, hints)
    _auth(section, kind)
    _tls(section)
    _replicas(section)
    description = section.text("description")
    if description is not None and not hints.description:
        hints.description = description
        section.took("description", "description")
    for name in _SECTIONS:
        inner = section.section(name) if name in section and (section.is_mapping(name) or name not in LEFT) else None
        if inner is not None:
            _replicas(inner)
            _fields(inner)
    _fields(section)
    if isinstance(gpus := hints.service.get("gpu"), int) and gpus > 0:
        hints.gpu = True


def _fields(section: Section) -> None:
    for key, (field, convert) in _FIELDS.items():
        if key not in section or (field == "gpu" and section.get(key) in (0, "0")):
            continue
        put_field(section, key, field, convert)
    section.rest(LEFT)


def _port(section: Section, hints: Hints) -> None:
    """Take the port of a local service: `packager run` publishes the image's under its own number."""
    value = section.get("port")
    if value is None:
        return
    try:
        port = whole(value)
    except ValueError as error:
        section.left("port", str(error))
        return
    if 1024 <= port <= 65535:
        section.put("port", "server.port", port, hints.server)
    else:
        section.left("port", "the server is no superuser, and has ports from 1024 to 65535", "`packager run -p`")


def _auth(section: Section, kind: str) -> None:
    token, key = section.flag("tokenAuthEnabled"), section.flag("authEnabled")
    if token:
        put_value(section, "tokenAuthEnabled", "auth", "token", reason="on this machine a key")
        if key is not None:
            section.took("authEnabled", "service.auth")
    elif key is not None:
        put_value(section, "authEnabled", "auth", "key" if key else "none")
    elif kind in ("AKS", "AKSENDPOINT"):
        # v1 asks for keys on AKS unless it is told not to.
        put_value(section, "computeType", "auth", "key", reason="AKS asks for keys unless authEnabled is false")


def _tls(section: Section) -> None:
    for name, keys in (("cert", ("sslCertificate", "sslCertPemFile")), ("key", ("sslKey", "sslKeyPemFile"))):
        for key in keys:
            value = section.get(key)
            if value is None:
                continue
            if not isinstance(value, str) or "-----BEGIN" in value or "\n" in value:
                section.left(
                    key, "it is no path, and what is in such a file is no part of a spec", "write it to a file"
                )
                continue
            put_field(section, key, f"tls.{name}", text)
    if section.flag("sslEnabled"):
        section.took("sslEnabled", "service.tls", "what encrypts is in front of the service; it wants cert and key")


def _replicas(section: Section) -> None:
    """Take a fixed number of replicas where nothing scales them."""
    scaled = True
    for key in ("autoscaleEnabled", "autoScaleEnabled"):
        if (flag := section.flag(key)) is not None:
            scaled = flag
            section.took(key, "service.replicas")
    if not scaled:
        for key in ("minReplicas", "maxReplicas", "targetUtilization", "autoscaleMinReplicas", "autoscaleMaxReplicas"):
            if section.get(key) is not None:
                section.left(key, "nothing scales: autoscaleEnabled is false")
    if "replicas" not in section.hints.service:
        put_field(section, "numReplicas", "replicas", whole)
    elif section.get("numReplicas") is not None:
        section.left("numReplicas", "the replicas are scaled")
