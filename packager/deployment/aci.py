"""A workload as a container group of Azure Container Instances, as `az container create --file` takes it."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from typing import Any

from packager.contract import HEALTH_PATH
from packager.deployment.quoting import escaped
from packager.deployment.terms import Terms, require_published, terms, unmet_anywhere, unmet_replicas
from packager.deployment.text import render_text
from packager.deployment.workload import Manifest, Rendering, Wishes, Workload
from packager.errors import UsageError
from packager.programs.image.keys import VARIABLES
from packager.proxies import is_loopback
from packager.reference import Reference
from packager.spec.service import Tls

FILE = "container-group.yaml"

#: What az has where nobody asks for more or less: processors, and GB of memory.
_CPU, _MEMORY = 1.0, 1.5
_GB = 1 << 30

#: What encrypts. Seen with this digest in several public repositories.
CADDY = "docker.io/library/caddy:2.10.2-alpine@sha256:4c6e91c6ed0e2fa03efd5b44747b625fec79bc9cd06ac5235a779726618e530d"
#: File of the TLS container → the variable that has it, in base64.
_TLS_FILES = {"certificate.pem": "TLS_CERTIFICATE_BASE64", "key.pem": "TLS_KEY_BASE64"}

#: A variable that is filled in when the file is applied; nothing else of it is touched.
_PLACE = re.compile(r'"\$\{([A-Z][A-Z0-9_]*)\}"')


def render(workload: Workload, wishes: Wishes) -> Rendering:
    """Return the container group. Pure.

    Args:
        workload: one image as a service.
        wishes: of them, `location` counts, and `host` with TLS.

    Raises:
        UsageError: it needs GPUs, devices, another processor or models outside the image, none of which are to be had
            there; or nobody knows a name for its certificate.
    """
    _require_possible(workload)
    term = terms(workload)
    tls = _tls(workload, wishes)
    variables = (*(VARIABLES if workload.needs_key else ()), *(_TLS_FILES.values() if tls else ()))
    text = render_text(
        "aci/container-group.yaml.j2",
        w=workload,
        t=term,
        location=wishes.location,
        variables=variables,
        key_variables=VARIABLES,
        health_path=HEALTH_PATH,
        success_threshold=workload.service.probes.success_threshold,
        tls=tls,
        dns_name=workload.service.dns_name,
        registry=Reference.parse(workload.image).registry,
        **_resources(term),
    )
    return Rendering(
        manifests=(Manifest(path=FILE, text=text),),
        unmet=tuple(_unmet(workload, bool(tls))),
        secrets=_commands(workload, bool(tls)),
        apply=_apply(variables),
    )


def _require_possible(workload: Workload) -> None:
    if terms(workload).gpus:
        raise UsageError(
            "Azure Container Instances has no GPUs any more",
            remedy="--to kubernetes, where a cluster has nodes with them",
        )
    if workload.devices:
        raise UsageError(
            f"Azure Container Instances gives containers no devices, and {workload.package} needs"
            f" {', '.join(workload.devices)}",
            remedy="--to kubernetes, or a machine of your own: --to compose",
        )
    platforms = workload.platforms or (workload.platform,)
    if "linux/amd64" not in platforms:
        raise UsageError(
            f"Azure Container Instances runs linux/amd64, and the image is for {', '.join(platforms)}",
            remedy="build it for that platform, too: `targets: {…: {platforms: [linux/amd64]}}`",
        )
    if workload.volumes:
        names = ", ".join(f"{each.name}:{each.version}" for each in workload.volumes)
        raise UsageError(
            f"Azure Container Instances mounts no images, and {names} is outside this one",
            remedy="build an image that holds it (`delivery: image`)",
        )
    require_published(workload, "Azure pulls from registries")


def _resources(term: Terms) -> dict[str, Any]:
    cpu, cpu_limit = _amounts(term.cpu, term.cpu_limit, _CPU)
    memory, memory_limit = _amounts(
        None if term.memory is None else term.memory / _GB,
        None if term.memory_limit is None else term.memory_limit / _GB,
        _MEMORY,
    )
    above = cpu_limit > cpu or memory_limit > memory
    return {"cpu": cpu, "memory": memory, "limits": {"cpu": cpu_limit, "memory": memory_limit} if above else None}


def _amounts(asked: float | None, limit: float | None, usual: float) -> tuple[float, float]:
    """Return what is kept free, and the most: where nobody asks for any, as usual, but never above the limit."""
    if asked is None:
        asked = usual if limit is None else min(usual, limit)
    least = _tenths(asked)
    return least, least if limit is None else max(least, _tenths(limit))


def _tenths(value: float) -> float:
    return math.ceil(round(value * 10, 6)) / 10


def _tls(workload: Workload, wishes: Wishes) -> dict[str, Any] | None:
    asked = workload.service.tls
    if asked is None:
        return None
    name = wishes.host or asked.cname
    if not name:
        raise UsageError(
            "the certificate's name is not known",
            remedy="name it in the spec (`service: {tls: {cname: …}}`), or --host",
        )
    if re.fullmatch(r"(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?", name) is None:
        raise UsageError(f"{name!r} is no name of a host", remedy="such as scoring.example.com")
    folder = "/etc/caddy-files"
    # Its administration would listen on a port of the group; certificates are given, and none is asked for.
    configuration = (
        "{\n\tadmin off\n\tauto_https off\n}\n"
        f"https://{name} {{\n\ttls {folder}/certificate.pem {folder}/key.pem\n"
        f"\treverse_proxy 127.0.0.1:{workload.port}\n}}\n"
    )
    return {
        "image": CADDY,
        "configuration": base64.b64encode(configuration.encode()).decode(),
        "files": _TLS_FILES,
    }


def _commands(workload: Workload, tls: bool) -> tuple[str, ...]:
    commands = []
    if workload.needs_key:
        commands += [f'export {name}="$(openssl rand -hex 32)"' for name in VARIABLES]
    if tls:
        asked = workload.service.tls or Tls()
        files = (asked.cert or "certificate.pem", asked.key or "key.pem")
        commands += [
            f'export {name}="$(base64 -w 0 < {file})"' for name, file in zip(_TLS_FILES.values(), files, strict=True)
        ]
    return tuple(commands)


def _apply(variables: tuple[str, ...]) -> str:
    if not variables:
        return f"az container create --resource-group GROUP --file {FILE}"
    names = " ".join(f"${{{name}}}" for name in variables)
    filled = '"$filled"'
    return (
        f"filled=\"$(mktemp)\" && envsubst '{names}' < {FILE} > {filled}"
        f" && az container create --resource-group GROUP --file {filled}; rm -f {filled}"
    )


def _unmet(workload: Workload, tls: bool) -> list[str]:
    unmet = unmet_replicas(workload, "a container group is one machine")
    unmet += unmet_anywhere(workload)
    unmet.append(
        "the root file system can be written to, and capabilities are Azure's: a container group has neither to set"
    )
    if workload.needs_key and not tls:
        unmet.append(
            "keys cross the network unencrypted: ask for `service: {tls: …}`, or put what encrypts in front of it"
        )
    if workload.service.scoring_timeout is not None:
        unmet.append("how long requests may take when it is stopped is Azure's to say")
    if workload.service.namespace:
        unmet.append("there is no namespace there")
    if is_loopback((registry := Reference.parse(workload.image).registry).rpartition(":")[0] or registry):
        unmet.append(f"Azure does not reach {registry}, which is this machine's: push the image to another registry")
    return unmet


def places(text: str) -> tuple[str, ...]:
    """Return the variables that a file leaves to be filled in, in their order. Pure."""
    return tuple(dict.fromkeys(_PLACE.findall(_without_comments(text))))


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return a file with its variables filled in, each as a text of YAML, whatever is in it. Pure.

    Raises:
        KeyError: one has no value.
    """
    return _PLACE.sub(lambda match: escaped(values[match[1]]), _without_comments(text))


def _without_comments(text: str) -> str:
    """Leave lines out that are comments: what they show is no place."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#"))
