"""Spec + Target + Environment → LockRequest: all that a solve depends on. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from packager.environments.declaration import Environment
from packager.environments.lock import LockRequest
from packager.environments.requirement import canonical_name
from packager.errors import Location, SpecError
from packager.images.reference import Reference
from packager.spec.model import Spec
from packager.targets import Target

# The packaging specification "Names and normalization".
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def _nowhere(_field: str) -> Location | None:
    return None


def make_request(
    spec: Spec,
    target: Target,
    environment: Environment,
    platforms: Iterable[str] | None = None,
    *,
    at: Callable[[str], Location | None] = _nowhere,
) -> LockRequest:
    """Return what is to be locked for one target.

    Args:
        spec: what the user declares.
        target: the deployment flavour.
        environment: its requirements, normalised.
        platforms: takes the place of the platforms of spec and target.
        at: gives the place of a field in the spec's file, for errors.

    Raises:
        SpecError: the target has no base for this Python (and the spec names none), no wheels for a platform, or
            `build_from_source` holds what is no package name.
    """
    wanted = tuple(platforms or spec.target_options(target.name).platforms or target.platforms)
    for platform in wanted:
        if platform not in target.wheels:
            raise SpecError(
                f"the target {target.name!r} has no platform {platform!r}",
                where=at("targets"),
                remedy=f"its platforms: {', '.join(target.wheels)}",
            )
    return LockRequest(
        python=spec.python,
        platforms={platform: target.wheels[platform] for platform in sorted(set(wanted))},
        requirements=environment.requirements,
        constraints=environment.constraints,
        build_from_source=_names(spec.build_from_source, at),
        base=_base(spec, target, at),
    )


def _base(spec: Spec, target: Target, at: Callable[[str], Location | None]) -> str:
    if spec.base is not None:
        return str(Reference.parse(spec.base))
    if spec.python not in target.bases:
        raise SpecError(
            f"the target {target.name!r} has no base image for Python {spec.python}",
            where=at("python"),
            remedy=f"it has one for {', '.join(sorted(target.bases, key=_numbers))}; or name your own as `base:`",
        )
    return str(target.bases[spec.python])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _names(names: tuple[str, ...], at: Callable[[str], Location | None]) -> tuple[str, ...]:
    for index, name in enumerate(names):
        if not _NAME.fullmatch(name):
            raise SpecError(
                f"{name!r} is not the name of a package",
                where=at(f"build_from_source[{index}]"),
                remedy="names alone, without versions, such as `build_from_source: [docopt]`",
            )
    return tuple(sorted({canonical_name(name) for name in names}))
