"""What the engine says of a container of a named service: its labels, its state, and what it was started with."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from packager.decoding import decode_json
from packager.serving.hosts.docker.container import RunningContainer, state_of
from packager.serving.service import LOG_READ, HealthTimes
from packager.serving.status import Before, Seen
from packager.storage.written import digest_of

if TYPE_CHECKING:
    from docker.models.containers import Container

#: Labels that make a container part of a service. With the containers' names they are all that is remembered of it.
SERVICE, ROLE, IMAGE, VARIABLES, HEALTH, VERSION = (
    f"packager.service{suffix}" for suffix in ("", ".role", ".image", ".env", ".health", ".version")
)

#: The engine starts again what was healthy once.
KEPT: Any = {"Name": "unless-stopped"}


def image_digest(container: Container) -> str:
    """Return the digest of a container's image, as its build printed it where it was built here."""
    return digest_of(str(container.attrs.get("Image") or ""))


def before(kept: Container | None) -> Before | None:
    """Return what a rollback goes back to; None where there is nothing."""
    if kept is None:
        return None
    created = str(kept.attrs.get("Created") or "")
    return Before(image=kept.labels.get(IMAGE, ""), digest=image_digest(kept), created=created)


def was_stopped(container: Container | None) -> bool:
    """Whether it was stopped: the engine starts again what ended by itself, once it was healthy."""
    look = seen(container)
    return look is not None and look.kept and look.status == "exited" and not look.error


def seen(container: Container | None) -> Seen | None:
    """Return what the engine said of a container when it was last asked."""
    if container is None:
        return None
    values = container.attrs["State"]
    health = (values.get("Health") or {}).get("Status")
    return Seen(
        status=values.get("Status") or "",
        state=state_of(container.attrs),
        error=values.get("Error") or "",
        health=None if health == "none" else health,
        restarts=int(container.attrs.get("RestartCount") or 0),
        kept=(container.attrs["HostConfig"].get("RestartPolicy") or {}).get("Name") == KEPT["Name"],
        age=max(time.time() - _seconds(values.get("StartedAt") or container.attrs["Created"]), 0.0),
    )


def seen_with_log(container: Container | None) -> Seen | None:
    """Return what the engine said of a container, with the end of its log."""
    import docker.errors

    look = seen(container)
    if container is None or look is None:
        return None
    with suppress(docker.errors.APIError):  # it is gone, or its logs go elsewhere
        return msgspec.structs.replace(look, log=RunningContainer(container).logs(LOG_READ))
    return look


def variables_of(container: Container) -> dict[str, str]:
    """Return the variables that the user gave a backend. Only their names are in a label: values can be secrets."""
    names = set(json.loads(container.labels.get(VARIABLES, "[]")))
    pairs = (each.partition("=") for each in container.attrs["Config"].get("Env") or ())
    return {name: value for name, _, value in pairs if name in names}


def gpus_of(container: Container) -> int:
    """Return how many GPUs a backend was given."""
    asked = container.attrs["HostConfig"].get("DeviceRequests") or ()
    return sum(max(int(each.get("Count") or 0), 0) for each in asked)


def health_of(container: Container) -> HealthTimes | None:
    """Return the times of a backend's health check, where they are not the image's."""
    text = container.labels.get(HEALTH)
    return None if text is None else decode_json(text, HealthTimes)


def health_label(times: HealthTimes | None) -> dict[str, str]:
    """Return the label by which the times of a health check are remembered, where they are not the image's."""
    return {} if times is None else {HEALTH: msgspec.json.encode(times).decode()}


def port_key(forwarder: Container) -> str:
    """Return the port in a forwarder that is published, as the engine writes it (`5001/tcp`)."""
    return str(next(iter(forwarder.attrs["HostConfig"]["PortBindings"])))


def publications(forwarder: Container) -> list[dict[str, str]]:
    """Return where the port of a forwarder is published; empty where it is not."""
    asked = forwarder.attrs["HostConfig"].get("PortBindings") or {}
    given = forwarder.attrs["NetworkSettings"]["Ports"] or {}
    return next((given.get(key) or list(values) for key, values in asked.items()), [])


def _seconds(moment: str) -> float:
    """Return a moment of the engine (RFC 3339, nanoseconds) in seconds since the epoch."""
    return datetime.fromisoformat(moment[:19] + "+00:00").timestamp()
