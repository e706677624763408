"""Newer releases that a solve did not take: which there are, and what kept them out. uv is asked; the rest is pure.

A solver that finds no way forward goes back without a word, if need be by years. So for each package that was asked for
and moved, uv is asked for a newer one: alone, from its cache, which has just been filled, and then with all the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from packager.environments.child_processes import Ended
from packager.environments.declare.requirement import requirement_name
from packager.environments.lock import LockedPackage
from packager.environments.uv_errors import redact

#: Asks uv for a solution: requirement lines, minor version of Python, and whether with dependencies and all the others.
Ask = Callable[[list[str], str, bool], Ended]

#: Minor versions of Python that a package may have wheels for.
_PYTHONS = tuple(f"3.{minor}" for minor in range(9, 16))
_LONGEST = 240

_NO_WHEEL = re.compile(r"(?:Because|and|that) (\S+?)(?:>=|>|==)(\S+?)(?:,\S+)? has no usable wheels")
_REQUIRED = re.compile(r"you require (\S+?)(?=,| |$)")


def held_back(
    packages: Iterable[LockedPackage], requirements: Iterable[str], names: Iterable[str], python: str, ask: Ask
) -> Iterator[str]:
    """Yield a note for each package for which there is a newer release that the user's own words on it admit.

    Args:
        packages: what was solved.
        requirements: the user's, constraints among them; normal forms.
        names: the packages to look at.
        python: minor version.
        ask: asks uv.
    """
    lines = tuple(requirements)
    versions = {each.name: each.version for each in packages}
    for name in names:
        if name not in versions:
            continue
        own = [line for line in lines if requirement_name(line) == name]
        if any("==" in line.partition(";")[0] for line in own):
            continue  # a pin is a pin
        wanted = f"{name}>{versions[name].partition('+')[0]}"
        alone = ask([*own, wanted], python, False)
        newer = _version(alone.output, name) if alone.code == 0 else None
        if newer is not None:
            with_all = ask([*lines, wanted], python, True)
            if with_all.code != 0:
                yield f"{name} {versions[name]} is locked, and there is {newer}: {_cause(with_all.errors, name)}"
            continue
        without = next((each for each in _NO_WHEEL.findall(_one_line(alone.errors)) if each[0] == name), None)
        if without is not None:
            yield f"{name} {versions[name]} is locked, and {_other_python(name, own, wanted, python, without[1], ask)}"


def _other_python(name: str, own: list[str], wanted: str, python: str, since: str, ask: Ask) -> str:
    later = _PYTHONS[_PYTHONS.index(python) + 1 :] if python in _PYTHONS else ()
    for other in later:
        found = ask([*own, wanted], other, False)
        newer = _version(found.output, name) if found.code == 0 else None
        if newer is not None:
            return f"there is {newer}: it has wheels for Python {other}, and none for {python} (`python:` in the spec)"
    return (
        f"newer ones ({since} …) have no wheel for Python {python}: an sdist that is built, "
        f"`build_from_source: [{name}]`, or an older Python may do"
    )


def _version(output: str, name: str) -> str | None:
    found = re.search(rf"^{re.escape(name)}(?:\[\S+\])?==(\S+)", output, re.MULTILINE)
    return found[1] if found else None


def _cause(errors: str, name: str) -> str:
    """Return in a few words what uv says keeps a newer release out."""
    text = _one_line(errors)
    yours = dict.fromkeys(each for each in _REQUIRED.findall(text) if requirement_name(each) != name)
    if yours:
        return f"{' and '.join(f'`{each}`' for each in yours)} keeps it out; loosen that to get it"
    wheels = dict.fromkeys(f"{each[0]} {each[1]}" for each in _NO_WHEEL.findall(text))
    if wheels:
        names = dict.fromkeys(each.partition(" ")[0] for each in wheels)
        return f"it needs {' and '.join(wheels)}, which has no wheel (`build_from_source: [{', '.join(names)}]`)"
    said = text.partition("Because ")[2]
    return f"because {said[:_LONGEST]}{'…' if len(said) > _LONGEST else ''}" if said else "it does not fit the others"


def _one_line(errors: str) -> str:
    return " ".join(redact(errors).split())
