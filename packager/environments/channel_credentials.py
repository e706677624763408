"""Credentials in the URLs of channels: which names a lock keeps, which values fetch, and what no text repeats. Pure.

`https://${USER}:${TOKEN}@host/channel` and `https://host/t/${TOKEN}/channel` are conda's and conda-lock's form. Names
go everywhere that a channel goes; values go to the processes that fetch, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote

from packager.errors import UsageError

_USER_INFO = re.compile(r"(?<=://)[^\s/?#]*@")
# What only names variables is nobody's secret: a name, or `${NAME}`, and `:${NAME}`.
_NAMED = r"(?:\$\{?\w+\}?|[\w.~+-]+(?=:\$))(?::\$\{?\w+\}?)?@"
_SECRET_USER_INFO = re.compile(rf"(?<=://)(?!{_NAMED})[^\s/?#]*@")
# conda's form of a token in a URL; source: `conda.common.url.split_anaconda_token`.
_TOKEN = re.compile(r"/t/[^\s/]+(?=/|$)")
_SECRET_TOKEN = re.compile(r"/t/(?!\$\{?\w+\}?(?:/|$))[^\s/]+(?=/|$)")
#: Values that are shorter are no secret that a text could be searched for.
_SHORTEST = 4
_USER = re.compile(r"(?<=://)(?P<user>[^\s/?#@:]*)(?::(?P<password>[^\s/?#@]*))?@")
_NAMED_TOKEN = re.compile(r"/t/(\$\{?\w+\}?)(?=/|$)")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")

#: URL of a channel, with `/t/*` where its token goes → its credentials, as rattler's file has them (`BasicHTTP`,
#: `CondaToken`).
Access = dict[str, Any]


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


def shown(url: str) -> str:
    """Return a channel's URL as people write it: no credentials, no escapes, no slash at the end."""
    return unquote(redact(url)).rstrip("/")


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
            place = without_credentials(_NAMED_TOKEN.sub("/\0", url)).replace("/\0", "/t/*")
            found[place.rstrip("/")] = _credentials(url, environ)
    return found


def _credentials(url: str, environ: Mapping[str, str]) -> dict[str, Any]:
    def put(text: str) -> str:
        return _VARIABLE.sub(lambda named: environ[named[1]], text)

    token = _NAMED_TOKEN.search(url)
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


def hide_access(text: str, urls: Iterable[str], environ: Mapping[str, str]) -> str:
    """Return a text without credentials, such as an error of what was told them."""
    values = [environ[name] for name in variables(urls) if environ.get(name)]
    return hide(text, {form for each in values for form in (each, unquote(each), quote(each, safe=""))})
