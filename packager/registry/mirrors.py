"""Mirrors of registries: those of this machine go before those of a spec, which everyone shares."""

from __future__ import annotations

import os
from collections.abc import Mapping

from packager.reference import parse_mirrors


def registry_mirrors(own: Mapping[str, str] | None = None, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return registry → mirror.

    Args:
        own: the spec's; none where there is no spec.
        environ: the variables of this machine, of which `PACKAGER_REGISTRY_MIRROR` is read.

    Raises:
        UsageError: the variable is not of the form `docker.io=127.0.0.1:5000`.
    """
    return {**(own or {}), **parse_mirrors(environ.get("PACKAGER_REGISTRY_MIRROR", ""))}
