"""What Kubernetes takes for names, labels, quantities and versions. Pure.

Sources: kubernetes.io, "Object Names and IDs", "Labels and Selectors", "Resource Management for Pods and Containers".
"""

from __future__ import annotations

import re

from packager.errors import UsageError

#: The longest name of a Service, which is a label of DNS.
LONGEST = 63
#: What is put behind a workload's name for the other of two images.
CANARY = "-canary"

_LABEL = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?")
_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_HOST = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
#: A name that may have dots, as those of Secrets and of classes of an Ingress.
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_RESOURCE = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"v?1\.([0-9]{1,3})(?:\.[0-9]+)?")
_UNITS = ((1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki"))


def service_name(name: str, *, canary: bool = False) -> str:
    """Return a name, checked.

    Args:
        name: of the Deployment and the Service.
        canary: there is a second one with `CANARY` behind it.

    Raises:
        UsageError: Kubernetes would refuse it.
    """
    longest = LONGEST - (len(CANARY) if canary else 0)
    if _LABEL.fullmatch(name) is None:
        own = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-").lstrip("0123456789-")
        raise UsageError(
            f"{name!r} cannot be the name of a Service: lower-case letters, digits and `-`, with a letter first",
            remedy=f"--name {own[:longest].rstrip('-')}" if own else "give it another: --name NAME",
        )
    if len(name) > longest:
        raise UsageError(
            f"{name!r} has {len(name)} characters, and a Service's name{' with its canary' if canary else ''} may have "
            f"{longest}",
            remedy="give it a shorter one: --name NAME",
        )
    return name


def namespace(name: str) -> str:
    """Return the name of a namespace, checked.

    Raises:
        UsageError: Kubernetes would refuse it.
    """
    if _LABEL.fullmatch(name) is None or len(name) > LONGEST:
        raise UsageError(
            f"{name!r} cannot be the name of a namespace",
            remedy=f"lower-case letters, digits and `-`, with a letter first; at most {LONGEST}",
        )
    return name


def label_value(value: str, what: str) -> str:
    """Return the value of a label, checked.

    Args:
        value: of the label.
        what: it is, for the error.

    Raises:
        UsageError: Kubernetes would refuse it.
    """
    if _VALUE.fullmatch(value) is None or len(value) > LONGEST:
        raise UsageError(
            f"the {what} {value!r} cannot be a label of Kubernetes: letters, digits, `.`, `_` and `-`, a letter or "
            f"digit at both ends, and at most {LONGEST} of them",
            remedy=f"give the package another {what}",
        )
    return value


def host_name(name: str) -> str:
    """Return a host's name, checked.

    Raises:
        UsageError: it is none.
    """
    if _HOST.fullmatch(name) is None or len(name) > 253:
        raise UsageError(f"{name!r} is no name of a host", remedy="--host churn.example.com")
    return name


def object_name(name: str, option: str) -> str:
    """Return the name of an object that is there already, checked.

    Args:
        name: of it.
        option: that names it, for the error.

    Raises:
        UsageError: Kubernetes has none of that name.
    """
    if _SUBDOMAIN.fullmatch(name) is None or len(name) > 253:
        raise UsageError(f"{option} {name!r} is no name of an object of Kubernetes", remedy="as `kubectl get` lists it")
    return name


def gateway(text: str) -> tuple[str, str]:
    """Return namespace and name of a Gateway.

    Raises:
        UsageError: the text is not NAMESPACE/NAME.
    """
    space, slash, name = text.partition("/")
    if not slash or not space or not name:
        raise UsageError(f"--gateway {text!r} is not NAMESPACE/NAME", remedy="`kubectl get gateways -A` lists them")
    return namespace(space), object_name(name, "--gateway")


def device_resource(name: str) -> str:
    """Return the name of what a device plugin gives, checked.

    Raises:
        UsageError: it is none.
    """
    if _RESOURCE.fullmatch(name) is None or len(name.partition("/")[2]) > LONGEST:
        raise UsageError(f"{name!r} is no resource of a device plugin", remedy="such as nvidia.com/gpu")
    return name


def minor_version(text: str) -> int:
    """Return the minor version of Kubernetes: 34 for `1.34`, `v1.34.2`.

    Raises:
        UsageError: it is no version, or one before 1.25.
    """
    found = _VERSION.fullmatch(text)
    if found is None or int(found[1]) < OLDEST:
        raise UsageError(f"{text!r} is no version of Kubernetes from 1.{OLDEST} on", remedy="such as 1.34")
    return int(found[1])


#: The first version whose objects are the ones that are written (`policy/v1`, `autoscaling/v2`, `batch/v1`).
OLDEST = 25


def memory_quantity(size: int) -> str:
    """Return bytes as Kubernetes writes them, in the largest unit that holds them without a rest."""
    return next((f"{size // unit}{name}" for unit, name in _UNITS if size % unit == 0), str(size))


def cpu_quantity(processors: float) -> str:
    """Return processors as Kubernetes writes them: `2`, `500m`; to the thousandth, and never more than were asked.

    Raises:
        UsageError: it is less than Kubernetes can give.
    """
    thousandths = round(processors * 1000)
    if thousandths < 1:
        raise UsageError(
            f"{processors:g} processors are less than Kubernetes can give (0.001)", remedy="raise `service: {cpu: …}`"
        )
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"
