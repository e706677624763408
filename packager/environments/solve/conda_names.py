"""Which PyPI names conda packages stand for, so that pip installs none of them again. Pure but for the map's file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from packager.environments.declare.requirement import canonical_name
from packager.environments.names_of_conda import known_names

# The package URL specification, type pypi: `pkg:pypi/NAME[@VERSION][?…][#…]`.
_PURL = re.compile(r"pkg:pypi/([A-Za-z0-9._-]+)(?:[@?#].*)?")
_PYTHON = re.compile(r"python(?:_abi)?(?:[\s=<>!~\[].*)?")
#: Depend on Python or are it, and are on PyPI by that name only as something else.
_NEVER = frozenset({"python", "python-abi"})


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """What of a conda package tells its PyPI name.

    Attributes:
        name: conda's.
        purls: package URLs of its record.
        noarch: `python`, `generic`, or empty.
        depends: match specs of what it needs.
    """

    name: str
    purls: tuple[str, ...] = ()
    noarch: str = ""
    depends: tuple[str, ...] = ()

    @property
    def is_python(self) -> bool:
        """Whether it is installed into a Python, so that it may be what PyPI has under the same name."""
        return self.noarch == "python" or any(_PYTHON.fullmatch(each.strip()) for each in self.depends)


def provides(packages: Iterable[Named], names: Mapping[str, str]) -> dict[str, str]:
    """Return PyPI name → conda name for what the packages bring, sorted.

    A package's own record is believed first, then the user's map, then the map that comes with packager, then the
    same name, which is believed of Python packages alone: conda's `snappy` is a C library, PyPI's is not.

    Args:
        packages: of all platforms.
        names: conda name → PyPI name, of the user's map; an empty name says that it is nothing of PyPI's.
    """
    ours = known_names()
    found: dict[str, str] = {}
    # The package of the very name goes first: `matplotlib` and `matplotlib-base` both stand for matplotlib.
    for package in sorted(packages, key=lambda each: each.name):
        for name in _pypi_names(package, names, ours):
            if name not in _NEVER and (name not in found or canonical_name(package.name) == name):
                found[name] = package.name
    return dict(sorted(found.items()))


def _pypi_names(package: Named, names: Mapping[str, str], ours: Mapping[str, str]) -> tuple[str, ...]:
    matches = (_PURL.fullmatch(each) for each in package.purls)
    purls = tuple(canonical_name(match[1]) for match in matches if match)
    if purls:
        return purls
    for known in (names, ours):
        if package.name in known:
            name = known[package.name]
            return (canonical_name(name),) if name else ()
    return (canonical_name(package.name),) if package.is_python else ()
