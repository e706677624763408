"""What a platform is told: one image, by digest, with what it wants where it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from packager.serving.example import Example
from packager.spec.service import ServiceWishes


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is not in the image, and mounted where the script looks for it.

    Attributes:
        name: of the registered model.
        version: of it.
        digest: of its content.
        path: folder in the container.
        image: that holds its files at the root, for platforms that mount images; empty where nobody named one.
    """

    name: str
    version: int
    digest: str
    path: str
    image: str = ""


class Toleration(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps other work away from a kind of node, and lets this one in.

    Attributes:
        key: of the taint.
        operator: `Exists`, or `Equal` with a value.
        value: of the taint.
        effect: of the taint; every one where empty.
    """

    key: str
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """One image as a service of a platform.

    Attributes:
        name: of the service, a DNS label.
        package: name of the package.
        version: of the package.
        target: that it was built for.
        image: `REPOSITORY[:TAG]@sha256:…`; an id (`sha256:…`) where only this machine's engine has it.
        local: only this machine's engine has the image.
        platform: OCI os/arch.
        port: that the image listens on.
        user: number that it runs as.
        needs_key: requests need a key, whose file is mounted at `KEYS_MOUNT`.
        env: variables beside the image's own (they put `service` in force).
        service: what the spec asks for.
        scoring_timeout: seconds until run() is interrupted; None for no limit.
        workers: processes that score.
        gpus: as the image's label has it: empty for none, `all`, or a number.
        devices: patterns of device files that it needs.
        volumes: models that are mounted.
        sample: a request that it takes; None where none is known.
        grace: seconds that it may take to end: requests in flight, however long they may be scored, are finished.
        ready_in: seconds that a start may take.
        device_resource: what a cluster calls the GPUs or devices (`nvidia.com/gpu`); empty where none are needed.
        tolerations: of the nodes that have them.
        host: name (`xrt`) → version that the machine must have.
        platforms: all that the image has builds for; `platform` alone where empty.
    """

    name: str
    package: str
    version: str
    target: str
    image: str
    local: bool = False
    platform: str
    port: int
    user: int
    needs_key: bool = False
    env: dict[str, str] = {}
    service: ServiceWishes = ServiceWishes()
    scoring_timeout: float | None = None
    workers: int = 1
    gpus: str = ""
    devices: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = ()
    sample: Example | None = None
    grace: int = 30
    ready_in: int = 120
    device_resource: str = ""
    tolerations: tuple[Toleration, ...] = ()
    host: dict[str, str] = {}
    platforms: tuple[str, ...] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a platform.

    Attributes:
        path: below the output folder.
        text: UTF-8, ending in a newline.
    """

    path: str
    text: str


class Rendering(msgspec.Struct, frozen=True, kw_only=True):
    """What a platform makes of a workload.

    Attributes:
        manifests: the files, in a stable order.
        unmet: what `service:` asks for and this platform has not, a sentence each.
        secrets: commands that make what no file may hold (keys, certificates), each to be run once.
        apply: the command that applies the files, to be run in their folder.
    """

    manifests: tuple[Manifest, ...]
    unmet: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    apply: str = ""


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for beside the spec.

    Attributes:
        namespace: of Kubernetes; the spec's, or `default`, where empty.
        flavor: of Kubernetes: empty for Deployments, or `kserve`.
        kubernetes: version whose schemas are kept to (`1.34`); decides whether images can be volumes.
        host: name under which the service is reached from outside; the spec's `tls.cname` where empty.
        route: `ingress` or `gateway` where it is to be reached from outside; empty for neither.
        gateway: name of the Gateway, as NAMESPACE/NAME, for a route of that kind.
        canary: another image of the package, by digest, that gets a part of the requests; empty for none.
        canary_percent: of the requests that the other image gets.
        location: of Azure.
        publish: port of the machine (compose, quadlet); the image's own where None.
        ingress_class: of Kubernetes' Ingress; the cluster's default where empty.
        pull_secret: name of the Secret by which a cluster pulls the image; empty for none.
    """

    namespace: str = ""
    flavor: str = ""
    kubernetes: str = ""
    host: str = ""
    route: str = ""
    gateway: str = ""
    canary: str = ""
    canary_percent: int = 10
    location: str = ""
    publish: int | None = None
    ingress_class: str = ""
    pull_secret: str = ""


class Platform(Protocol):
    """Turns workloads into files. Pure."""

    def render(self, workload: Workload, wishes: Wishes) -> Rendering:
        """Return the files.

        Raises:
            UsageError: it cannot be run there at all (GPUs where there are none, a name that is too long).
        """
        ...


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a platform that were written, to be put into force.

    Attributes:
        platform: its name.
        folder: of the files, absolute.
        files: paths below the folder, in their order; of those that people edited, too.
        workload: that they are of.
        wishes: that they were made with.
        rendering: what the platform made of them; the texts in the folder are what counts.
    """

    platform: str
    folder: Path
    files: tuple[str, ...]
    workload: Workload
    wishes: Wishes
    rendering: Rendering


class Operator(Protocol):
    """Puts files into force by the platform's own client; found by `deployment.apply.operators.operator(platform)`."""

    def apply(self, release: Release, say: Callable[[str], None]) -> None:
        """Look at what is there, name context, namespace and ports, and only then apply the files.

        Raises:
            EngineError: the client is missing or too old, or what it speaks to does not answer or refuses.
            UsageError: keys, a namespace or a free port are missing.
            TemporaryError: it failed in a way that may pass.
        """
        ...

    def wait(self, release: Release, timeout: float, say: Callable[[str], None]) -> str:
        """Wait until it is healthy, send the sample where there is one, and return how it is reached (a URL).

        Raises:
            ServiceError: it does not become healthy in so many seconds, with the reason and the last lines of its log;
                or it answers the sample wrongly.
        """
        ...

    def rollback(self, release: Release, say: Callable[[str], None]) -> None:
        """Put files into force that name the image of before again, after what came later was not healthy.

        Raises:
            As `apply`.
        """
        ...
