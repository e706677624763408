"""Which Python match specs and the spec ask for, and whether that can be. Pure."""

from __future__ import annotations

import operator as operators
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from packager.environments.declare.match_spec import Placed
from packager.errors import Location, SpecError


def settle_python(specs: Iterable[Placed], wanted: str | None, at: Location) -> tuple[str | None, tuple[str, ...]]:
    """Return the minor version of Python that is asked for, and the match specs to add for it.

    Args:
        specs: of the environment.
        wanted: minor version that the spec's `python` names.
        at: where it does, or would.

    Returns:
        The minor version, None where conda is to choose between several; and what says it to conda.

    Raises:
        SpecError: no Python is asked for, or versions of it that exclude each other; both places are named.
    """
    pythons = [each for each in specs if each.spec.name == "python"]
    if not pythons and wanted is None:
        raise SpecError(
            "the environment has no python",
            where=at,
            remedy='add `python=3.13` to its dependencies, or `python: "3.13"` to the spec',
        )
    for index, each in enumerate(pythons):
        found = python_minors(placed.spec.version for placed in pythons[: index + 1])
        if found is not None and not found:
            raise _contradiction(pythons[: index + 1], each)
    minors = python_minors(each.spec.version for each in pythons)
    if wanted is None:
        return (f"3.{min(minors)}" if minors and len(minors) == 1 else None), ()
    if minors is not None and int(wanted.partition(".")[2]) not in minors:
        asked = " and ".join(f"`{each.spec}`" for each in pythons)
        raise SpecError(
            f"the environment asks for {asked}, and the spec for Python {wanted} ({_place(at)})",
            where=pythons[-1].where,
            remedy="change one of them, or remove `python:` from the spec",
        )
    return wanted, () if minors is not None and len(minors) == 1 else (f"python {wanted}.*",)


def _contradiction(pythons: list[Placed], last: Placed) -> SpecError:
    before = [each for each in pythons if each is not last and python_minors([each.spec.version]) is not None]
    if not before:
        return SpecError(
            f"`{last.spec}` admits no Python 3", where=last.where, remedy="the inference server needs a Python 3"
        )
    others = " and ".join(f"`{each.spec}` ({_place(each.where)})" for each in before)
    return SpecError(
        f"`{last.spec}` contradicts {others}: no version of Python is both", where=last.where, remedy="keep one of them"
    )


def _place(where: Location) -> str:
    return f"{where.file}:{where.line}" if where.line else where.file


# --- versions ---------------------------------------------------------------------------------------------------------

# Operator, numbers of the release, and whether `.*` follows them.
_Atom = tuple[str, tuple[int, ...], bool]

_ATOM = re.compile(r"(==|!=|<=|>=|~=|<|>)?(?:0!)?v?(\d{1,6}(?:\.\d{1,6})*)(.*)")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "": operators.eq,
    "==": operators.eq,
    "!=": operators.ne,
    "<": operators.lt,
    "<=": operators.le,
    ">": operators.gt,
    ">=": operators.ge,
}
_MINORS = range(100)


def python_minors(versions: Iterable[str]) -> frozenset[int] | None:
    """Return the minor versions of Python 3 that all of these admit; None where they say nothing of it.

    Args:
        versions: expressions in normal form, of one package.
    """
    admitted: set[int] | None = None
    for version in versions:
        if version in ("", "*"):
            continue
        found = {minor for minor in _MINORS if _admits(version, minor)}
        admitted = found if admitted is None else admitted & found
    return None if admitted is None or len(admitted) == len(_MINORS) else frozenset(admitted)


def _admits(version: str, minor: int) -> bool:
    # The patch releases around each that is named, and one far beyond: between them nothing changes.
    patches = {0, 1000}
    for _, numbers, _ in (atom for atoms in _parsed(version) for atom in atoms):
        if len(numbers) > 2:
            patches |= {max(numbers[2] - 1, 0), numbers[2], numbers[2] + 1}
    return any(_matches(version, (3, minor, patch)) for patch in patches)


def _matches(version: str, release: tuple[int, ...]) -> bool:
    return any(all(_atom_matches(*atom, release) for atom in atoms) for atoms in _parsed(version))


@lru_cache(maxsize=64)
def _parsed(version: str) -> tuple[tuple[_Atom, ...], ...]:
    """Return the parts of an expression, alternatives outside: `,` binds closer than `|`.

    What is not understood is left out, and so admits all.
    """
    if "(" in version:
        return ((),)
    found = [[_ATOM.fullmatch(atom) for atom in part.split(",")] for part in version.split("|")]
    return tuple(
        tuple(
            (atom[1] or "", tuple(int(each) for each in atom[2].split(".")), atom[3] == ".*") for atom in atoms if atom
        )
        for atoms in found
    )


def _atom_matches(operator: str, numbers: tuple[int, ...], star: bool, release: tuple[int, ...]) -> bool:
    starts = release[: len(numbers)] == numbers
    if star:
        return not starts if operator == "!=" else starts
    wanted = (*numbers, *(0,) * (len(release) - len(numbers)))
    if operator == "~=":
        return release >= wanted and release[: len(numbers) - 1] == numbers[:-1]
    return _OPERATORS[operator](release, wanted)
