"""The versions of a service as values: their names, and the share of its requests that each one gets. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from packager.errors import ServiceError, UsageError
from packager.serving.status import SERVICE_NAME, StateName, Status, Version

#: Header that asks for a version, and says which one has answered; as in `packager/programs/service/versions.py`.
VERSION_HEADER = "azureml-model-deployment"

#: What runs in a service that was deployed without a version is called so once there is another one.
DEFAULT = "default"

#: The least that the name of a service and that of a version may have together: `packager_NAME_VERSION_current` is a
#: label of the engine's DNS, which holds 63 characters.
LONGEST = 45

ALL = 100

_SHARE = re.compile(r"([^=]+)=(\d{1,3})%?")

#: Of a service, the state of the version that is worst off; the first here is the worst.
_WORST: tuple[StateName, ...] = ("Stopped", "Failed", "Unschedulable", "Unhealthy", "Transitioning", "Healthy")


def version_name(text: str, service: str) -> str:
    """Return a version's name, checked.

    Args:
        text: the name.
        service: name of its service.

    Raises:
        UsageError: it cannot be one.
    """
    if not SERVICE_NAME.fullmatch(text):
        raise UsageError(f"{text!r} cannot be the name of a version", remedy="lower-case letters, digits and `-`")
    if len(text) + len(service) > LONGEST:
        raise UsageError(
            f"the names {service!r} and {text!r} have more than {LONGEST} characters together", remedy="shorten one"
        )
    return text


def parse_shares(words: Iterable[str]) -> dict[str, int]:
    """Return the shares that `a=90 b=10` says, in percent.

    Raises:
        UsageError: they are not of that form, name a version twice, or do not sum to 100.
    """
    shares: dict[str, int] = {}
    for word in words:
        match = _SHARE.fullmatch(word)
        if match is None:
            raise UsageError(f"{word!r} is no share", remedy="VERSION=PERCENT, with a whole number: a=90 b=10")
        if match[1] in shares:
            raise UsageError(f"the version {match[1]!r} is named twice", remedy="once is enough")
        shares[match[1]] = int(match[2])
    return checked(shares)


def checked(shares: Mapping[str, int]) -> dict[str, int]:
    """Return shares of requests.

    Raises:
        UsageError: they do not sum to 100, or one is below 0.
    """
    said = " + ".join(str(share) for share in shares.values())
    if any(share < 0 for share in shares.values()):
        raise UsageError("a share is below 0 %", remedy="0 to 100")
    if sum(shares.values()) != ALL:
        total = sum(shares.values())
        raise UsageError(f"the shares sum to {total} %, not to 100 % ({said})", remedy="such as a=90 b=10")
    return dict(shares)


def with_share(shares: Mapping[str, int], version: str, share: int) -> dict[str, int]:
    """Return the shares after one version got another one: the others keep their proportions, in whole numbers.

    Args:
        shares: before; the version need not be among them.
        version: that gets the share.
        share: in percent.

    Raises:
        UsageError: it is none, or there is no other version to take what is left.
    """
    if not 0 <= share <= ALL:
        raise UsageError(f"--traffic {share} is no share", remedy="0 to 100, in percent")
    others = {name: each for name, each in shares.items() if name != version}
    left, before = ALL - share, sum(others.values())
    if left and not others:
        raise UsageError(
            f"{version} is the only version, and {share} % of the requests leave {left} % to nobody",
            remedy="leave --traffic out: it gets all",
        )
    if left and not before:
        raise UsageError(f"nobody gets the other {left} %: no other version has a share", remedy="`service traffic`")
    exact = {name: left * each / before if before else 0.0 for name, each in others.items()}
    whole = {name: int(each) for name, each in exact.items()}
    # What rounding left goes to those that lost most by it.
    late = sorted(exact, key=lambda name: whole[name] - exact[name])
    for name in late[: left - sum(whole.values())]:
        whole[name] += 1
    return {name: share if name == version else whole[name] for name in dict.fromkeys((*shares, version))}


def table_of(shares: Mapping[str, int], backend_of: Callable[[str], str]) -> bytes:
    """Return the forwarder's table (`packager/programs/service/versions.py`); an empty one for a lone `default`.

    Args:
        shares: in percent.
        backend_of: how the forwarder finds the backend of a version.
    """
    rows = [{"name": name, "backend": backend_of(name), "percent": share} for name, share in shares.items()]
    return json.dumps([] if set(shares) == {DEFAULT} else rows).encode()


def shares_of(table: bytes) -> dict[str, int]:
    """Return the shares that a forwarder's table has; none where the service has no versions.

    Raises:
        ServiceError: it cannot be read.
    """
    try:
        return {str(row["name"]): int(row["percent"]) for row in json.loads(table)}
    except (ValueError, KeyError, TypeError):
        raise ServiceError("what is remembered of the versions cannot be read", remedy="deploy it again") from None


def taken_over(answer: Mapping[str, Any], shares: Mapping[str, int]) -> bool:
    """Return whether a forwarder's answer says that it has these shares."""
    return answer.get("traffic") == ({"": ALL} if set(shares) == {DEFAULT} else dict(shares))


def address_in(answer: Mapping[str, Any], version: str | None) -> Any:
    """Return where a forwarder's answer says that a version is; None for the one backend of a service without."""
    return answer.get("address") if version is None else answer.get("addresses", {}).get(version)


def in_flight(answer: Mapping[str, Any]) -> int:
    """Return how many requests a forwarder's answer has in flight to others than the current backends."""
    here = {answer.get("address"), *answer.get("addresses", {}).values()}
    return sum(count for address, count in answer.get("in_flight", {}).items() if address not in here)


def with_version(found: Iterable[Status], version: str) -> tuple[Status, ...]:
    """Return the services that have a version of this name, each with that version alone."""
    alone = ((each, tuple(one for one in each.versions if one.name == version)) for each in found)
    return tuple(msgspec.structs.replace(each, versions=versions) for each, versions in alone if versions)


def combined(name: str, shares: Mapping[str, int], statuses: Mapping[str, Status]) -> Status:
    """Return a service with several versions as it is: as well as the worst of those that get requests.

    Args:
        name: of the service.
        shares: in percent; at least one is above 0.
        statuses: of each version, as if it were all of the service.
    """
    asked = [each for each in shares if shares[each]] or list(shares)
    worst = min(asked, key=lambda each: _WORST.index(statuses[each].state))
    main = statuses[max(asked, key=lambda each: shares[each])]
    state, reason = statuses[worst].state, statuses[worst].reason
    versions = tuple(
        Version(
            name=each,
            traffic=share,
            state=statuses[each].state,
            reason=statuses[each].reason,
            image=statuses[each].image,
            memory=statuses[each].memory,
            cpus=statuses[each].cpus,
            restarts=statuses[each].restarts,
            created=statuses[each].created,
            digest=statuses[each].digest,
            before=statuses[each].before,
        )
        for each, share in shares.items()
    )
    return Status(
        name=name,
        state=state,
        reason=f"version {worst}: {reason}" if reason and state != "Stopped" else reason,
        image=main.image,
        url=main.url,
        memory=main.memory,
        cpus=main.cpus,
        restarts=sum(each.restarts for each in statuses.values()),
        created=main.created,
        digest=main.digest,
        auth="key" if any(each.auth == "key" for each in statuses.values()) else "none",
        versions=versions,
    )
