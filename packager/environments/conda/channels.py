"""Channels and their mirrors: how the machine names mirrors, and what of a URL is secret. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

from packager.errors import UsageError

#: The machine's mirrors: `CHANNEL=URL`, several with commas; as PACKAGER_REGISTRY_MIRROR.
VARIABLE = "PACKAGER_CHANNEL_MIRROR"

_USER_INFO = re.compile(r"(?<=://)[^\s/?#]*@")
# conda's form of a token in a URL; source: `conda.common.url.split_anaconda_token`.
_TOKEN = re.compile(r"/t/[^\s/]+(?=/|$)")
_URL = re.compile(r"https?://[^\s/]+(?:/\S*)?")


def redact(text: str) -> str:
    """Return a text without the credentials of its URLs: `user:password@` and `/t/TOKEN`."""
    return _TOKEN.sub("/t/***", _USER_INFO.sub("***@", text))


def without_credentials(url: str) -> str:
    """Return a URL as it may stand in a lock: neither user nor password nor token, no escapes that need none."""
    return _TOKEN.sub("", _USER_INFO.sub("", url)) if "://" in url else url


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


def check_mirrors(mirrors: Mapping[str, str], *, source: str) -> None:
    """Refuse mirrors that cannot be fetched from.

    Raises:
        UsageError: one is no URL of http or https, or holds credentials, which would show in logs.
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
                remedy="take them out, and keep them where rattler looks for them: a JSON file named by "
                "RATTLER_AUTH_FILE, `rattler auth login HOST`, or netrc",
            )


def shown(url: str) -> str:
    """Return a channel's URL as people write it: no credentials, no escapes, no slash at the end."""
    return unquote(redact(url)).rstrip("/")
