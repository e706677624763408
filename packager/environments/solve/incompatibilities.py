"""What does not run together although metadata allows it: which rules hold for a solution, and what they ask. Pure.

The rules are data, `environments/incompatibilities.toml`. `UvSolver` solves, holds the solution against them, adds what
they ask, and solves again until nothing is left to ask.
"""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from packager.decoding import convert
from packager.environments.solve.nearest import is_general
from packager.errors import LockError
from packager.resources import data_folder


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule; the file says what its fields mean."""

    of: tuple[str, ...]
    because: str
    python: str = ""
    limit: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


class Dated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule for wheels that are older than what they would have to be made for; the file says what its fields mean."""

    name: str
    since: datetime.date
    limit: str
    because: str
    compiled: bool = False
    pinned: bool = False


class Known(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All rules."""

    rule: tuple[Rule, ...]
    dated: tuple[Dated, ...] = ()


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule asks besides the user's requirements.

    Attributes:
        requirement: of the package that is held back, or has to be there.
        package: the one that the rule is of.
        version: of that.
        because: follows name and version.
        needed: the package has to be there; else it is limited where it is.
        sure: the rule names the package; else its wheel's date tells, which may be wrong.
        until: the first version that the rule is not of; None where it is of all.
    """

    requirement: str
    package: str
    version: str
    because: str
    needed: bool = False
    sure: bool = True
    until: str | None = None

    def __str__(self) -> str:
        return f"{self.requirement} is asked for besides: {self.package} {self.version} {self.because}"

    @property
    def name(self) -> str:
        """Of the package that is held back."""
        return canonicalize_name(Requirement(self.requirement).name)


@lru_cache(maxsize=1)
def known() -> Known:
    """Return the rules that come with packager."""
    text = (data_folder("environments") / "incompatibilities.toml").read_text("utf-8")
    return convert(tomllib.loads(text), Known)


def asked_besides(
    packages: Mapping[str, str],
    *,
    given: Mapping[str, str],
    python: str,
    pinned: Collection[str],
    old: Mapping[Dated, Collection[str]] | None = None,
    rules: Known | None = None,
) -> tuple[Asked, ...]:
    """Return what the rules ask of a solution that it does not have yet; nothing where it is sound.

    Args:
        packages: name → version, of pip's half.
        given: the same of what conda brings.
        python: minor version.
        pinned: names for which the user gives a version.
        old: dated rule → packages that need what it limits, of those whose wheels `old_wheels` found.
        rules: those that come with packager where None.
    """
    rules = rules or known()
    there = {**given, **packages}
    found = [asked for each in rules.rule for asked in _of_rule(each, packages, there, python, pinned)]
    for rule in rules.dated:
        told = {each.package for each in found if each.requirement == rule.limit}
        for name in sorted({*(old or {}).get(rule, ())} - told):
            if _misses(rule.limit, there):
                found.append(
                    Asked(
                        requirement=rule.limit,
                        package=name,
                        version=packages[name],
                        because=rule.because,
                        sure=False,
                    )
                )
    return tuple(found)


def _of_rule(
    rule: Rule, packages: Mapping[str, str], there: Mapping[str, str], python: str, pinned: Collection[str]
) -> Iterator[Asked]:
    if rule.python and python not in SpecifierSet(rule.python):
        return
    for text in rule.of:
        of = Requirement(text)
        name = canonicalize_name(of.name)
        if name not in packages or not _admits(of.specifier, packages[name]):
            continue
        below = [each.version for each in of.specifier if each.operator == "<"]
        for line in (*rule.limit, *rule.needs):
            itself = canonicalize_name(Requirement(line).name) == name
            if _misses(line, there, needed=line in rule.needs) and not (itself and name in pinned):
                yield Asked(
                    requirement=line,
                    package=name,
                    version=packages[name],
                    because=rule.because,
                    needed=line in rule.needs,
                    until=below[0] if below else None,
                )


def _misses(line: str, there: Mapping[str, str], *, needed: bool = False) -> bool:
    requirement = Requirement(line)
    version = there.get(canonicalize_name(requirement.name))
    return needed if version is None else not _admits(requirement.specifier, version)


def _admits(specifier: SpecifierSet, version: str) -> bool:
    try:
        return specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True  # conda's versions may be none of PyPI's; nothing is known of them


# --- by the date ------------------------------------------------------------------------------------------------------


def old_wheels(text: str, held: Collection[str] = (), rules: Known | None = None) -> dict[Dated, tuple[str, ...]]:
    """Return dated rule → packages whose wheels are too old for the version that is in a solution; sorted.

    Whether they need it is for uv to say. Rules for what the solution does not have, or has in a right version, are
    left out.

    Args:
        text: uv's pylock.toml, which holds the upload times that the index tells.
        held: names that the user holds to an old release, as `held_names` tells them.
        rules: those that come with packager where None.
    """
    entries = {canonicalize_name(each["name"]): each for each in tomllib.loads(text).get("packages", [])}
    found = {}
    for rule in (rules or known()).dated:
        version = entries.get(canonicalize_name(rule.name), {}).get("version")
        if version is not None and _misses(rule.limit, {rule.name: version}):
            there = (name for name in entries if name in held or not rule.pinned)
            found[rule] = tuple(sorted(name for name in there if _is_old(entries[name], rule)))
    return {rule: packages for rule, packages in found.items() if packages}


def _is_old(entry: Mapping[str, Any], rule: Dated) -> bool:
    if canonicalize_name(entry["name"]) == rule.name or not entry.get("wheels"):
        return False
    return all(
        _uploaded_before(wheel, rule) and (_has_modules(wheel) or not rule.compiled) for wheel in entry["wheels"]
    )


def _uploaded_before(wheel: Mapping[str, Any], rule: Dated) -> bool:
    uploaded = wheel.get("upload-time")
    return isinstance(uploaded, datetime.datetime) and uploaded.date() < rule.since


def _has_modules(wheel: Mapping[str, Any]) -> bool:
    file = str(wheel.get("name") or unquote(str(wheel.get("url") or wheel.get("path"))).rpartition("/")[2])
    try:
        tags = parse_wheel_filename(file)[3]
    except InvalidWheelFilename:
        return False
    # `py3-none-manylinux…` holds libraries that are loaded by ctypes, and no modules.
    return all(tag.abi != "none" for tag in tags)


# --- words ------------------------------------------------------------------------------------------------------------


def together(asked: Iterable[Asked]) -> Iterator[str]:
    """Yield a line for what is asked for each reason; packages that share it stand behind the first."""
    groups: dict[tuple[str, str], dict[str, Asked]] = {}
    for each in asked:
        groups.setdefault((each.requirement, each.because), {}).setdefault(each.package, each)
    for group in groups.values():
        first, *others = group.values()
        also = ", ".join(f"{each.package} {each.version}" for each in others)
        yield f"{first}{f' (and so {also})' if also else ''}"


def pinned_names(requirements: Iterable[str]) -> frozenset[str]:
    """Return the names for which requirements in normal form give a version."""
    parsed = map(Requirement, requirements)
    return frozenset(canonicalize_name(each.name) for each in parsed if each.specifier)


def held_names(requirements: Iterable[str]) -> frozenset[str]:
    """Return the names that requirements in normal form hold to a version, or below one."""
    parsed = map(Requirement, requirements)
    bound = {"==", "===", "~=", "<", "<="}
    return frozenset(
        canonicalize_name(each.name) for each in parsed if bound & {one.operator for one in each.specifier}
    )


def give_way(guesses: Sequence[Asked], message: str) -> tuple[Asked, ...]:
    """Return those of the guesses by a date that are given up first, where uv's message says why nothing fits."""
    first = next((each for each in guesses if each.requirement in message), None)
    first = first or next((each for each in guesses if each.name in message), guesses[0])
    return tuple(each for each in guesses if each.requirement == first.requirement)


def unsolvable(error: LockError, asked: Iterable[Asked], python: str) -> LockError:
    """Return the error of a solve that failed with what rules ask, in words that name them.

    Args:
        error: uv's explanation.
        asked: by rules.
        python: minor version.
    """
    blamed = [each for each in asked if each.name in error.message] or list(asked)
    lines = dict.fromkeys(f"    {each}" for each in blamed)
    ways = []
    for each in blamed:
        newer = f"{each.package}>={each.until}" if each.until else f"another version of {each.package}"
        ways.append(f"take {newer}, or let `python:` and your other requirements admit {each.requirement}")
    own = [error.remedy] if error.remedy and not is_general(error) else []
    return LockError(
        f"{error.message}\n  What metadata does not tell, and packager knows:\n" + "\n".join(lines),
        where=error.where,
        remedy="; or ".join([*own, "; ".join(dict.fromkeys(ways))]) + f" (Python is {python})",
    )
