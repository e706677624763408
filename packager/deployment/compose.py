"""A workload as a file of Docker Compose."""

from __future__ import annotations

import re

from packager.deployment.terms import PIDS, Terms, terms, unmet_by_one_machine
from packager.deployment.text import render_text
from packager.deployment.workload import Manifest, Rendering, Wishes, Workload
from packager.programs.image.keys import DEFAULT_PATH

FILE = "compose.yaml"
#: Beside it, and made by the user.
KEYS_FILE = "secrets/packager-keys"

#: Compose mounts secrets below it.
_SECRETS = "/run/secrets/"

APPLY = "docker compose up --detach --wait"


def render(workload: Workload, wishes: Wishes) -> Rendering:
    """Return the files for Docker Compose. Pure.

    Args:
        workload: one image as a service.
        wishes: of them, `publish` counts.
    """
    term = terms(workload)
    text = render_text(
        "compose/compose.yaml.j2",
        w=workload,
        t=term,
        publish=workload.port if wishes.publish is None else wishes.publish,
        keys_target=DEFAULT_PATH.removeprefix(_SECRETS),
        keys_file=KEYS_FILE,
        devices={device_variable(each): each for each in workload.devices},
        pids=PIDS,
    )
    manifests = [Manifest(path=FILE, text=text)]
    if workload.needs_key:
        manifests.append(Manifest(path=".gitignore", text="# Keys.\n/secrets/\n"))
    return Rendering(
        manifests=tuple(manifests),
        unmet=tuple(_unmet(workload, term)),
        secrets=(*_key_commands(workload), *_model_commands(workload)),
        apply=APPLY,
    )


def device_variable(pattern: str) -> str:
    """Return the variable of a Compose file that names a device: `/dev/xclmgmt*` → `DEVICE_XCLMGMT`."""
    return f"DEVICE_{re.sub(r'[^A-Z0-9]+', '_', pattern.removeprefix('/dev/').upper()).strip('_')}"


def _key_commands(workload: Workload) -> tuple[str, ...]:
    if not workload.needs_key:
        return ()
    # Compose mounts the file as it is, so the container's user must be able to read it; the folder keeps others out.
    folder = KEYS_FILE.rpartition("/")[0]
    return (
        f"install -d -m 700 {folder} && (openssl rand -hex 32; openssl rand -hex 32) > {KEYS_FILE}"
        f" && chmod 644 {KEYS_FILE}",
    )


def _model_commands(workload: Workload) -> tuple[str, ...]:
    return tuple(
        f"packager model download {each.name}:{each.version} -t models/{each.name}/{each.version}"
        for each in workload.volumes
        if not each.image
    )


def _unmet(workload: Workload, term: Terms) -> list[str]:
    unmet = unmet_by_one_machine(workload)
    if term.cpu is not None:
        unmet.append("processors are limited, and none are reserved: Docker keeps none for a container")
    return unmet
