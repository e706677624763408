"""Which builder makes an image: ours, which needs no engine, or BuildKit. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from packager.builders.output_option import Output, parse_output
from packager.errors import LockError, UsageError
from packager.plan.plan import Plan

#: Options that mean something to BuildKit alone.
BUILDKIT_OPTIONS = ("no_cache", "pull", "secrets", "build_args", "cache_from", "cache_to", "network")


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


class NeedsEngineError(LockError):
    """What was locked turned out to need a container: its own code has to run."""


def needs_engine(plan: Plan) -> str | None:
    """Return why something has to run inside a container to make this image; None when nothing has to."""
    if plan.system_packages:
        return f"Debian packages have to be installed ({', '.join(plan.system_packages)})"
    if plan.environment.from_source:
        return f"packages have to be built from source ({', '.join(plan.environment.from_source)})"
    if plan.own_template:
        return f"templates/{plan.own_template} beside the spec says how its Dockerfile is written"
    return None


def choose_builder(asked: str, plan: Plan, options: Mapping[str, Any]) -> Choice:
    """Return the builder for a plan.

    Args:
        asked: `auto`, `oci`, `engine`, or the name of a buildx builder.
        plan: the image.
        options: what the build was asked for, by the names of `BuildOptions`.

    Raises:
        UsageError: `oci` was asked for, and something is wanted that it cannot do.
    """
    if asked not in ("auto", "oci"):
        return Choice(kind="engine", buildx=None if asked == "engine" else asked, reason="as asked")
    reason = needs_engine(plan) or _buildkit_only(options)
    if asked == "oci" and reason:
        raise UsageError(f"the builder without an engine cannot make this: {reason}", remedy="--builder engine")
    if reason:
        return Choice(kind="engine", reason=reason)
    return Choice(kind="oci", reason="as asked" if asked == "oci" else "nothing has to run inside a container")


def _buildkit_only(options: Mapping[str, Any]) -> str | None:
    for name in BUILDKIT_OPTIONS:
        if options.get(name):
            shown = {"secrets": "secret", "build_args": "build-arg"}.get(name, name.replace("_", "-"))
            return f"--{shown} is an option of BuildKit"
    for text in options.get("outputs", ()):
        if not isinstance(parse_output(text), Output):
            return f"-o {text} is an output of BuildKit"
    return None
