"""The name of a service: what follows from a package's, and what each platform takes. Pure.

Sources: the Compose specification ("name", "services"); podman-run(1); Azure, "Naming rules and restrictions" (of
Microsoft.ContainerInstance); IoT Hub, "Device twins" (names of properties). Kubernetes has its own in
`kubernetes/names.py`.
"""

from __future__ import annotations

import re

from packager.errors import UsageError

#: The longest label of DNS, by which others on the platform find it.
LONGEST = 63

_PLATFORMS = {
    "compose": (re.compile(r"[a-z0-9][a-z0-9._-]*"), "lower-case letters, digits, `.`, `_` and `-`"),
    "quadlet": (re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*"), "letters, digits, `.`, `_` and `-`"),
    "aci": (re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"), "lower-case letters, digits, and `-` between them"),
    "iot-edge": (re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*"), "letters, digits, `_` and `-`"),
}


def service_name_of(package: str) -> str:
    """Return the name that the service of a package has where nobody names it: one that every platform takes.

    Args:
        package: its name, which may have `.` and `_`, start with a digit, and be longer than a label of DNS.
    """
    name = re.sub(r"[^a-z0-9]+", "-", package.lower()).strip("-")
    return (name if name[:1].isalpha() else f"service-{name}")[:LONGEST].rstrip("-")


def require_service_name(platform: str, name: str) -> None:
    """Refuse a name that a platform would refuse, or take for another, with the whole of its files.

    Args:
        platform: its name; one that is not known here looks at names by itself.
        name: of the service.

    Raises:
        UsageError: it does not take it.
    """
    pattern, words = _PLATFORMS.get(platform, (None, ""))
    if pattern is None or (pattern.fullmatch(name) is not None and len(name) <= LONGEST):
        return
    raise UsageError(
        f"{name!r} cannot be the name of a service there: {words}, {LONGEST} of them at most",
        remedy=f"--name {service_name_of(name)}",
    )
