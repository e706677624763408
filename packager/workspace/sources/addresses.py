"""Addresses of files on the web: what is asked for, and what of it may be kept and shown. Pure."""

from __future__ import annotations

import posixpath
import re
from email.message import Message
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import msgspec

from packager.errors import UsageError

_HEX = re.compile(r"[0-9a-f]{64}\Z")
#: Names in a query that let whoever has the address read the file: signed links of object stores, keys, tokens.
_SECRET = re.compile(
    r"(?:.*[-_.])?(?:sig|signature|token|access[-_]?token|auth|authorization|jwt|key|api[-_]?key|private[-_]?token"
    r"|secret|password|passwd|pwd|credential|credentials|policy|sas|code)\Z",
    re.IGNORECASE,
)


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a file is on the web.

    Attributes:
        url: to ask for; without user and fragment. It may be signed, so it is not shown.
        uri: the same without what is secret, to keep and to show.
        user: in the address; empty where none.
        password: of it.
        sha256: that the file must have; None where nobody said.
    """

    url: str
    uri: str
    user: str = ""
    password: str = ""
    sha256: str | None = None

    def __repr__(self) -> str:
        return f"Address({self.uri!r})"

    @property
    def host(self) -> str:
        """Host, with its port where one is named."""
        return urlsplit(self.url).netloc

    @property
    def name(self) -> str:
        """Last part of its path; empty where it has none."""
        return safe_name(unquote(urlsplit(self.url).path))


def parse_address(uri: str, sha256: str | None = None) -> Address:
    """Return what an `https://` or `http://` address says.

    Args:
        uri: it; a fragment `#sha256=…` says the file's digest.
        sha256: the digest (64 hex digits), where it is said elsewhere.

    Raises:
        UsageError: it is no address, or says no digest; the digests are two.
    """
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not uri.isprintable() or " " in uri:
        raise UsageError("this is no address of a file on the web", remedy="give it as https://HOST/PATH")
    name, equals, value = parts.fragment.partition("=")
    if parts.fragment and (name != "sha256" or not equals):
        raise UsageError("after # an address has a digest: #sha256=…", remedy="correct it, or leave it out")
    said = {each.lower() for each in (value or None, sha256) if each is not None}
    for each in said:
        if not _HEX.match(each):
            raise UsageError(f"{each[:80]!r} is no sha256", remedy="it has 64 hex digits, as `sha256sum` prints it")
    if len(said) > 1:
        raise UsageError("the address and --sha256 say two digests", remedy="leave one out")
    netloc = parts.netloc.rpartition("@")[2]
    signed = any(_SECRET.match(each) for each, _ in parse_qsl(parts.query, keep_blank_values=True))
    return Address(
        url=urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, "")),
        uri=urlunsplit((parts.scheme, netloc, parts.path or "/", "" if signed else parts.query, "")),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        sha256=said.pop() if said else None,
    )


def disposed_name(header: str) -> str:
    """Return the file name that a Content-Disposition header says (RFC 6266); empty where it says none."""
    message = Message()
    try:
        message["Content-Disposition"] = header
        return safe_name((message.get_filename() or "").replace("\\", "/"))
    except (ValueError, LookupError):
        return ""


def safe_name(path: str) -> str:
    """Return the last part of a path that somebody else names, if it can be a file's name; else nothing."""
    name = posixpath.basename(path)
    fits = name not in ("", ".", "..") and name.isprintable() and len(name.encode(errors="replace")) <= 255
    return name if fits else ""


def looks_like_html(content_type: str, start: bytes) -> bool:
    """Whether an answer is a page for people: such is what a login or an error gives in place of a file."""
    kind = content_type.partition(";")[0].strip().lower()
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()[:256].lower()
    return kind in ("text/html", "application/xhtml+xml") or text.startswith((b"<!doctype html", b"<html", b"<head"))
