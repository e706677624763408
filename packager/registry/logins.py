"""Which registries the user is logged in to: names only, from Docker's config.json and its credential helpers.

Source of the format: docker/cli, `cli/config/configfile/file.go`, and github.com/docker/docker-credential-helpers.
"""

from __future__ import annotations

from typing import Any

import msgspec

from packager.decoding import decode_json

#: What Docker Hub is called in the file.
_HUB = "https://index.docker.io/v1/"


class Logins(msgspec.Struct, frozen=True, kw_only=True):
    """What Docker's config.json says of credentials.

    Attributes:
        registries: for which it holds, or a helper of their own holds, credentials; sorted.
        helpers: names of the programs that hold credentials (`docker-credential-…`); sorted.
        store: the one of them that holds those of all other registries.
    """

    registries: tuple[str, ...] = ()
    helpers: tuple[str, ...] = ()
    store: str | None = None


def read_logins(text: bytes) -> Logins:
    """Return the logins that a config.json holds.

    Raises:
        ValueError: it is no JSON object.
    """
    try:
        values = decode_json(text, dict[str, Any])
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    auths, own, store = values.get("auths") or {}, values.get("credHelpers") or {}, values.get("credsStore") or ""
    held = {host for host, entry in auths.items() if entry and (entry.get("auth") or entry.get("identitytoken"))}
    programs = {f"docker-credential-{name}" for name in (*own.values(), store) if name}
    return Logins(
        registries=tuple(sorted(registry_name(host) for host in held | set(own))),
        helpers=tuple(sorted(programs)),
        store=f"docker-credential-{store}" if store else None,
    )


def registry_name(key: str) -> str:
    """Return the host that a key of config.json means; Docker Hub and old versions write URLs."""
    if key == _HUB:
        return "docker.io"
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]
