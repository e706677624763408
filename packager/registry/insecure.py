"""Registries that may be spoken to without TLS: of this machine, named by the user, or known to the engine as such."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path

from packager.decoding import decode_json
from packager.given import read_given
from packager.http import is_local
from packager.reference import INSECURE_VARIABLE, parse_insecure


def may_be_plain(host: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a registry may be spoken to without TLS, where it speaks none.

    Args:
        host: with its port, as references name it.
        environ: the variables of this machine.

    Raises:
        UsageError: the variable holds what is no registry.
    """
    return is_local(host) or is_named(host, environ) or any(_fits(each, host) for each in _engine_entries(environ))


def is_named(host: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the user named a registry as one without TLS, which an engine does not know by that.

    Args:
        host: with its port.
        environ: the variables of this machine.

    Raises:
        UsageError: the variable holds what is no registry.
    """
    return any(_fits(entry, host) for entry in parse_insecure(environ.get(INSECURE_VARIABLE, "")))


def _fits(entry: str, host: str) -> bool:
    """Whether an entry means a registry, as `insecure-registries` of Docker do: ports count."""
    if "/" not in entry:
        return entry.lower() == host.lower()
    try:
        return ip_address(re.sub(r":[0-9]+$", "", host).strip("[]")) in ip_network(entry, strict=False)
    except ValueError:
        return False


def _engine_entries(environ: Mapping[str, str]) -> Iterable[str]:
    """Yield what an engine of this machine, the system's or the user's own, has in its daemon.json."""
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", ""), ".config")
    for path in (Path("/etc/docker/daemon.json"), Path(config) / "docker/daemon.json"):
        try:
            found = decode_json(read_given(path), dict[str, object]).get("insecure-registries")
        except (OSError, ValueError):
            continue
        # An engine with a broken file would not start; that is its own to say.
        yield from (each for each in found if isinstance(each, str)) if isinstance(found, list) else ()
