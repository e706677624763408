"""Channels whose URL names environment variables as its credentials: what fetches from them gets the values. Pure.

`https://${USER}:${TOKEN}@host/channel` and `https://host/t/${TOKEN}/channel` are conda's and conda-lock's form. Names
go everywhere that a channel goes; values go to the processes that fetch, and nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote

from packager.environments.channel_mirrors import hide, variables, without_credentials
from packager.errors import UsageError
from packager.programs.stage.install import ACCESS

_USER = re.compile(r"(?<=://)(?P<user>[^\s/?#@:]*)(?::(?P<password>[^\s/?#@]*))?@")
_TOKEN = re.compile(r"/t/(\$\{?\w+\}?)(?=/|$)")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")

#: URL of a channel, with `/t/*` where its token goes → its credentials, as rattler's file has them (`BasicHTTP`,
#: `CondaToken`).
Access = dict[str, Any]


def channel_access(urls: Iterable[str], environ: Mapping[str, str]) -> Access:
    """Return the credentials that URLs name; those of which a variable is not set or empty are left out.

    Args:
        urls: of channels, and of mirrors.
        environ: where values are looked up. They may be percent-encoded, as conda's tools want them, or not.
    """
    found = {}
    for url in urls:
        names = variables([url])
        if names and all(environ.get(name) for name in names):
            place = without_credentials(_TOKEN.sub("/\0", url)).replace("/\0", "/t/*")
            found[place.rstrip("/")] = _credentials(url, environ)
    return found


def _credentials(url: str, environ: Mapping[str, str]) -> dict[str, Any]:
    def put(text: str) -> str:
        return _VARIABLE.sub(lambda named: environ[named[1]], text)

    token = _TOKEN.search(url)
    if token:
        return {"CondaToken": quote(put(token[1]), safe="%")}
    user = _USER.search(url)
    assert user is not None, "what has variables has either"
    return {
        "BasicHTTP": {"username": unquote(put(user["user"])), "password": unquote(put(user["password"] or ""))},
    }


def require_access(urls: Iterable[str], environ: Mapping[str, str]) -> None:
    """Refuse URLs of which a variable has no value.

    Raises:
        UsageError: naming the variables and the channel.
    """
    for url in urls:
        missing = [name for name in variables([url]) if not environ.get(name)]
        if missing:
            are = "the environment variable {} is" if len(missing) == 1 else "the environment variables {} are"
            raise UsageError(
                f"{are.format(' and '.join(missing))} not set, or empty, which the channel {url} names",
                remedy=f"export {' '.join(f'{name}=…' for name in missing)}; or leave credentials out of the URL, and "
                "keep them in rattler's file (RATTLER_AUTH_FILE)",
            )


def fetched(channels: Iterable[str], mirrors: Mapping[str, str]) -> tuple[str, ...]:
    """Return the URLs that are asked: of channels, those that no mirror stands in for, and of all mirrors."""
    starts = [without_credentials(each).rstrip("/") for each in mirrors]
    own = [each for each in channels if not any(below(start, without_credentials(each)) for start in starts)]
    return tuple(dict.fromkeys([*own, *mirrors.values()]))


def below(start: str, channel: str) -> bool:
    """Return whether a channel is what a mirror's start names, or below it."""
    return channel == start.rstrip("/") or channel.startswith(start.rstrip("/") + "/")


def told(access: Access) -> dict[str, str]:
    """Return the environment variables by which `install` is told."""
    return {ACCESS: json.dumps(access)} if access else {}


def hide_access(text: str, urls: Iterable[str], environ: Mapping[str, str]) -> str:
    """Return a text without credentials, such as an error of what was told them."""
    values = [environ[name] for name in variables(urls) if environ.get(name)]
    return hide(text, {form for each in values for form in (each, unquote(each), quote(each, safe=""))})
