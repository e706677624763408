"""A target's lock in the formats of other tools. Pure."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import msgspec

from packager.environments.conda import CondaPackage
from packager.environments.lock import LockedPackage
from packager.environments.locked import LockedPlatform
from packager.environments.locks.files import format_requirements

HEADER = "# Made by packager from its lock.\n"


def explicit(locked: LockedPlatform) -> str:
    """Return an explicit specification file: conda's URLs with digests, in the order of installation.

    Format: conda's documentation, "Building identical conda environments". The digest is sha256, which conda reads
    since 24.9, and mamba and rattler do; pip's packages are the comments that micromamba and conda-lock install, too.
    """
    lines = [HEADER.rstrip(), f"# platform: {locked.subdir}", "@EXPLICIT"]
    lines += [f"{each.url}#sha256:{each.sha256}" for each in _ordered(locked.conda_packages)]
    for each in locked.packages:
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


def requirements(locked: LockedPlatform) -> str:
    """Return a requirements file with hashes, for one platform."""
    return format_requirements(locked.packages).replace(format_requirements(()), HEADER, 1)


def environment_yml(locked: LockedPlatform, name: str) -> str:
    """Return a conda environment file with exact versions; an environment of pip alone gets Python from conda.

    The format has no place for digests.

    Args:
        locked: what one platform gets.
        name: of the environment.
    """
    channels = locked.conda.channels if locked.conda else ()
    lines = [HEADER.rstrip(), f"# {locked.subdir}; this format has no digests.", f"name: {name}"]
    lines += ["channels:", *(f"  - {_quoted(each)}" for each in channels or ("conda-forge",))]
    # Only what is listed: without this, conda adds the channels of the machine.
    lines += ["  - nodefaults", "dependencies:"]
    lines += [
        f"  - {each.name}={each.version}={each.build}" for each in sorted(locked.conda_packages, key=lambda it: it.name)
    ]
    if not locked.conda:
        lines.append(f"  - python={locked.python}")
    if locked.packages:
        if not any(each.name == "pip" for each in locked.conda_packages):
            lines.append("  - pip")
        lines += ["  - pip:", *(f"      - {each.name}=={each.version}" for each in locked.packages)]
    if locked.variables:
        lines += ["variables:", *(f"  {name}: {_quoted(value)}" for name, value in locked.variables.items())]
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
