"""Who we are at a registry: what `docker login` left, and how it is said over HTTP."""

from __future__ import annotations

import base64
import os
import re
import warnings
from typing import TYPE_CHECKING, Any

import msgspec

from packager.errors import RegistryError
from packager.registry.logins import config_file

if TYPE_CHECKING:
    import requests

_FIELD = re.compile(r'([a-z_]+)="([^"]*)"', re.IGNORECASE)


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
    """
    if not config_file(os.environ).is_file() and os.environ.get("DOCKER_CONFIG"):
        # The library would go on to the home folder, whose credentials are not those that were named.
        return None
    plain = _from_file(registry)
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


def _from_file(registry: str) -> Credentials | None:
    """Return what `docker login` without a helper left, as most machines in CI have it; `_UNKNOWN` for all else.

    The library asks helpers and knows older forms, but takes longer to import than a push of a small layer takes.
    """
    try:
        config = msgspec.json.decode(config_file(os.environ).read_bytes())
        if config.get("credsStore") or config.get("credHelpers"):
            return _UNKNOWN
        entry = config["auths"][registry]
        if "identitytoken" in entry:
            return _UNKNOWN
        username, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RuntimeError):
        return _UNKNOWN
    return Credentials(username=username, password=password) if username and colon else _UNKNOWN


def parse_challenge(header: str) -> tuple[str, dict[str, str]]:
    """Return scheme (lower-case) and fields of a WWW-Authenticate header (RFC 9110, section 11.6.1)."""
    kind, _, rest = header.partition(" ")
    return kind.lower(), {name.lower(): value for name, value in _FIELD.findall(rest)}


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
