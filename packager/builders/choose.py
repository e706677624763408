"""Which builder makes an image: ours, which needs no engine, or BuildKit. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from packager.builders.builder import BuildWish
from packager.builders.outputs import parse_output
from packager.errors import UsageError

#: Options that mean something to BuildKit alone, with their names on the command line.
BUILDKIT_OPTIONS = {
    "no_cache": "no-cache",
    "pull": "pull",
    "secrets": "secret",
    "build_args": "build-arg",
    "cache_from": "cache-from",
    "cache_to": "cache-to",
    "network": "network",
}


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A builder, and why.

    Attributes:
        kind: `oci` (no engine) or `engine` (BuildKit).
        buildx: name of a buildx builder; None for the current one.
        reason: for people.
    """

    kind: Literal["oci", "engine"]
    buildx: str | None = None
    reason: str


def needs_engine(system_packages: Sequence[str], from_source: Sequence[str], own_template: str) -> str | None:
    """Return why something has to run inside a container to make an image; None when nothing has to.

    Args:
        system_packages: Debian packages.
        from_source: names of packages that are built from an sdist.
        own_template: a template of the user's that its Dockerfile is made of; empty for none.
    """
    if system_packages:
        return f"Debian packages have to be installed ({', '.join(system_packages)})"
    if from_source:
        return f"packages have to be built from source ({', '.join(from_source)})"
    if own_template:
        return f"templates/{own_template} beside the spec says how its Dockerfile is written"
    return None


def choose_builder(wish: BuildWish, engine_reason: str | None) -> Choice:
    """Return the builder for an image.

    Args:
        wish: what the build is asked for.
        engine_reason: why something has to run inside a container; None when nothing has to (see `needs_engine`).

    Raises:
        UsageError: `oci` was asked for, and something is wanted that it cannot do.
    """
    if wish.builder not in ("auto", "oci"):
        return Choice(kind="engine", buildx=None if wish.builder == "engine" else wish.builder, reason="as asked")
    reason = engine_reason or _buildkit_only(wish)
    if wish.builder == "oci" and reason:
        raise UsageError(
            f"the builder without an engine cannot make this: {reason}", remedy="`packager build --builder engine`"
        )
    if reason:
        return Choice(kind="engine", reason=reason)
    return Choice(kind="oci", reason="as asked" if wish.builder == "oci" else "nothing has to run inside a container")


def _buildkit_only(wish: BuildWish) -> str | None:
    for name, shown in BUILDKIT_OPTIONS.items():
        if getattr(wish, name):
            return f"--{shown} is an option of BuildKit"
    for text in wish.outputs:
        if parse_output(text) is None:
            return f"-o {text} is an output of BuildKit"
    return None
