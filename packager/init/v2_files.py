"""Files of Azure ML v2: deployments of online endpoints (managed and Kubernetes), endpoints, and environments."""

from __future__ import annotations

import re

from packager.init.hints import Hints, Section, shown
from packager.init.named_paths import NamedPaths
from packager.init.service_fields import milliseconds, put_field, put_value, quantity, whole
from packager.init.v1_deployment import LEFT as LEFT_OF_V1
from packager.init.v1_environments import name_environment, read_dependencies, take_variables

_WHERE = ("it is said where the service runs", "")
_BASE = ("the target has a base image", "`base:` names yours, where it must be that one")
_LEFT = {
    **LEFT_OF_V1,
    "$schema": ("it says what kind of file this is", ""),
    "name": ("a deployment has a name where it runs", "`packager service deploy NAME`"),
    "endpointName": ("a deployment has a name where it runs", "`packager service deploy NAME`"),
    "type": ("where it goes is said when it is deployed", ""),
    "instanceType": ("it is a size of Azure's machines", "`service: {cpu: …, memory: …}` says what it wants"),
    "modelMountPath": ("models are where v1 has them, and AZUREML_MODEL_DIR names it", ""),
    "egressPublicNetworkAccess": _WHERE,
    "publicNetworkAccess": _WHERE,
    "identity": _WHERE,
    "dataCollector": LEFT_OF_V1["collectModelData"],
    "privateNetworkConnection": _WHERE,
    "packageDetails": ("packager makes the image", ""),
    "traffic": LEFT_OF_V1["trafficPercentile"],
    "mirrorTraffic": LEFT_OF_V1["trafficPercentile"],
    "osType": ("images are Linux's", ""),
    "version": ("the spec has a version of its own", ""),
    "image": _BASE,
    "build": ("packager makes the Dockerfile", "a templates/ folder beside the spec changes blocks of it"),
    "inferenceConfig": ("port and paths are the inference server's", "`server: {port: …}`"),
    "readinessProbe": ("a spec has one set of probes, that of the liveness probe", ""),
    "pollingInterval": LEFT_OF_V1["refreshPeriodInSeconds"],
    "limits": _WHERE,
}
_PROBE = {
    "period": "period",
    "initialDelay": "initial_delay",
    "timeout": "timeout",
    "successThreshold": "success_threshold",
    "failureThreshold": "failure_threshold",
}
_ASSET = re.compile(
    r"azureml:(?://registries/[^/]+/(?:models|environments)/)?(?P<name>[A-Za-z0-9_][A-Za-z0-9._-]{0,254})"
    r"(?:(?::|/versions/)(?P<version>[^:@/]+)|(?:@|/labels/)(?P<label>[^:@/]+))?"
)


def read_online_deployment(section: Section, hints: Hints, at: NamedPaths) -> None:
    """Read a deployment of an online endpoint.

    Args:
        section: the whole of it.
        hints: get what it says.
        at: resolves paths.
    """
    _code(section, hints, at)
    _model(section, hints, at)
    if section.is_mapping("environment"):
        inner = section.section("environment")
        if inner is not None:
            read_v2_environment(inner, hints, at)
    elif (name := section.text("environment")) is not None:
        _asset_environment(section, "environment", name, hints)
    variables = section.section("environmentVariables")
    if variables is not None:
        take_variables(variables, hints)
    _description(section, hints)
    _requests(section)
    _scale(section)
    _probes(section)
    _resources(section, hints)
    if section.text("name") is not None:
        section.left("name", *_LEFT["name"])
    section.rest(_LEFT)


def read_endpoint(section: Section, hints: Hints) -> None:
    """Read an online endpoint: whether requests need a key."""
    mode = section.text("authMode")
    if mode is not None and mode.lower() in ("key", "aml_token", "aad_token"):
        kind = "key" if mode.lower() == "key" else "token"
        put_value(section, "authMode", "auth", kind, reason="" if kind == "key" else "on this machine a key")
    elif mode is not None:
        section.left("authMode", f"{shown(mode)!r} is none of key, aml_token and aad_token")
    _description(section, hints)
    section.rest(_LEFT)


def read_v2_environment(section: Section, hints: Hints, at: NamedPaths) -> None:
    """Read an environment: its own file, or what a deployment has of one."""
    taken = False
    if section.is_mapping("condaFile"):
        inner = section.section("condaFile")
        if inner is not None and hints.environment is None:
            read_dependencies(inner, hints)
            taken = True
    elif (path := section.text("condaFile")) is not None:
        found = at.file(section, "condaFile", path)
        if found is not None and hints.environment is None:
            hints.environment = found
            section.took("condaFile", "environment")
        elif found not in (None, hints.environment):
            section.left("condaFile", f"{hints.environment} is the environment")
        taken = True
    image = section.text("image")
    if image is not None:
        azures = image.startswith("mcr.microsoft.com/")
        why = "Azure's image has Python and drivers that the target's base has" if azures else _BASE[0]
        section.left("image", why, "" if azures else f"`base: {shown(image)}`, where it must be that one")
    name = section.text("name")
    if name is not None and not taken and image is None:
        name_environment(section, "name", name, section.text("version"), hints)
    elif name is not None:
        section.left("name", "what it names is written out here", "`packager environment register` keeps it by name")
    section.text("version")
    if section.text("description") is not None:
        section.left("description", "it describes the environment, not the package")
    section.rest(_LEFT)


def _asset_environment(section: Section, key: str, name: str, hints: Hints) -> None:
    found = _ASSET.fullmatch(name)
    if found is None:
        section.left(key, f"{shown(name)!r} names no environment that packager knows", "write out what it has")
        return
    name_environment(section, key, found["name"], found["version"] or found["label"], hints)


def _code(section: Section, hints: Hints, at: NamedPaths) -> None:
    code = section.section("codeConfiguration")
    if code is None:
        return
    script, source = code.text("scoringScript"), code.text("code") or "."
    if script is not None and not script.endswith(".py"):
        code.left("scoringScript", f"{shown(script)!r} is no Python file")
    elif script is not None:
        entry = at.file(code, "scoringScript", source, script)
        if entry is not None and hints.entry_script is None:
            hints.entry_script, hints.source_dir = entry, at.folder(source)
            code.took("scoringScript", "entry_script")
            if "code" in code:
                code.took("code", "source_dir")
        elif entry is not None:
            code.left("scoringScript", f"{hints.origins.get('entry_script', 'another file')} has said it already")
    code.rest()


def _model(section: Section, hints: Hints, at: NamedPaths) -> None:
    inner = section.section("model") if section.is_mapping("model") else None
    holder, key = (inner, "path") if inner is not None else (section, "model")
    path = holder.text(key)
    if path is not None:
        found = _ASSET.fullmatch(path)
        if found is not None:
            version = found["version"]
            numbered = version is not None and re.fullmatch(r"[1-9][0-9]{0,8}", version)
            name = f"{found['name']}:{version}" if numbered else found["name"]
            hints.registered_models.append(name)
            holder.took(key, "models", f"`packager model register -n {found['name']}` has to have it")
        elif path.startswith("azureml:"):
            holder.left(
                key, f"{shown(path)} is in a workspace of Azure", "download it, and name its file under `models`"
            )
        elif (place := at.entry(holder, key, path)) is not None:
            hints.models.append(place)
            holder.took(key, "models")
    if inner is not None:
        inner.rest(
            {
                "name": ("the model has a name in the spec", "`models: [{path: …, name: …, version: …}]`"),
                "version": ("the model has a version in the spec", "`models: [{path: …, name: …, version: …}]`"),
                "type": ("packager looks at the file", "`framework:` of the model"),
            }
        )


def _description(section: Section, hints: Hints) -> None:
    description = section.text("description")
    if description is not None and not hints.description:
        hints.description = description
        section.took("description", "description")
    elif description is not None:
        section.left("description", "another file has said it already")


def _requests(section: Section) -> None:
    inner = section.section("requestSettings")
    if inner is not None:
        put_field(inner, "requestTimeoutMs", "scoring_timeout", milliseconds)
        put_field(inner, "maxConcurrentRequestsPerInstance", "concurrency", whole)
        put_field(inner, "maxQueueWaitMs", "max_queue_wait", milliseconds)
        inner.rest()


def _scale(section: Section) -> None:
    inner = section.section("scaleSettings")
    if inner is not None:
        kind = inner.text("type")
        if kind is not None:
            inner.took("type", "service.replicas")
        for key, name in (("minInstances", "min"), ("maxInstances", "max"), ("targetUtilizationPercentage", "target")):
            put_field(inner, key, f"replicas.{name}", whole)
        inner.rest(_LEFT)
    if "replicas" not in section.hints.service:
        put_field(section, "instanceCount", "replicas", whole)
    elif section.get("instanceCount") is not None:
        section.left("instanceCount", "the replicas are scaled")


def _probes(section: Section) -> None:
    inner = section.section("livenessProbe")
    if inner is not None:
        for key, name in _PROBE.items():
            put_field(inner, key, f"probes.{name}", whole)
        inner.rest()
    if section.get("readinessProbe") is not None:
        section.left("readinessProbe", *_LEFT["readinessProbe"])


def _resources(section: Section, hints: Hints) -> None:
    inner = section.section("resources")
    if inner is None:
        return
    for part, ending in (("requests", ""), ("limits", "_limit")):
        found = inner.section(part)
        if found is not None:
            put_field(found, "cpu", f"cpu{ending}", quantity)
            put_field(found, "memory", f"memory{ending}", quantity)
            if "nvidia.com/gpu" in found:
                put_field(found, "nvidia.com/gpu", "gpu", whole)
                hints.gpu = bool(hints.service.get("gpu")) or hints.gpu
            found.rest()
    inner.rest()
