"""Who we are at a registry: what `docker login` left, and how it is said over HTTP."""

from __future__ import annotations

import base64
import os
import re
import warnings
from typing import TYPE_CHECKING, Any

import msgspec

from packager.docker_config import config_file, read_config
from packager.errors import RegistryError

if TYPE_CHECKING:
    import requests

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
#: A field of a challenge, or the name of the next scheme (with what RFC 9110 calls token68, which says nothing to us).
_PART = re.compile(
    rf'({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))|({_TOKEN})(?: +[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$)))?'
)
#: Characters of a header that are looked at.
_LONGEST = 8192


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What `docker login` left for a registry. Not shown in any message.

    Attributes:
        username: empty with an identity token.
        password: empty with an identity token.
        identity_token: an OAuth 2 refresh token, as registries of cloud providers hand out.
    """

    username: str = ""
    password: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:
        return "Credentials(…)"


def docker_credentials(registry: str) -> Credentials | None:
    """Return what `docker login` left for a registry: DOCKER_CONFIG, credsStore and credHelpers are honoured.

    Where DOCKER_CONFIG names a folder without a config.json there are none, as to Docker.

    Raises:
        RegistryError: a credential helper fails.
        UsageError: config.json is no file that can be read.
    """
    config = read_config(os.environ)
    if not config_file(os.environ).is_file() and os.environ.get("DOCKER_CONFIG"):
        # The library would go on to the home folder, whose credentials are not those that were named.
        return None
    plain = _from_file(config, registry)
    if plain is not _UNKNOWN:
        return plain
    import docker.auth
    import docker.errors

    try:
        # docker warns of a helper that is not installed, and then raises; the error says it all.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: Any = docker.auth.resolve_authconfig(docker.auth.load_config(), registry)
    except (docker.errors.DockerException, ValueError) as error:
        raise RegistryError(
            f"the Docker credentials for {registry} cannot be read ({type(error).__name__})",
            remedy="check config.json of Docker and its credential helpers, or run `docker login` again",
        ) from None
    values = {key.lower(): value for key, value in (found or {}).items() if isinstance(value, str)}
    if values.get("identitytoken"):
        return Credentials(identity_token=values["identitytoken"])
    if values.get("username"):
        return Credentials(username=values["username"], password=values.get("password", ""))
    return None


#: What only the library can tell.
_UNKNOWN = Credentials(username="?")


def _from_file(data: bytes, registry: str) -> Credentials | None:
    """Return what `docker login` without a helper left, as most machines in CI have it; `_UNKNOWN` for all else.

    The library asks helpers and knows older forms, but takes longer to import than a push of a small layer takes.
    """
    try:
        config = msgspec.json.decode(data)
        if config.get("credsStore") or config.get("credHelpers"):
            return _UNKNOWN
        entry = config["auths"][registry]
        if "identitytoken" in entry:
            return _UNKNOWN
        username, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    except (ValueError, LookupError, AttributeError, TypeError, RuntimeError):
        return _UNKNOWN
    return Credentials(username=username, password=password) if username and colon else _UNKNOWN


def parse_challenges(header: str) -> list[tuple[str, dict[str, str]]]:
    """Return scheme (lower-case) and fields of each challenge in a WWW-Authenticate header (RFC 9110, section 11.6.1).

    Several headers are one, joined by commas, and so are several challenges; commas part fields, too.
    """
    found: list[tuple[str, dict[str, str]]] = []
    for match in _PART.finditer(header[:_LONGEST]):
        name, quoted, bare, scheme = match.groups()
        if scheme is not None:
            found.append((scheme.lower(), {}))
        elif found:
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
            found[-1][1].setdefault(name.lower(), value)
    return found


class BareHeader:
    """An `auth` of requests that sets one header, or none.

    Without an `auth`, requests puts what ~/.netrc says in the place of a header that is set.

    Args:
        value: of `Authorization`; empty for none.
    """

    def __init__(self, value: str) -> None:
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Set the header; requests calls this for each request, redirects on the same host included."""
        if self._value:
            request.headers["Authorization"] = self._value
        return request


def basic(credentials: Credentials) -> str:
    """Return the header of basic authentication (RFC 7617)."""
    pair = f"{credentials.username}:{credentials.password}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
