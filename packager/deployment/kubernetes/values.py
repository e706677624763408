"""A workload in Kubernetes' words, as the templates of `templates/deploy/kubernetes` read it. Pure."""

from __future__ import annotations

import math

import msgspec

from packager.contract import HEALTH_PATH
from packager.deployment.kubernetes.names import cpu_quantity, device_resource, memory_quantity, minor_version
from packager.deployment.workload import Toleration, Volume, Wishes, Workload
from packager.errors import UsageError
from packager.reference import Reference
from packager.spec.service import Probes, Replicas, ServiceWishes, cpu_of, memory_of

#: What Azure ML v1 gave a service on AKS that asked for nothing.
LEAST_CPU, LEAST_MEMORY = 0.1, 512 << 20
#: Percent of the processors at which v1 started others.
UTILISATION = 70
#: Seconds between a pod's end being decided and the server being told: as long as some nodes may still send to it.
DRAIN = 5
#: The first minor version in which an image can be a volume without a feature gate.
IMAGE_VOLUMES = 36
#: What a cluster has where nobody says which version it is.
NEWEST = IMAGE_VOLUMES

_ARCHITECTURES = {
    "amd64": "amd64",
    "arm64": "arm64",
    "arm": "arm",
    "386": "386",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """What the container is sure to have, and the most; empty where there is no limit."""

    cpu: str
    memory: str
    cpu_limit: str = ""
    memory_limit: str = ""
    devices: dict[str, int] = {}


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """When the service is asked for its health, in seconds, and what its answers mean."""

    period: int
    timeout: int
    failures: int
    successes: int = 1


class Mounted(msgspec.Struct, frozen=True, kw_only=True):
    """A model beside the image.

    Attributes:
        volume: name of the pod's volume.
        title: `name:version`.
        digest: of its content.
        path: folder in the container.
        image: with its files.
    """

    volume: str
    title: str
    digest: str
    path: str
    image: str


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """A Deployment with its pods.

    Attributes:
        name: of it.
        part_of: name of the service that it is a part of.
        image: by digest, without its tag, which not every runtime takes beside one.
        version: of the package.
        replicas: how many; None where an autoscaler decides.
        architectures: of the nodes that it can run on.
        resources: of the container.
        devices_for_all: the image takes all GPUs that a machine has, and the spec does not say how many that are.
        startup, readiness, liveness: probes.
        probe_path: that they ask.
        drain: seconds before the server is told to end.
        grace: seconds from then on until it is killed, with those before.
        deadline: seconds until a rollout counts as failed.
        models: beside the image.
        fetches: an init container fetches them, as the cluster is too old to mount an image.
        fetcher: name of the ConfigMap with the program that does.
    """

    name: str
    part_of: str
    namespace: str
    image: str
    version: str
    replicas: int | None
    architectures: tuple[str, ...]
    user: int
    port: int
    env: dict[str, str]
    keys: str
    pull_secret: str
    resources: Resources
    devices_for_all: bool
    tolerations: tuple[Toleration, ...]
    host: dict[str, str]
    startup: Probe
    readiness: Probe
    liveness: Probe
    probe_path: str
    drain: int
    grace: int
    deadline: int
    models: tuple[Mounted, ...]
    fetches: bool
    fetcher: str


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """How many replicas there are: `least` to `most` by the percent of their processors in use."""

    least: int
    most: int
    utilisation: int

    @property
    def varies(self) -> bool:
        """Whether there is anything to decide."""
        return self.most > self.least


def scaling_of(service: ServiceWishes) -> Scaling:
    """Return how many replicas are asked for; one where nobody says."""
    wanted = service.replicas
    if isinstance(wanted, Replicas):
        return Scaling(least=wanted.min, most=wanted.max or wanted.min, utilisation=wanted.target or UTILISATION)
    return Scaling(least=wanted or 1, most=wanted or 1, utilisation=UTILISATION)


def resources_of(workload: Workload) -> Resources:
    """Return what the container gets.

    Raises:
        UsageError: no node can give that, or it needs devices and nobody says what the cluster calls them.
    """
    service = workload.service
    cpu = LEAST_CPU if service.cpu is None else cpu_of(service.cpu)
    memory = LEAST_MEMORY if service.memory is None else memory_of(service.memory)
    cpu_limit = None if service.cpu_limit is None else cpu_of(service.cpu_limit)
    memory_limit = service.most_memory
    if service.cpu is None and cpu_limit is not None:
        cpu = min(cpu, cpu_limit)
    if service.memory is None and memory_limit is not None:
        memory = min(memory, memory_limit)
    for what, asked, limit in (("cpu", cpu, cpu_limit), ("memory", memory, memory_limit)):
        if limit is not None and limit < asked:
            raise UsageError(
                f"{what}_limit ({limit:g}) is less than {what} ({asked:g}): no node can give that",
                remedy=f"raise `service: {{{what}_limit: …}}`, or lower `{what}`",
            )
    return Resources(
        cpu=cpu_quantity(cpu),
        memory=memory_quantity(memory),
        cpu_limit="" if cpu_limit is None else cpu_quantity(cpu_limit),
        memory_limit="" if memory_limit is None else memory_quantity(memory_limit),
        devices=_devices(workload),
    )


def _devices(workload: Workload) -> dict[str, int]:
    if workload.service.gpu is not None:
        number = workload.service.gpu
    elif workload.gpus:
        number = int(workload.gpus) if workload.gpus.isdecimal() else 1
    else:
        number = 1 if workload.devices else 0
    if not number:
        return {}
    if not workload.device_resource:
        raise UsageError(
            f"it needs {', '.join(workload.devices) or 'GPUs'}, and the target {workload.target!r} does not say what a "
            "cluster calls them",
            remedy="name the resource of its device plugin: --device-resource "
            f"{'xilinx.com/fpga-SHELL-TIMESTAMP' if workload.devices else 'nvidia.com/gpu'} "
            "(`kubectl describe nodes` lists it under Allocatable)",
        )
    return {device_resource(workload.device_resource): number}


def probes_of(probes: Probes, ready_in: int) -> tuple[Probe, Probe, Probe]:
    """Return the probes of start, readiness and liveness.

    Args:
        probes: as they are asked for; else those that v1 had.
        ready_in: seconds that a start may take.
    """
    period, timeout, failures = probes.period or 10, probes.timeout or 5, probes.failure_threshold
    startup = Probe(period=min(period, 5), timeout=timeout, failures=math.ceil(ready_in / min(period, 5)))
    # Of the others, Kubernetes takes no more than one good answer.
    successes = probes.success_threshold or 1
    readiness = Probe(period=period, timeout=timeout, failures=failures or 3, successes=successes)
    # One that does not answer gets no requests first, and is only restarted when that has not helped.
    liveness = Probe(period=period, timeout=timeout, failures=failures or 6)
    return startup, readiness, liveness


def models_of(volumes: tuple[Volume, ...]) -> tuple[Mounted, ...]:
    """Return the models that are mounted.

    Raises:
        UsageError: nobody says which image has one, or it has no digest.
    """
    for each in volumes:
        if "@sha256:" not in each.image:
            raise UsageError(
                f"the model {each.name}:{each.version} is not in the image, and "
                + (f"{each.image} has no digest" if each.image else "no image is named that has its files"),
                remedy=f"make one: packager model push {each.name}:{each.version} REGISTRY/MODELS/{each.name.lower()}:"
                f"{each.version} --as image, and name it: --model-image {each.name}=REFERENCE",
            )
    return tuple(
        Mounted(
            volume=f"model-{index}",
            title=f"{each.name}:{each.version}",
            digest=each.digest,
            path=each.path,
            image=pinned(each.image),
        )
        for index, each in enumerate(volumes, 1)
    )


def pinned(image: str) -> str:
    """Return a reference by digest alone: beside one, a tag says nothing, and not every runtime takes both."""
    reference = Reference.parse(image)
    return f"{reference.name}@{reference.digest}"


def architectures_of(workload: Workload) -> tuple[str, ...]:
    """Return the values of `kubernetes.io/arch` on the nodes that can run the image, sorted.

    Raises:
        UsageError: no node of Linux is of its platform.
    """
    found = set()
    for platform in workload.platforms or (workload.platform,):
        system, _, architecture = platform.partition("/")
        name = _ARCHITECTURES.get(architecture.partition("/")[0])
        if system != "linux" or name is None:
            raise UsageError(
                f"the image is for {platform}, which no node of Linux is of", remedy="choose another target"
            )
        found.add(name)
    return tuple(sorted(found))


def pod_of(workload: Workload, wishes: Wishes, *, namespace: str) -> Pod:
    """Return the pods of a workload.

    Raises:
        UsageError: see `resources_of`, `models_of`, `architectures_of`.
    """
    scaling, version = scaling_of(workload.service), minor_version(wishes.kubernetes or f"1.{NEWEST}")
    startup, readiness, liveness = probes_of(workload.service.probes, workload.ready_in)
    models = models_of(workload.volumes)
    return Pod(
        name=workload.name,
        part_of=workload.name,
        namespace=namespace,
        image=pinned(workload.image),
        version=workload.version,
        replicas=None if scaling.varies else scaling.least,
        architectures=architectures_of(workload),
        user=workload.user,
        port=workload.port,
        env=workload.env,
        keys=f"{workload.name}-keys" if workload.needs_key else "",
        pull_secret=wishes.pull_secret,
        resources=resources_of(workload),
        devices_for_all=workload.service.gpu is None and workload.gpus == "all",
        tolerations=workload.tolerations if workload.device_resource else (),
        host=workload.host,
        startup=startup,
        readiness=readiness,
        liveness=liveness,
        probe_path=HEALTH_PATH,
        drain=DRAIN,
        grace=workload.grace + DRAIN,
        deadline=max(600, workload.ready_in + 300),
        models=models,
        fetches=bool(models) and version < IMAGE_VOLUMES,
        fetcher=f"{workload.name}-model-fetcher",
    )
