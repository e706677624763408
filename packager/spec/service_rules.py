"""What the types of the spec's `service:` section cannot say."""

from __future__ import annotations

from packager.errors import SpecError
from packager.spec import model as m
from packager.spec.document import Document
from packager.spec.service import LEAST_MEMORY, Replicas, ServiceWishes, cpu_of, memory_of


def check_service(spec: m.Spec, document: Document) -> None:
    """Refuse wishes that contradict each other, or the image.

    Raises:
        SpecError: the first thing found, with its file, line and field.
    """
    service = spec.service
    _check_limits(service, document)
    if isinstance(service.replicas, Replicas):
        _check_replicas(service.replicas, document)
    if service.auth == "none" and spec.server.auth == "key":
        raise SpecError(
            "the image asks for keys (`server.auth: key`), which nothing takes away where it runs",
            where=document.at("service.auth"),
            remedy="remove one of the two lines: `service.auth` alone leaves it to where it runs",
        )
    tls = service.tls
    if tls is not None and (tls.cert is None) != (tls.key is None):
        missing, given = ("key", "cert") if tls.key is None else ("cert", "key")
        raise SpecError(
            f"`tls.{given}` is of no use without `tls.{missing}`",
            where=document.at(f"service.tls.{given}"),
            remedy=f"add `{missing}:` with the path of its PEM file, or name neither",
        )


def _check_limits(service: ServiceWishes, document: Document) -> None:
    memories = {"memory": service.memory, "memory_limit": service.memory_limit}
    for field, memory in memories.items():
        if memory is not None and memory_of(memory) < LEAST_MEMORY:
            raise SpecError(
                f"{memory} is less memory than any container can have (6 MiB)",
                where=document.at(f"service.{field}"),
                remedy="such as 512Mi or 2GiB",
            )
    if service.cpu is not None and service.cpu_limit is not None:
        _check_pair("cpu", (service.cpu, cpu_of(service.cpu)), (service.cpu_limit, cpu_of(service.cpu_limit)), document)
    if service.memory is not None and service.memory_limit is not None:
        asked, limit = service.memory, service.memory_limit
        _check_pair("memory", (asked, memory_of(asked)), (limit, memory_of(limit)), document)


def _check_pair(
    field: str, asked: tuple[float | str, float], limit: tuple[float | str, float], document: Document
) -> None:
    """Refuse a limit below what is asked for; each as it is written, and as a number."""
    if limit[1] < asked[1]:
        raise SpecError(
            f"{field}_limit ({_shown(limit[0])}) is less than {field} ({_shown(asked[0])}), which it is to be sure of",
            where=document.at(f"service.{field}_limit"),
            remedy=f"raise `{field}_limit`, or lower `{field}`",
        )


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _check_replicas(replicas: Replicas, document: Document) -> None:
    if replicas.max is not None and replicas.max < replicas.min:
        raise SpecError(
            f"at most {replicas.max} replicas are less than at least {replicas.min}",
            where=document.at("service.replicas.max"),
            remedy="raise `max`, or lower `min`",
        )
    if replicas.target is not None and (replicas.max is None or replicas.max == replicas.min):
        raise SpecError(
            "there is nothing that `target` could decide: the number of replicas is fixed",
            where=document.at("service.replicas.target"),
            remedy="add a `max` above `min`, or remove `target`",
        )
