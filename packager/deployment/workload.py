"""What a platform is told: one image, by digest, with what it wants where it runs."""

from __future__ import annotations

from typing import Protocol

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


class Platform(Protocol):
    """Turns workloads into files. Pure."""

    def render(self, workload: Workload, wishes: Wishes) -> Rendering:
        """Return the files.

        Raises:
            UsageError: it cannot be run there at all (GPUs where there are none, a name that is too long).
        """
        ...
