"""A target's lock in the formats of other tools. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

import msgspec

from packager.environments.conda import SUBDIRS, CondaPackage, minor
from packager.environments.lock import LockedPackage
from packager.environments.locks.files import format_requirements

HEADER = "# Made by packager from its lock.\n"


class Locked(msgspec.Struct, frozen=True, kw_only=True):
    """What one platform of a target gets.

    Attributes:
        name: of the spec.
        platform: OCI os/arch.
        python: minor version.
        channels: of conda, the first with the highest priority; empty for an environment of pip alone.
        conda: its packages.
        pip: its packages.
        variables: environment variables of the environment.
    """

    name: str
    platform: str
    python: str
    channels: tuple[str, ...] = ()
    conda: tuple[CondaPackage, ...] = ()
    pip: tuple[LockedPackage, ...] = ()
    variables: dict[str, str] = {}


def locked_on(
    platform: str,
    *,
    name: str,
    python: str,
    channels: Iterable[str],
    conda: Iterable[CondaPackage],
    pip: Iterable[LockedPackage],
    variables: Mapping[str, str],
) -> Locked:
    """Return the part of a target's lock that one platform gets.

    Args:
        platform: OCI os/arch, one of those that are locked.
        name: of the spec.
        python: minor version that was asked for; empty where conda chose it.
        channels: of conda.
        conda: packages of all platforms.
        pip: packages of all platforms.
        variables: environment variables of the environment.
    """
    ours = tuple(each for each in conda if each.platform == platform)
    found = next((minor(each.version) for each in ours if each.name == "python"), python)
    return Locked(
        name=name,
        platform=platform,
        python=found,
        channels=tuple(channels),
        conda=ours,
        pip=tuple(
            msgspec.structs.replace(each, platforms=())
            for each in pip
            if not each.platforms or platform in each.platforms
        ),
        variables=dict(variables),
    )


def explicit(locked: Locked) -> str:
    """Return an explicit specification file: conda's URLs with digests, in the order of installation.

    Format: conda's documentation, "Building identical conda environments". The digest is sha256, which conda reads
    since 24.9, and mamba and rattler do; pip's packages are the comments that micromamba and conda-lock install, too.
    """
    lines = [HEADER.rstrip(), f"# platform: {SUBDIRS[locked.platform]}", "@EXPLICIT"]
    lines += [f"{each.url}#sha256:{each.sha256}" for each in _ordered(locked.conda)]
    for each in locked.pip:
        lines.append(" ".join([f"# pip {each.name}=={each.version}", *_hashes(each)]))
    return "\n".join([*lines, ""])


def _hashes(package: LockedPackage) -> list[str]:
    return [f"--hash=sha256:{digest}" for digest in package.digests]


def _ordered(packages: tuple[CondaPackage, ...]) -> list[CondaPackage]:
    """Return packages after what they need; by name where a circle leaves no order (`python` and `pip` make one)."""
    by_name = {each.name: each for each in sorted(packages, key=lambda each: each.name)}
    needs = {
        name: [need for need in sorted({text.split()[0] for text in each.depends}) if need in by_name and need != name]
        for name, each in by_name.items()
    }
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError:
        needs["python"] = [need for need in needs.get("python", []) if "python" not in needs.get(need, [])]
        try:
            order = list(TopologicalSorter(needs).static_order())
        except CycleError:
            order = list(by_name)
    return [by_name[name] for name in order if name in by_name]


def requirements(locked: Locked) -> str:
    """Return a requirements file with hashes, for one platform."""
    return format_requirements(locked.pip).replace(format_requirements(()), HEADER, 1)


def environment_yml(locked: Locked) -> str:
    """Return a conda environment file with exact versions; an environment of pip alone gets Python from conda.

    The format has no place for digests.
    """
    lines = [HEADER.rstrip(), f"# {SUBDIRS[locked.platform]}; this format has no digests.", f"name: {locked.name}"]
    lines += ["channels:", *(f"  - {_quoted(each)}" for each in locked.channels or ("conda-forge",))]
    # Only what is listed: without this, conda adds the channels of the machine.
    lines += ["  - nodefaults", "dependencies:"]
    lines += [f"  - {each.name}={each.version}={each.build}" for each in sorted(locked.conda, key=lambda it: it.name)]
    if not locked.conda:
        lines.append(f"  - python={locked.python}")
    if locked.pip:
        if not any(each.name == "pip" for each in locked.conda):
            lines.append("  - pip")
        lines += ["  - pip:", *(f"      - {each.name}=={each.version}" for each in locked.pip)]
    if locked.variables:
        lines += ["variables:", *(f"  {name}: {_quoted(value)}" for name, value in locked.variables.items())]
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
