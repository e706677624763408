"""Channels: where conda packages come from, in normal form, or why one cannot stand in a committed file. Pure."""

from __future__ import annotations

import re

from packager.errors import Location, SpecError

MAX_LENGTH = 1024

#: What conda makes of `defaults` is several channels; this is the one that has Python's packages.
ANACONDA = "main"

_NAME = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)")
_SCHEMES = ("http", "https", "file", "s3", "gcs", "oci")
# conda writes the token of a private channel into its path.
_TOKEN = re.compile(r"/t/[^/]+(?:/|$)")
_VARIABLE = r"\$(?:\{[A-Za-z_]\w*\}|[A-Za-z_]\w*)"
# What conda and conda-lock replace: `$USER:$PASSWORD@`, `name:$PASSWORD@`, `$TOKEN@`, and `/t/$TOKEN/`.
_NAMED_USER = re.compile(rf"(?P<user>{_VARIABLE}|[A-Za-z0-9._~+-]+(?=:))(?P<password>:{_VARIABLE})?@", re.ASCII)
_NAMED_TOKEN = re.compile(rf"/t/(?P<token>{_VARIABLE})(?=/)", re.ASCII)
_CREDENTIALS = (
    "name environment variables in their place (https://${USER}:${TOKEN}@host/channel, "
    "https://host/t/${TOKEN}/channel), or take them out and keep them where conda's tools look for them: rattler's "
    "file of credentials (RATTLER_AUTH_FILE, or what `pixi auth login` writes), or netrc"
)


def check_channel(text: str, where: Location) -> str:
    """Return the normal form of a channel: a name (`conda-forge/label/rc`) or a URL without a slash at its end.

    Environment variables may stand where credentials do; their names stay (`${NAME}`), and values are nobody's here.
    conda's `defaults` stands for several channels, which tools other than conda do not know by that name.

    Args:
        text: as it stands in a declaration.
        where: named in errors.

    Raises:
        SpecError: it holds credentials, or environment variables elsewhere, is a path, or neither name nor URL. Nothing
            that could hold credentials is repeated in the message.
    """
    text = text.strip()
    if len(text) > MAX_LENGTH:
        raise SpecError(f"a channel is longer than {MAX_LENGTH} characters", where=where)
    url = _URL.fullmatch(text)
    if url:
        return _url(url, where)
    if "$" in text:
        raise _variable(where)
    if text.startswith((".", "/", "~")) or "\\" in text or re.match(r"[A-Za-z]:", text):
        raise SpecError(
            "a channel by path means another folder on each machine",
            where=where,
            remedy="write it as file:///its/whole/path, or serve it by HTTP",
        )
    if "@" in text or not _NAME.fullmatch(text.rstrip("/")) or ".." in text.split("/"):
        raise SpecError(
            "a channel is neither a name nor a URL",
            where=where,
            remedy="such as conda-forge, conda-forge/label/rc, or https://example.com/channel",
        )
    name = text.rstrip("/")
    if _TOKEN.search(f"/{name}"):
        raise SpecError("a channel holds a token, which would be committed", where=where, remedy=_CREDENTIALS)
    return ANACONDA if name == "defaults" else name


def _variable(where: Location) -> SpecError:
    return SpecError(
        "environment variables are replaced only in the credentials of a channel's URL, each of which is one whole "
        "variable: else a lock would depend on the machine that makes it",
        where=where,
        remedy="write https://${USER}:${TOKEN}@host/channel, or https://host/t/${TOKEN}/channel",
    )


def _braced(found: re.Match[str] | None, group: str) -> str:
    return re.sub(r"\$\{?(\w+)\}?", r"${\1}", found[group] or "") if found else ""


def _url(url: re.Match[str], where: Location) -> str:
    """Return a URL in normal form, the variables of its credentials among them."""
    scheme = url["scheme"].lower()
    user = _NAMED_USER.match(url["authority"])
    token = _NAMED_TOKEN.search(url["path"])
    if user and not user["password"] and not user["user"].startswith("$"):
        user = None  # a name without a password
    if not user and not token:
        return _plain(url, scheme, where)
    authority = url["authority"][user.end() if user else 0 :]
    path = url["path"]
    if token:
        path = path[: token.start()] + path[token.end() :]
    bare = _URL.fullmatch(f"{url['scheme']}://{authority}{path}{url['rest']}")
    if user and token:
        raise SpecError("a channel's URL has both a user and a token", where=where, remedy="leave one of them out")
    if bare is None or scheme not in ("http", "https"):
        raise SpecError(f"a channel by {scheme} takes no credentials in its URL", where=where, remedy=_CREDENTIALS)
    plain = _plain(bare, scheme, where)
    start = len(scheme) + 3
    if token:
        at = plain.index("/", start) if "/" in plain[start:] else len(plain)
        at += token.start()
        plain = f"{plain[:at]}/t/{_braced(token, 'token')}{plain[at:]}"
    named = f"{_braced(user, 'user')}{_braced(user, 'password')}@" if user else ""
    return f"{plain[:start]}{named}{plain[start:]}"


def _plain(url: re.Match[str], scheme: str, where: Location) -> str:
    if "$" in "".join(url.group("authority", "path", "rest")):
        raise _variable(where)
    if "@" in url["authority"] or _TOKEN.search(url["path"]) or url["rest"]:
        raise SpecError(
            "the URL of a channel holds credentials or a query, which would be committed",
            where=where,
            remedy=_CREDENTIALS,
        )
    if scheme not in _SCHEMES:
        raise SpecError(
            f"channels are not fetched by {scheme!r}", where=where, remedy=f"use one of {', '.join(_SCHEMES)}"
        )
    path = url["path"].rstrip("/")
    if scheme == "file":
        if url["authority"] not in ("", "localhost") or not path:
            raise SpecError("a file:// channel names no folder", where=where, remedy="write file:///its/whole/path")
        return f"file://{path}"
    if not re.fullmatch(r"[A-Za-z0-9.-]+(?::\d{1,5})?|\[[0-9A-Fa-f:]+\](?::\d{1,5})?", url["authority"]):
        raise SpecError("the URL of a channel has no valid host", where=where, remedy="https://example.com/channel")
    if re.search(r"[\s\x00-\x1f\x7f\"'<>`{}|\\]", path) or "/../" in f"{path}/":
        raise SpecError("the URL of a channel has a path that is not valid", where=where, remedy="write it plainly")
    return f"{scheme}://{url['authority'].lower()}{path}"
