"""Spec + Target + Environment → LockRequest: all that a solve depends on. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from msgspec import UNSET, UnsetType

from packager.environments.conda import SUBDIRS, CondaRequest
from packager.environments.declare.environment import Environment
from packager.environments.declare.requirement import canonical_name
from packager.environments.lock import LockRequest
from packager.errors import Location, SpecError
from packager.reference import Reference
from packager.spec.model import DEFAULT_PYTHON, Spec
from packager.targets import CondaTarget, Target, cuda_version, machine

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
    spec = spec.for_target(target.name)
    wanted = tuple(platforms or spec.target_options(target.name).platforms or target.platforms)
    for platform in wanted:
        if platform not in target.wheels:
            why = f": {target.without[platform]}" if platform in target.without else ""
            raise SpecError(
                f"the target {target.name!r} has no platform {platform!r}{why}",
                where=at("targets"),
                remedy=f"its platforms: {', '.join(target.wheels)}",
            )
    check_options(spec, target, at)
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
        hashes=environment.hashes or UNSET,
        sources=environment.sources or UNSET,
        versions=environment.versions or UNSET,
    )


def check_options(spec: Spec, target: Target, at: Callable[[str], Location | None] = _nowhere) -> None:
    """Refuse options of a target that it has no use for, and a host whose versions it needs and does not get.

    Raises:
        SpecError: with the field in the spec.
    """
    options = spec.target_options(target.name)
    field = f"targets.{target.name}"
    if options.cuda is not None and target.cuda is None:
        raise SpecError(
            f"the target {target.name!r} has no CUDA", where=at(f"{field}.cuda"), remedy="use the target gpu for it"
        )
    for name in options.host:
        if name not in target.run.host:
            known = ", ".join(target.run.host) or "nothing"
            raise SpecError(
                f"the target {target.name!r} needs no {name} of the host",
                where=at(f"{field}.host.{name}"),
                remedy=f"it needs {known}",
            )
    for name in target.run.host:
        if name not in options.host:
            raise SpecError(
                f"the target {target.name!r} has to know the version of {name}, which must be the same on the host and "
                "in the base",
                where=at(field),
                remedy=f'`targets: {{{target.name}: {{host: {{{name}: "VERSION"}}}}}}`',
            )


def _python(spec: Spec, environment: Environment) -> str:
    """Return the minor version that is asked; empty where conda's solve is to find it."""
    return environment.python or spec.python or ("" if environment.conda else DEFAULT_PYTHON)


def _base(spec: Spec, target: Target, environment: Environment, at: Callable[[str], Location | None]) -> str:
    if spec.base is not None:
        return str(Reference.parse(spec.base))
    if environment.conda is not None:
        return str(_conda_target(target, at).base or _cuda_base(spec, target, at))
    python = _python(spec, environment)
    if not target.bases:
        brought = f"targets: {{{target.name}: {{environment: {{add: {{conda: [python={python}]}}}}}}}}"
        raise SpecError(
            f"the base image of the target {target.name!r} has no Python for an environment of pip",
            where=at("environment"),
            remedy=f"let conda bring it: `{brought}`; "
            f"or name an image that has Python {python}: `targets: {{{target.name}: {{base: …}}}}`",
        )
    bases = {**target.unpinned, **target.bases}
    if python not in bases:
        known = sorted(bases, key=_numbers)
        old = _numbers(python) < _numbers(known[0])
        why = f", which is older than {known[0]}: no inference server of today runs on it" if old else ""
        raise SpecError(
            f"the target {target.name!r} has no base image for Python {python}{why}",
            where=at("python" if spec.python else "environment"),
            remedy=f"it has one for {', '.join(known)}; or name your own as `base:`",
        )
    return str(bases[python])


def _cuda_base(spec: Spec, target: Target, at: Callable[[str], Location | None]) -> Reference:
    assert target.cuda is not None, "read_target refuses a target with neither"
    version = cuda_version(target, spec.target_options(target.name).cuda)
    if version not in target.cuda.bases:
        raise SpecError(
            f"the target {target.name!r} has no base image for CUDA {version}",
            where=at(f"targets.{target.name}.cuda"),
            remedy=f"it has one for {', '.join(sorted(target.cuda.bases, key=_numbers))}; or name your own as `base:`",
        )
    return target.cuda.bases[version]


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
    cuda = cuda_version(target, spec.target_options(target.name).cuda)
    if cuda is not None:
        found["__cuda"] = cuda
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
