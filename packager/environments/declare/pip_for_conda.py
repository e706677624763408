"""Packages that somebody asks conda for out of habit, and that pip can install: what Azure ML v1's environments have.

A spec that names a conda file gets conda, whatever is in it; who declares in v1's words gets pip where that will do,
for there may be no channel at hand, and the image needs no second installer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from packager.environments.declare.match_spec import MatchSpec, parse_match_spec
from packager.environments.declare.requirement import canonical_name
from packager.environments.names_of_conda import known_names, of_conda, same_names
from packager.errors import Location, SpecError

#: What v1 and conda write of their own accord, so that nobody asks for anything by them.
HABITUAL_CHANNELS = frozenset({"anaconda", "conda-forge", "defaults", "main", "nodefaults"})
#: What a base image has.
_BASE_HAS = frozenset({"python", "pip"})
_NOWHERE = Location(file="")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
#: Versions of conda that mean the same to pip: not `|`, `(…)`, and names that PEP 440 does not have.
_PART = re.compile(r"(?P<operator>==|!=|<=|>=|~=|<|>)?(?P<version>\d+(?:\.\d+)*(?:(?:a|b|rc)\d+)?)(?P<star>\.\*)?")


def pip_in_place_of_conda(
    packages: Iterable[str], channels: Iterable[str], pip: Sequence[str] = ()
) -> tuple[str, ...] | None:
    """Return pip's requirements for what conda is asked for beside Python and pip; None where conda is needed. Pure.

    Conda is needed where one of them is not known to be PyPI's, too, where a build, a channel or a file of a channel is
    asked for, and where channels are named that are not everybody's.

    Args:
        packages: match specs of conda.
        channels: that are named.
        pip: requirements of pip; what they name is left out, for pip installs last and so has its way.
    """
    if not set(channels) <= HABITUAL_CHANNELS:
        return None
    taken = {canonical_name(match[0]) for line in pip if (match := _NAME.match(line.strip()))}
    found: list[str] = []
    for text in packages:
        try:
            spec = parse_match_spec(text, _NOWHERE)
        except SpecError:
            return None  # whoever reads it for conda says what is wrong, and where
        if spec.name in _BASE_HAS:
            continue
        requirement = _requirement(spec)
        if requirement is None:
            return None
        if canonical_name(_name(spec) or "") not in taken:
            found.append(requirement)
    return tuple(found)


def said(requirements: Sequence[str]) -> str:
    """Return in one line that pip installs them. Pure."""
    names = ", ".join(_NAME.match(each)[0] for each in requirements[:5])  # type: ignore[index]
    more = f" and {len(requirements) - 5} more" if len(requirements) > 5 else ""
    return f"asked of conda, and PyPI has it, too: pip installs {names}{more}"


#: How conda is asked all the same.
KEPT = "a channel before one of them asks conda: `conda-forge::numpy`"


def _requirement(spec: MatchSpec) -> str | None:
    name = _name(spec)
    if name is None or spec.build or spec.channel or spec.subdir or spec.options:
        return None
    parts = [_PART.fullmatch(each) for each in spec.version.split(",")] if spec.version not in ("", "*") else []
    versions = []
    for part in parts:
        if part is None or (part["star"] and part["operator"] not in (None, "!=")):
            return None
        versions.append(f"{part['operator'] or '=='}{part['version']}{part['star'] or ''}")
    return name + ",".join(versions)


def _name(spec: MatchSpec) -> str | None:
    """Return what PyPI calls a package; None where pip does not stand for conda."""
    if spec.name in same_names():
        return spec.name
    return (known_names().get(spec.name) or None) if spec.name not in of_conda() else None
