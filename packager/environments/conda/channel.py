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
_CREDENTIALS = (
    "take them out, and keep them where conda's tools look for them: rattler's file of credentials "
    "(RATTLER_AUTH_FILE, or what `pixi auth login` writes), or netrc"
)


def check_channel(text: str, where: Location) -> str:
    """Return the normal form of a channel: a name (`conda-forge/label/rc`) or a URL without a slash at its end.

    conda's `defaults` stands for several channels, which tools other than conda do not know by that name.

    Args:
        text: as it stands in a declaration.
        where: named in errors.

    Raises:
        SpecError: it holds credentials or environment variables, is a path, or neither name nor URL. Nothing that could
            hold credentials is repeated in the message.
    """
    text = text.strip()
    if len(text) > MAX_LENGTH:
        raise SpecError(f"a channel is longer than {MAX_LENGTH} characters", where=where)
    if "$" in text:
        raise SpecError(
            "environment variables are not replaced in channels: a lock must not depend on the machine that makes it",
            where=where,
            remedy=f"write the URL; if they hold credentials, {_CREDENTIALS}",
        )
    url = _URL.fullmatch(text)
    if url:
        return _url(url, where)
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


def _url(url: re.Match[str], where: Location) -> str:
    scheme = url["scheme"].lower()
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
