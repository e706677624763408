"""Spec + Target + Environment → LockRequest: all that a solve depends on. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from msgspec import UNSET, UnsetType

from packager.environments.conda.values import SUBDIRS, CondaRequest
from packager.environments.declaration import Environment
from packager.environments.lock import LockRequest
from packager.environments.requirement import canonical_name
from packager.errors import Location, SpecError
from packager.images.reference import Reference
from packager.spec.model import DEFAULT_PYTHON, Spec
from packager.targets import CondaTarget, Target, machine

# In uv's words for a platform: `x86_64-manylinux_2_28`.
_GLIBC = re.compile(r"manylinux_(\d+_\d+)")
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
    conda = _conda(spec, target, environment, wanted, at) if environment.conda else UNSET
    return LockRequest(
        python=_python(spec, environment),
        platforms={platform: target.wheels[platform] for platform in sorted(set(wanted))},
        requirements=environment.requirements,
        constraints=environment.constraints,
        build_from_source=_names(spec.build_from_source, at),
        base=_base(spec, target, environment, at),
        conda=conda,
        installer=UNSET if isinstance(conda, UnsetType) else _installer(spec, target, at),
    )


def _python(spec: Spec, environment: Environment) -> str:
    """Return the minor version that is asked; empty where conda's solve is to find it."""
    return environment.python or spec.python or ("" if environment.conda else DEFAULT_PYTHON)


def _base(spec: Spec, target: Target, environment: Environment, at: Callable[[str], Location | None]) -> str:
    if spec.base is not None:
        return str(Reference.parse(spec.base))
    if environment.conda is not None:
        return str(_conda_target(target, at).base)
    python = _python(spec, environment)
    if python not in target.bases:
        raise SpecError(
            f"the target {target.name!r} has no base image for Python {python}",
            where=at("python"),
            remedy=f"it has one for {', '.join(sorted(target.bases, key=_numbers))}; or name your own as `base:`",
        )
    return str(target.bases[python])


# --- conda ------------------------------------------------------------------------------------------------------------


def _conda(
    spec: Spec,
    target: Target,
    environment: Environment,
    platforms: tuple[str, ...],
    at: Callable[[str], Location | None],
) -> CondaRequest:
    assert environment.conda is not None, "asked only where there is one"
    _conda_target(target, at)
    for platform in platforms:
        if platform not in SUBDIRS:
            raise SpecError(f"conda has no packages for {platform}", where=at("targets"))
    return CondaRequest(
        specs=environment.conda.specs,
        channels=environment.conda.channels,
        channel_priority=spec.conda.channel_priority,
        virtual_packages={platform: _virtual_packages(spec, target, platform) for platform in sorted(set(platforms))},
        names=environment.names,
    )


def _virtual_packages(spec: Spec, target: Target, platform: str) -> dict[str, str]:
    assert target.conda is not None, "was asked before"
    found = dict(target.conda.virtual_packages)
    if spec.base is not None:
        # Of the user's own base nothing is known but that the target's wheels load on it.
        glibc = _GLIBC.search(target.wheels[platform])
        if glibc:
            found["__glibc"] = glibc[1].replace("_", ".")
    found["__archspec"] = f"1={machine(platform)}"
    return dict(sorted({**found, **spec.target_options(target.name).virtual_packages}.items()))


def _conda_target(target: Target, at: Callable[[str], Location | None]) -> CondaTarget:
    if target.conda is None:
        raise SpecError(
            f"the target {target.name!r} takes no environment of conda",
            where=at("environment"),
            remedy="name a requirements.txt for it",
        )
    return target.conda


def _installer(spec: Spec, target: Target, at: Callable[[str], Location | None]) -> str:
    if spec.conda.installer_base is not None:
        return str(Reference.parse(spec.conda.installer_base))
    installers = _conda_target(target, at).installers
    if spec.conda.installer not in installers:
        raise SpecError(
            f"the target {target.name!r} has no image for the installer {spec.conda.installer!r}",
            where=at("conda.installer"),
            remedy=f"it has one for {', '.join(sorted(installers))}; or name your own as `conda.installer_base`",
        )
    return str(installers[spec.conda.installer])


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
