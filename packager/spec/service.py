"""The `service:` section of the spec: what the image's user wants where it runs. No image follows from it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from packager.spec.texts import DNS_LABEL, PATH, PRINTABLE

#: Processors: 0.5, or as Kubernetes has them, 500m.
Cpu = Annotated[float, Meta(gt=0, le=4096)] | Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,6}m(?!\n)$")]

#: The least that a kernel takes as a limit of processors: 1 ms of each 100.
LEAST_CPU = 0.01
#: The least that Docker takes as a limit.
LEAST_MEMORY = 6 << 20

#: `512Mi`, `2GiB`: binary; `2G`, `500MB`: decimal, as Kubernetes has them; `512m`, `2g`: Docker's, which are binary.
Memory = (
    Annotated[int, Meta(ge=LEAST_MEMORY, le=1 << 50)]
    | Annotated[str, Meta(pattern=r"^[0-9]{1,9}(?:\.[0-9]{1,6})? ?(?:[kKMGT]i?B?|[kmgt]b?)(?!\n)$")]
)

_MEMORY = re.compile(r"([0-9.]+) ?([kKMGTmgt])(i?)([Bb]?)")
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}

_Seconds = Annotated[float, Meta(gt=0, le=86400, description="Seconds.")]
_WholeSeconds = Annotated[int, Meta(ge=1, le=86400, description="Seconds.")]
_Times = Annotated[int, Meta(ge=1, le=1000)]
_DnsLabel = Annotated[
    str, Meta(pattern=DNS_LABEL, max_length=63, description="Lower-case letters, digits and `-`; starts with a letter.")
]


class _Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the parts of the section."""


class Replicas(_Struct, frozen=True):
    """How many replicas there are, by how busy they are.

    Attributes:
        min: the least.
        max: the most; by default, as many as the least.
        target: percent of their processors in use at which others are started.
    """

    min: Annotated[int, Meta(ge=1, le=10000)] = 1
    max: Annotated[int, Meta(ge=1, le=10000)] | None = None
    target: Annotated[int, Meta(ge=1, le=100)] | None = None


class Probes(_Struct, frozen=True):
    """When the service is asked for its health, and what its answers mean; what is left out has the image's value.

    Attributes:
        period: between two questions.
        initial_delay: until the first one counts; a start may take as long.
        timeout: for an answer.
        success_threshold: good answers after which one that was unwell is well.
        failure_threshold: bad answers after which it is unwell.
    """

    period: _WholeSeconds | None = None
    initial_delay: Annotated[int, Meta(ge=0, le=86400, description="Seconds.")] | None = None
    timeout: _WholeSeconds | None = None
    success_threshold: _Times | None = None
    failure_threshold: _Times | None = None


class Tls(_Struct, frozen=True):
    """How whoever stands in front of the service encrypts; files are never in an image.

    Attributes:
        cname: the name that the certificate is for.
        cert: file with the certificate, as PEM.
        key: file with its private key, as PEM.
    """

    cname: Annotated[str, Meta(pattern=PRINTABLE, min_length=1, max_length=253)] | None = None
    cert: Annotated[str, Meta(pattern=PATH, max_length=1024)] | None = None
    key: Annotated[str, Meta(pattern=PATH, max_length=1024)] | None = None


class ServiceWishes(_Struct, frozen=True):
    """What the service wants where it runs: `run`, `test` and `service` keep to it; their options go before it.

    Attributes:
        cpu: processors that it is sure to have (0.5, 500m); on this machine also the most, where no limit is given.
        memory: that it is sure to have (512Mi, 2GiB, 2GB); on this machine also the most, where no limit is given.
        gpu: how many GPUs each replica has.
        cpu_limit: the most processors.
        memory_limit: the most memory.
        replicas: how many run, or the least and the most of them; on this machine there is one.
        concurrency: requests that a replica scores at a time, each in a process of its own.
        max_queue_wait: the longest that a request waits for its turn; then it is answered 503, and not scored.
        probes: when it is asked for its health.
        scoring_timeout: until run() is interrupted and the answer is 500; before `server.scoring_timeout`.
        auth: `key` where requests need a key, `token` where clients get one that ends; keys are let in, too.
        tls: certificate and name, for what encrypts in front of it.
        namespace: of Kubernetes.
        dns_name: the first label of its public name.
    """

    cpu: Cpu | None = None
    memory: Memory | None = None
    gpu: Annotated[int, Meta(ge=0, le=64)] | None = None
    cpu_limit: Cpu | None = None
    memory_limit: Memory | None = None
    replicas: Annotated[int, Meta(ge=1, le=10000)] | Replicas | None = None
    concurrency: Annotated[int, Meta(ge=1, le=1024)] | None = None
    max_queue_wait: _Seconds | None = None
    probes: Probes = Probes()
    scoring_timeout: Annotated[float, Meta(ge=0.001, le=86000, description="Seconds.")] | None = None
    auth: Literal["none", "key", "token"] | None = None
    tls: Tls | None = None
    namespace: _DnsLabel | None = None
    dns_name: _DnsLabel | None = None

    @property
    def needs_key(self) -> bool:
        """Whether requests need a key here."""
        return self.auth in ("key", "token")

    @property
    def most_cpu(self) -> float | None:
        """The most processors, on one machine: the limit, or what is asked for, and no less than can be limited."""
        given = self.cpu_limit if self.cpu_limit is not None else self.cpu
        return None if given is None else max(cpu_of(given), LEAST_CPU)

    @property
    def most_memory(self) -> int | None:
        """The most memory in bytes: the limit, or what is asked for."""
        given = self.memory_limit if self.memory_limit is not None else self.memory
        return None if given is None else memory_of(given)


def cpu_of(value: float | str) -> float:
    """Return processors: `500m` is half of one."""
    return int(value[:-1]) / 1000 if isinstance(value, str) else float(value)


def memory_of(value: int | str) -> int:
    """Return bytes of memory; see `Memory` for the units."""
    if isinstance(value, int):
        return value
    found = _MEMORY.fullmatch(value)
    assert found is not None, "the spec's types admit no other"
    number, letter, binary, unit = found.groups()
    dockers = letter.islower() and unit != "B"
    return int(float(number) * (1024 if binary or dockers else 1000) ** _POWERS[letter.lower()])
