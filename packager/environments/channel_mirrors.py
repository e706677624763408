"""Channels and their mirrors: how the machine names mirrors, and what of a URL is secret. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from packager.errors import UsageError

#: The machine's mirrors: `CHANNEL=URL`, several with commas; as PACKAGER_REGISTRY_MIRROR.
VARIABLE = "PACKAGER_CHANNEL_MIRROR"

_USER_INFO = re.compile(r"(?<=://)[^\s/?#]*@")
# What only names variables is nobody's secret: a name, or `${NAME}`, and `:${NAME}`.
_NAMED = r"(?:\$\{?\w+\}?|[\w.~+-]+(?=:\$))(?::\$\{?\w+\}?)?@"
_SECRET_USER_INFO = re.compile(rf"(?<=://)(?!{_NAMED})[^\s/?#]*@")
# conda's form of a token in a URL; source: `conda.common.url.split_anaconda_token`.
_TOKEN = re.compile(r"/t/[^\s/]+(?=/|$)")
_SECRET_TOKEN = re.compile(r"/t/(?!\$\{?\w+\}?(?:/|$))[^\s/]+(?=/|$)")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
#: Values that are shorter are no secret that a text could be searched for.
_SHORTEST = 4
_URL = re.compile(r"https?://[^\s/]+(?:/\S*)?")


def redact(text: str) -> str:
    """Return a text without the credentials of its URLs, `user:password@` and `/t/TOKEN`; names of variables stay."""
    return _SECRET_TOKEN.sub("/t/***", _SECRET_USER_INFO.sub("***@", text))


def hide(text: str, values: Iterable[str]) -> str:
    """Return a text without the credentials of its URLs, and without values that were put into some."""
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORTEST:
            text = text.replace(value, "***")
    return redact(text)


def variables(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the environment variables in URLs of channels or packages; sorted, each once."""
    return tuple(sorted({name for text in texts if "$" in text for name in _VARIABLE.findall(text)}))


def without_credentials(url: str) -> str:
    """Return a URL as it may stand in a lock: neither user nor password nor token, no escapes that need none."""
    return _TOKEN.sub("", _USER_INFO.sub("", url)) if "://" in url else url


def with_variables(url: str, channels: Iterable[str]) -> str:
    """Return the URL of a package as a lock keeps it: no credentials, and the variables of its channel, if any.

    So does conda-lock, which puts in the values when it renders or installs.
    """
    plain = without_credentials(url)
    for channel in sorted(channels, key=len, reverse=True):
        start = f"{without_credentials(channel)}/"
        if "$" in channel and plain.startswith(start):
            return f"{channel}/{plain.removeprefix(start)}"
    return plain


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


def shown(url: str) -> str:
    """Return a channel's URL as people write it: no credentials, no escapes, no slash at the end."""
    return unquote(redact(url)).rstrip("/")
