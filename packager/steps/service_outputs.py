"""What `run`, `test`, `score` and the verbs of services print with `--format json`; see `packager.steps.outputs`."""

from __future__ import annotations

from typing import Any

import msgspec

from packager.steps.output import Output


class Urls(Output, frozen=True):
    """Where a service is; empty where nothing is published.

    Attributes:
        root: with a final `/`.
        score: where requests are posted.
        swagger: its description.
    """

    root: str
    score: str
    swagger: str


class Running(Output, frozen=True):
    """A container, or a process without Docker, that was started.

    Attributes:
        container: id of the container.
        name: of the container.
        urls: where it is reached.
    """

    container: str
    name: str
    urls: Urls


class ServedBefore(Output, frozen=True):
    """What a service ran before its last update.

    Attributes:
        image: that it ran.
        digest: of it, as of a service.
        created: when its container was made, RFC 3339.
    """

    image: str
    digest: str
    created: str


class ServiceVersion(Output, frozen=True):
    """One of several versions of a service.

    Attributes:
        name: of the version.
        traffic: share of the requests, in percent.
        state: as of a service.
        reason: in a sentence; empty for a healthy one.
        image: that it runs.
        memory: limit in bytes; 0 for none.
        cpus: limit; 0 for none.
        restarts: how often it was started again.
        created: when its container was made, RFC 3339.
        digest: as of a service.
        before: what a rollback of it goes back to; null where there is nothing.
    """

    name: str
    traffic: int
    state: str
    reason: str
    image: str
    memory: int
    cpus: float
    restarts: int
    created: str
    digest: str
    before: ServedBefore | None


class Service(Output, frozen=True):
    """A named service; with versions, what is not of all of them is of the one that gets most requests.

    Attributes:
        name: of the service.
        state: in the words of Azure ML.
        reason: in a sentence; empty for a healthy one.
        image: that it runs.
        urls: where it is reached.
        memory: limit in bytes; 0 for none.
        cpus: limit; 0 for none.
        restarts: how often it was started again.
        created: when its container was made, RFC 3339.
        auth: `key` where requests need one, else `none`.
        versions: where it has some, those behind its one address.
        digest: of the image, as `packager build` printed it; of one that was not built here, the engine's id of it.
            Without Docker, that of what it is made of.
        before: what a rollback goes back to; null where there is nothing, or the versions have theirs.
        log: last lines, of `service show`.
    """

    name: str
    state: str
    reason: str
    image: str
    urls: Urls
    memory: int
    cpus: float
    restarts: int
    created: str
    auth: str
    versions: tuple[ServiceVersion, ...]
    digest: str
    before: ServedBefore | None
    log: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class DeployedModels(Service, frozen=True, kw_only=True):
    """A named service that was deployed from models and files of Azure ML v1.

    Attributes:
        compute: Local, ACI or AKS: what this machine is to it.
        target: name of the compute target; empty where none was named.
        models: `name:version`, or names of unregistered ones.
    """

    compute: str
    target: str
    models: tuple[str, ...]


class PackagedModels(Output, frozen=True):
    """What `model package` made.

    Attributes:
        image: its reference; null where a build context was written.
        output: folder of the build context; null where an image was built.
        models: `name:version`, or names of unregistered ones.
        folder: of the package that it was made of, with its packager.yaml and lock.
    """

    image: str | None
    output: str | None
    models: tuple[str, ...]
    folder: str


class AccessToken(Output, frozen=True):
    """A token for requests to a service.

    Attributes:
        access_token: it.
        token_type: Bearer.
        refresh_after: when another one is to be asked for (RFC 3339).
        expires: when it ends (RFC 3339); it ends earlier when the primary key is made new.
    """

    access_token: str
    token_type: str
    refresh_after: str
    expires: str


class Keys(Output, frozen=True):
    """The keys of a service.

    Attributes:
        primary: the one.
        secondary: the other.
    """

    primary: str
    secondary: str


class Test(Output, frozen=True):
    """A test of the spec.

    Attributes:
        name: of the test.
        passed: the answer is as expected.
        seconds: until the answer.
        latency: how often it was asked, and min, median, p95 and max in seconds; null where it was asked once.
        differences: from what was expected.
    """

    name: str
    passed: bool
    seconds: float
    latency: dict[str, float] | None
    differences: tuple[str, ...]


class Tested(Output, frozen=True):
    """What an image answered.

    Attributes:
        image: reference.
        target: deployment flavour.
        platform: OCI os/arch.
        passed: all tests did.
        start_seconds: until it was healthy.
        failure: why it did not start; empty where it did.
        log: its last lines, where something failed.
        tests: each with its outcome.
    """

    image: str
    target: str
    platform: str
    passed: bool
    start_seconds: float
    failure: str
    log: tuple[str, ...]
    tests: tuple[Test, ...]


class Answered(Output, frozen=True):
    """What a service answered.

    Attributes:
        url: that was asked.
        status: of HTTP.
        content_type: of the body.
        bytes: of the body.
        body: JSON as it is, or a text; not there where it is neither.
        base64: the body, where it is no text.
    """

    url: str
    status: int
    content_type: str
    bytes: int
    body: Any = msgspec.UNSET
    base64: str | msgspec.UnsetType = msgspec.UNSET
