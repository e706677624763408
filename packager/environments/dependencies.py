"""Who needs whom in a locked environment: packages of both managers, with what they need, size and licence. Pure.

A requirements file does not say why a package is in it; the packages' own metadata does (`Requires-Dist`), for the
platform and Python of the image, with the extras that somebody asks for. conda's lock has it itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from packager.environments.declare.requirement import canonical_name
from packager.environments.locked import LockedPlatform
from packager.targets import machine

if TYPE_CHECKING:
    from packaging.markers import Marker
    from packaging.requirements import Requirement

# Of conda's match specs: `channel::name version`, `name[version=…]`.
_CONDA_NAME = re.compile(r"(?:.*::)?([A-Za-z0-9_][A-Za-z0-9_.-]*)")


class PackageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a package's own metadata tells.

    Attributes:
        size: bytes of its files, unpacked and not byte-compiled.
        license: as an expression or a name; empty where it says none.
        requires: requirements as they are written there, markers included; none for a package of conda, whose lock has
            them.
    """

    size: int
    license: str = ""
    requires: tuple[str, ...] = ()


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What a package needs: the key of the other, and how that is written (`numpy>=1.26`)."""

    key: str
    text: str


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """A package of an environment.

    Attributes:
        key: unique in the environment: the name, and with `conda:` before it where pip has one of that name, too.
        name: as its manager knows it.
        version: exact.
        manager: `pip` or `conda`.
        size: bytes, unpacked; None where it is not known on this machine.
        license: as the package says it; empty where that is unknown.
        asked: as it is asked for by the environment; empty where only others need it.
        needs: packages of this environment; None where nobody looked into it.
    """

    key: str
    name: str
    version: str
    manager: str
    size: int | None = None
    license: str = ""
    asked: str = ""
    needs: tuple[Need, ...] | None = ()

    @property
    def title(self) -> str:
        """`numpy 2.5.5`."""
        return f"{self.name} {self.version}"


class Dependencies(msgspec.Struct, frozen=True, kw_only=True):
    """The packages of one target on one platform, by key, and who needs whom."""

    target: str
    platform: str
    packages: dict[str, Package]

    @property
    def size(self) -> int:
        """Bytes of the packages whose size is known."""
        return sum(each.size or 0 for each in self.packages.values())

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the packages that nobody could look into, sorted."""
        return tuple(sorted(each.name for each in self.packages.values() if each.size is None))

    def by_size(self, keys: Iterable[str] | None = None) -> tuple[Package, ...]:
        """Return packages, the largest first."""
        chosen = self.packages.values() if keys is None else (self.packages[key] for key in keys)
        return tuple(sorted(chosen, key=lambda each: (-(each.size or 0), each.key)))

    def roots(self) -> tuple[Package, ...]:
        """Return what is asked for, the largest with all that it needs first; then what nobody is known to need."""
        asked = [each for each in self.packages.values() if each.asked]
        reached = self.reached(each.key for each in asked)
        lone = self.by_size(self.packages.keys() - reached)
        return (*sorted(asked, key=lambda each: (-self.total(each.key), each.key)), *lone)

    def reached(self, keys: Iterable[str]) -> set[str]:
        """Return some packages with all that they need, and what those need in turn."""
        found: set[str] = set()
        waiting = list(keys)
        while waiting:
            key = waiting.pop()
            if key not in found:
                found.add(key)
                waiting += (need.key for need in self.packages[key].needs or ())
        return found

    def total(self, key: str) -> int:
        """Return the bytes of a package and of all that it needs."""
        return sum(self.packages[each].size or 0 for each in self.reached([key]))

    def freed(self, key: str) -> tuple[Package, ...]:
        """Return what would go with a package: itself, and what then nothing that is asked for needs; largest first."""
        alone = msgspec.structs.replace(self.packages[key], needs=())
        # Whoever needs it is kept, and only what is needed through it is thought away.
        without = msgspec.structs.replace(self, packages={**self.packages, key: alone})
        kept = without.reached(each.key for each in self.packages.values() if each.asked and each.key != key)
        return self.by_size(self.reached([key]) - (kept - {key}))

    def needed_by(self, key: str) -> tuple[tuple[Package, str], ...]:
        """Return who needs a package itself, with how that is written; sorted by name."""
        return tuple(
            (self.packages[other], need.text)
            for other in sorted(self.packages)
            for need in self.packages[other].needs or ()
            if need.key == key
        )

    def ways(self, key: str) -> tuple[tuple[Package, ...], ...]:
        """Return the shortest way to a package from each that is asked for: shortest first, the package itself last."""
        found = []
        for root in (each.key for each in self.packages.values() if each.asked):
            before: dict[str, str] = {root: ""}
            for at in (waiting := [root]):
                for need in self.packages[at].needs or ():
                    if need.key not in before:
                        before[need.key] = at
                        waiting.append(need.key)
            if key in before:
                way = [key]
                while before[way[-1]]:
                    way.append(before[way[-1]])
                found.append(tuple(self.packages[each] for each in reversed(way)))
        return tuple(sorted(found, key=lambda way: (len(way), [each.key for each in way])))


def marker_words(python: str, platform: str) -> dict[str, str]:
    """Return what markers ask (PEP 508), as it is in every image; the machine that asks may be another.

    Args:
        python: minor version of the image.
        platform: OCI os/arch.
    """
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": machine(platform),
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }


def dependencies(
    locked: LockedPlatform,
    requirements: Iterable[str],
    facts: Mapping[str, PackageFacts],
    *,
    conda_specs: Iterable[str] = (),
    conda_facts: Mapping[str, PackageFacts] | None = None,
    provides: Mapping[str, str] | None = None,
) -> Dependencies:
    """Return who needs whom in a locked environment.

    Args:
        locked: what is locked.
        requirements: what is asked of pip, in normal form.
        facts: of pip's packages, by name, as far as they are known.
        conda_specs: what is asked of conda, as match specs.
        conda_facts: of conda's packages, by name.
        provides: PyPI name → conda's name of the package that stands for it.
    """
    pip = {each.name for each in locked.packages}
    keys = {each.name: f"conda:{each.name}" if each.name in pip else each.name for each in locked.conda_packages}
    wanted = _Wanted(locked, facts, {name: keys[conda] for name, conda in (provides or {}).items() if conda in keys})
    asked = wanted.asked(requirements)
    for text in conda_specs:
        if (name := _CONDA_NAME.match(text)) and name[1] in keys:
            asked.setdefault(keys[name[1]], text)
    packages: dict[str, Package] = {}
    for conda in locked.conda_packages:
        known = (conda_facts or {}).get(conda.name)
        needs = ((keys[text.split()[0]], text) for text in conda.depends if text.split()[0] in keys)
        packages[keys[conda.name]] = Package(
            key=keys[conda.name],
            name=conda.name,
            version=conda.version,
            manager="conda",
            size=known.size if known else None,
            license=known.license if known else "",
            asked=asked.get(keys[conda.name], ""),
            needs=tuple(Need(key=key, text=text) for key, text in needs),
        )
    for package in locked.packages:
        known = facts.get(package.name)
        packages[package.name] = Package(
            key=package.name,
            name=package.name,
            version=package.version,
            manager="pip",
            size=known.size if known else None,
            license=known.license if known else "",
            asked=asked.get(package.name, ""),
            needs=wanted.needs(package.name) if known else None,
        )
    return Dependencies(target=locked.target, platform=locked.platform, packages=packages)


class _Wanted:
    """What pip's packages need on a platform, with the extras that somebody asks for."""

    def __init__(self, locked: LockedPlatform, facts: Mapping[str, PackageFacts], provided: Mapping[str, str]) -> None:
        self._keys = {**provided, **{each.name: each.name for each in locked.packages}}
        self._words = marker_words(locked.python, locked.platform)
        self._requires = {name: tuple(_parsed(known.requires)) for name, known in facts.items()}
        self._extras: dict[str, set[str]] = {}

    def asked(self, requirements: Iterable[str]) -> dict[str, str]:
        """Return key → requirement, and follow the extras that are asked for, through all packages."""
        found: dict[str, str] = {}
        waiting: list[tuple[str, set[str]]] = []
        for each in _parsed(requirements):
            name = canonical_name(each.name)
            if self._holds(each.marker, ()) and name in self._keys:
                found.setdefault(self._keys[name], str(each))
                waiting.append((name, {canonical_name(extra) for extra in each.extras}))
        seen: set[tuple[str, frozenset[str]]] = set()
        while waiting:
            name, extras = waiting.pop()
            mine = self._extras.setdefault(name, set())
            mine |= extras
            if (state := (name, frozenset(mine))) in seen:
                continue
            seen.add(state)
            for each in self._active(name):
                waiting.append((canonical_name(each.name), {canonical_name(extra) for extra in each.extras}))
        return found

    def needs(self, name: str) -> tuple[Need, ...]:
        """Return what a package needs that is locked; what one package says of another twice is joined."""
        found: dict[str, list[str]] = {}
        for each in self._active(name):
            key = self._keys.get(canonical_name(each.name))
            if key is not None and key != name:
                extras = f"[{','.join(sorted(each.extras))}]" if each.extras else ""
                found.setdefault(key, []).append(f"{each.name}{extras}{each.specifier}")
        return tuple(Need(key=key, text=", ".join(dict.fromkeys(texts))) for key, texts in sorted(found.items()))

    def _active(self, name: str) -> list[Requirement]:
        extras = self._extras.get(name, set())
        return [each for each in self._requires.get(name, ()) if self._holds(each.marker, extras)]

    def _holds(self, marker: Marker | None, extras: Iterable[str]) -> bool:
        from packaging.markers import UndefinedComparison, UndefinedEnvironmentName

        try:
            return marker is None or any(marker.evaluate({**self._words, "extra": each}) for each in ("", *extras))
        except (UndefinedComparison, UndefinedEnvironmentName):
            return False  # of a marker that no tool can read


def _parsed(requirements: Iterable[str]) -> Iterator[Requirement]:
    from packaging.requirements import InvalidRequirement, Requirement

    for text in requirements:
        # What older packages wrote and no tool reads is passed over: nothing was installed for it either.
        with suppress(InvalidRequirement):
            yield Requirement(text)
