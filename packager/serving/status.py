"""Named services as values: their names, what is seen of them, which state that is, and what may change. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urljoin

import msgspec

from packager.contract import SCORE_PATH, SWAGGER_PATH
from packager.errors import ServiceError, UsageError
from packager.serving.killed import dies_at_start
from packager.serving.service import HealthTimes, Mounted, Package, State, why_it_ended, why_it_is_killed

#: Ours has no `_`, so that no service has a container of another one's name. A DNS label holds 63 characters.
SERVICE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")

#: Seconds in which a service that never answered may still be starting.
STARTING = 120

#: `Stopped` is ours; the others are Azure ML's words.
StateName = Literal["Transitioning", "Healthy", "Unhealthy", "Unschedulable", "Failed", "Stopped"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What an update replaces; None keeps what is.

    Attributes:
        reference: of the image.
        env: variables that are added or replaced.
        memory: limit in Docker's form, or in bytes.
        cpus: limit in processors.
        gpus: how many it is given.
        health: times of its health check.
        remake: makes the package of a spec and one of its targets anew, for a service without Docker.
        mounts: finds the models that an image wants and does not hold.
    """

    reference: str | None = None
    env: dict[str, str] = {}
    memory: str | int | None = None
    cpus: float | None = None
    gpus: int | None = None
    health: HealthTimes | None = None
    remake: Callable[[Path, str], Any] | None = None
    mounts: Callable[[Package], tuple[Mounted, ...]] | None = None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine says of a container.

    Attributes:
        status: `created`, `running`, `restarting`, `exited` …
        state: whether it runs, and how it ended.
        error: why the engine could not start it.
        health: of the image's own check: `starting`, `healthy`, `unhealthy`; None where it has none.
        restarts: how often the engine started it again.
        kept: the engine starts it again when it ends; so it is with those that were healthy once.
        age: seconds since it was started.
        log: last lines that it wrote; looked at where it does not answer.
    """

    status: str
    state: State
    error: str = ""
    health: str | None = None
    restarts: int = 0
    kept: bool = False
    age: float = 0.0
    log: str = ""


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """What a service ran before its last update, and runs again after a rollback.

    Attributes:
        image: reference of it.
        digest: of it.
        created: when its backend was made (RFC 3339).
    """

    image: str
    digest: str = ""
    created: str = ""

    def __str__(self) -> str:
        return named(self.image, self.digest)


def named(image: str, digest: str) -> str:
    """Return what a service runs, for people: a tag alone names another image after each build.

    Args:
        image: reference of it.
        digest: of it; empty where nobody knows.
    """
    return image if not digest or "@" in image else f"{image} ({digest[:_DIGEST_SHOWN]})"


#: `sha256:` and twelve digits, as Docker shows ids.
_DIGEST_SHOWN = 19


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One of several versions of a service, as it is.

    Attributes:
        name: of the version.
        traffic: share of the requests that ask for no version, in percent.
        state: as of a service.
        reason: in a sentence; empty for a healthy one.
        image: reference of what it runs.
        memory: limit in bytes; 0 for none.
        cpus: limit; 0 for none.
        restarts: how often the engine started it again.
        created: when its backend was made (RFC 3339).
        digest: of the image, as its build printed it; of one that was not built here, the engine's id of it. Without
            Docker, that of what the package is made of.
        before: what a rollback goes back to; None where there is nothing.
    """

    name: str
    traffic: int
    state: StateName
    reason: str
    image: str
    memory: int = 0
    cpus: float = 0.0
    restarts: int = 0
    created: str = ""
    digest: str = ""
    before: Before | None = None

    @property
    def shown(self) -> str:
        """What it runs, for people."""
        return named(self.image, self.digest)


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A service as it is; with several versions, what is not of all of them is of the one that gets most requests.

    Attributes:
        name: of the service.
        state: in the words of Azure ML; `Stopped` by `packager service stop`.
        reason: in a sentence; empty for a healthy one.
        image: reference of what it runs.
        url: its root, with a final `/`; empty where nothing is published.
        memory: limit in bytes; 0 for none.
        cpus: limit; 0 for none.
        restarts: how often the engine started it again.
        created: when its backend was made (RFC 3339).
        auth: `key` where its requests need one, else `none`.
        versions: of a service that has some.
        digest: of the image, as its build printed it; of one that was not built here, the engine's id of it. Without
            Docker, that of what the package is made of.
        before: what a rollback goes back to; None where there is nothing, or the versions have theirs.
    """

    name: str
    state: StateName
    reason: str
    image: str
    url: str
    memory: int = 0
    cpus: float = 0.0
    restarts: int = 0
    created: str = ""
    auth: Literal["none", "key"] = "none"
    versions: tuple[Version, ...] = ()
    digest: str = ""
    before: Before | None = None

    @property
    def shown(self) -> str:
        """What it runs, for people."""
        return named(self.image, self.digest)

    @property
    def well(self) -> bool:
        """It serves, or may be about to."""
        return self.state in ("Healthy", "Transitioning")

    @property
    def taken(self) -> bool:
        """Its name is no other's: it is well, or was stopped to be started again."""
        return self.well or self.state == "Stopped"

    @property
    def scoring_url(self) -> str:
        """Where requests are posted."""
        return urljoin(self.url, SCORE_PATH) if self.url else ""

    @property
    def swagger_url(self) -> str:
        """Where the description of the service is."""
        return urljoin(self.url, SWAGGER_PATH) if self.url else ""


def service_name(text: str) -> str:
    """Return a service's name, checked.

    Raises:
        UsageError: it cannot be one.
    """
    if not SERVICE_NAME.fullmatch(text):
        raise UsageError(
            f"{text!r} cannot be the name of a service", remedy="lower-case letters, digits and `-`, at most 40 of them"
        )
    return text


def nothing_before(name: str, version: str | None = None) -> ServiceError:
    """Return the error for a service, or a version of it, that was never updated, or whose last backend is gone."""
    which = f"{name} --version {version}" if version is not None else name
    return ServiceError(
        f"nothing is kept that {title_of(name, version)} ran before",
        remedy=f"an update keeps what it replaces; `packager service update {which} REF` runs another image",
    )


def title_of(name: str, version: str | None) -> str:
    """Return what a service, or a version of it, is called in messages."""
    return name if version is None else f"{name} ({version})"


def decide(
    forwarder: Seen | None, current: Seen | None, following: Seen | None, *, answers: bool, stopped: bool = False
) -> tuple[StateName, str]:
    """Return the state of a service, and why.

    Args:
        forwarder: owns the port; None where there is no such container.
        current: the backend.
        following: the backend that an update is starting.
        answers: `GET /` through the forwarder gave 200.
        stopped: somebody ended it by `service stop`.
    """
    if stopped and current is not None and not current.state.running:
        return "Stopped", "`packager service start` starts it again"
    if current is None:
        gone = "its container is gone"
        return ("Transitioning", "it is being replaced") if following is not None else ("Failed", gone)
    if current.error and current.status in ("created", "exited"):
        return "Unschedulable", f"the engine could not start it: {current.error}"
    again = f", started again {current.restarts} times" if current.restarts else ""
    # Not every engine counts what the kernel ended for its memory; the log tells of it everywhere.
    killed = not answers and dies_at_start(current.log)
    if not current.state.running or current.status == "restarting":
        late = current.state.exit_code == 0 and not current.state.out_of_memory and not current.kept
        if late and killed:
            return "Failed", f"{why_it_is_killed(current.state.memory)}; it was ended"
        return "Failed", "it did not become healthy and was ended" if late else why_it_ended(current.state) + again
    if forwarder is None or not forwarder.state.running:
        if forwarder is not None and forwarder.error:
            return "Unschedulable", f"the engine could not publish its port: {forwarder.error}"
        return "Failed", "the container that owns its port does not run"
    memory = "a process of it ran out of memory and was ended (exit code 137)" if current.state.out_of_memory else ""
    if killed:
        memory = why_it_is_killed(current.state.memory)
    if answers:
        return "Healthy", memory or ("an update is under way" if following is not None else "")
    if current.health == "healthy" and not memory:
        return "Healthy", "it is busy"
    if (
        current.status == "running"
        and current.health != "unhealthy"
        and current.age < STARTING
        and not (again or memory)
    ):
        return "Transitioning", "it does not answer yet"
    return "Unhealthy", (memory or f"it does not answer{' (paused)' if current.status == 'paused' else ''}") + again
