"""Mirrors of channels: how the machine names them, and what is fetched from in place of channels. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from packager.environments.channel_credentials import redact, without_credentials
from packager.errors import UsageError

#: The machine's mirrors: `CHANNEL=URL`, several with commas; as PACKAGER_REGISTRY_MIRROR.
VARIABLE = "PACKAGER_CHANNEL_MIRROR"

_URL = re.compile(r"https?://[^\s/]+(?:/\S*)?")


def parse_channel_mirrors(text: str, *, source: str = VARIABLE) -> dict[str, str]:
    """Return channel → mirror of a text such as `conda-forge=https://conda.example.com/conda-forge`.

    Args:
        text: pairs `CHANNEL=URL`, several with commas; a channel is a name or the start of its URL.
        source: named in errors.

    Raises:
        UsageError: not of that form. Values are not repeated, for they may hold credentials.
    """
    found = {}
    for pair in filter(None, (each.strip() for each in text.split(","))):
        channel, equals, url = pair.partition("=")
        if not equals or not channel.strip():
            raise UsageError(f"{source} is not CHANNEL=URL", remedy=f"such as {source}=conda-forge=https://HOST/PATH")
        found[channel.strip()] = url.strip()
    check_mirrors(found, source=source)
    return found


def channel_mirrors(own: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return channel → mirror: those of this machine (`PACKAGER_CHANNEL_MIRROR`) go before the spec's own.

    Raises:
        UsageError: the variable is not of the form `conda-forge=https://host/path`.
    """
    return {**own, **parse_channel_mirrors(environ.get(VARIABLE, ""))}


def check_mirrors(mirrors: Mapping[str, str], *, source: str) -> None:
    """Refuse mirrors that cannot be fetched from.

    Raises:
        UsageError: one is no URL of http or https, or holds credentials, which would show in logs. Names of environment
            variables may stand in their place.
    """
    for channel, url in mirrors.items():
        if not _URL.fullmatch(url):
            raise UsageError(
                f"{source}: the mirror of {redact(channel)!r} is no URL of http or https",
                remedy="a folder can be served on this machine, or be named as the channel itself (file://…)",
            )
        if redact(url) != url:
            raise UsageError(
                f"{source}: the mirror of {redact(channel)!r} holds credentials",
                remedy="name environment variables in their place (https://${USER}:${TOKEN}@HOST/PATH; in a shell in "
                "single quotes), or keep them where rattler looks for them: a JSON file named by RATTLER_AUTH_FILE, "
                "`rattler auth login HOST`, or netrc",
            )


def urls_to_fetch(channels: Iterable[str], mirrors: Mapping[str, str]) -> tuple[str, ...]:
    """Return where packages are fetched from: the channels that no mirror stands in for, then all mirrors."""
    starts = [without_credentials(each).rstrip("/") for each in mirrors]
    own = [each for each in channels if not any(is_below(start, without_credentials(each)) for start in starts)]
    return tuple(dict.fromkeys([*own, *mirrors.values()]))


def is_below(start: str, channel: str) -> bool:
    """Return whether a channel is what a mirror's start names, or below it."""
    return channel == start.rstrip("/") or channel.startswith(start.rstrip("/") + "/")
