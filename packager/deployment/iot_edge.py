"""A workload as a module of Azure IoT Edge: the template that `packager save` writes, of an image, and its manifest."""

from __future__ import annotations

import json
from typing import Any

from packager.deployment.terms import PIDS, Terms, require_published, terms, unmet_by_one_machine
from packager.deployment.text import render_text
from packager.deployment.workload import Manifest, Rendering, Wishes, Workload
from packager.programs.image.keys import DEFAULT_PATH

#: What developers edit and Azure's tools for editors read, and what a hub takes.
TEMPLATE, MANIFEST = "deployment.template.json", "deployment.json"

#: Characters of a text of a module's options that a hub takes; the rest is in further ones.
_CHUNK = 512

#: Folder of the device.
_DEVICE_FOLDER = "/var/lib/packager"


def render(workload: Workload, wishes: Wishes) -> Rendering:
    """Return the deployment's template and its manifest. Pure.

    Args:
        workload: one image as a service.
        wishes: of them, `publish` counts.

    Raises:
        UsageError: only an engine of this machine has the image.
    """
    require_published(workload, "devices pull from registries")
    term = terms(workload)
    template = render_text(
        "iot-edge/deployment.template.json.j2",
        module={
            "name": workload.name,
            "version": workload.version,
            "image": workload.image,
            "port": workload.port,
            "publish": workload.port if wishes.publish is None else wishes.publish,
            "env": {name: {"value": value} for name, value in workload.env.items()},
            "host_config": _host_config(workload, term),
            "health": _health(workload, term),
        },
    )
    return Rendering(
        manifests=(
            Manifest(path=TEMPLATE, text=template),
            Manifest(path=MANIFEST, text=f"{json.dumps(manifest(json.loads(template)), indent=2)}\n"),
        ),
        unmet=tuple(_unmet(workload)),
        secrets=(*_key_commands(workload), *_model_commands(workload)),
        apply=f"az iot edge set-modules --hub-name HUB --device-id DEVICE --content {MANIFEST}",
    )


def manifest(template: Any) -> Any:
    """Return what a hub takes of a template: the options of each module as texts, in pieces. Pure."""
    made: Any = {name: value for name, value in template.items() if name != "$schema-template"}
    agent = dict(made["modulesContent"]["$edgeAgent"]["properties.desired"])
    for kind in ("systemModules", "modules"):
        agent[kind] = {name: _with_texts(module) for name, module in agent[kind].items()}
    made["modulesContent"] = {**made["modulesContent"], "$edgeAgent": {"properties.desired": agent}}
    return made


def _with_texts(module: Any) -> Any:
    settings = dict(module["settings"])
    options = json.dumps(settings.pop("createOptions"), separators=(",", ":"))
    for number, start in enumerate(range(0, len(options), _CHUNK)):
        settings[f"createOptions{number:02}" if number else "createOptions"] = options[start : start + _CHUNK]
    return {**module, "settings": settings}


def _host_config(workload: Workload, term: Terms) -> dict[str, Any]:
    """Return what the engine of a device is told beside what every module of ours has."""
    config: dict[str, Any] = {}
    binds = [f"{_keys_file(workload)}:{DEFAULT_PATH}:ro"] if workload.needs_key else []
    binds += [f"{_model_folder(each.name, each.version)}:{each.path}:ro" for each in workload.volumes]
    if binds:
        config["Binds"] = binds
    if term.memory_limit is not None:
        # Swap of the same size as memory means none: a model that swaps does not serve.
        config |= {"Memory": term.memory_limit, "MemorySwap": term.memory_limit}
    if term.memory is not None:
        config["MemoryReservation"] = term.memory
    if term.cpu_limit is not None:
        config["NanoCpus"] = round(term.cpu_limit * 1e9)
    if term.gpus:
        count = int(term.gpus) if term.gpus.isdecimal() else -1
        config["DeviceRequests"] = [{"Driver": "nvidia", "Count": count, "Capabilities": [["gpu"]]}]
    if config:
        config["PidsLimit"] = PIDS
    return config


def _health(workload: Workload, term: Terms) -> dict[str, int]:
    """Return the times of the health check in nanoseconds, where the image's are not those that are asked for."""
    probes, health = workload.service.probes, term.health
    if (probes.period, probes.initial_delay, probes.timeout, probes.failure_threshold) == (None,) * 4:
        return {}
    seconds = {"Interval": health.interval, "Timeout": health.timeout, "StartPeriod": health.start_period}
    return {name: value * 10**9 for name, value in seconds.items()} | {"Retries": health.retries}


def _keys_file(workload: Workload) -> str:
    return f"{_DEVICE_FOLDER}/keys/{workload.name}/keys"


def _model_folder(name: str, version: int) -> str:
    return f"{_DEVICE_FOLDER}/models/{name}/{version}"


def _key_commands(workload: Workload) -> tuple[str, ...]:
    if not workload.needs_key:
        return ()
    file = _keys_file(workload)
    # On the device. The engine mounts the file as it is, so the container's user must be able to read it.
    folder = file.rpartition("/")[0]
    return (
        f"sudo sh -c 'install -d -m 700 {folder} && (openssl rand -hex 32; openssl rand -hex 32) > {file}"
        f" && chmod 644 {file}'",
    )


def _model_commands(workload: Workload) -> tuple[str, ...]:
    return tuple(
        f"packager model download {each.name}:{each.version} -t {_model_folder(each.name, each.version)}"
        for each in workload.volumes
    )


def _unmet(workload: Workload) -> list[str]:
    unmet = unmet_by_one_machine(workload, loopback=False)
    if workload.devices:
        unmet.append(
            f"which device is like {' and '.join(workload.devices)} is to be written into `HostConfig.Devices`"
        )
    if any(each.image for each in workload.volumes):
        unmet.append("models are folders of the device: IoT Edge mounts no images")
    return unmet
