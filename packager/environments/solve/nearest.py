"""What is nearest to a version that cannot be had: another Python that has it, another version that this Python has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import msgspec

from packager.environments.declare.import_names import refused_name
from packager.errors import LockError

#: Minor versions of Python 3 that are tried: those for which there is an inference server.
_PYTHONS = range(8, 15)

#: Pins that are looked at: each takes a few runs of uv.
_MOST = 2

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?==([A-Za-z0-9][A-Za-z0-9.+!_-]*)")
_NO_WHEELS = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==\S+ has no (?:usable )?wheels")

_NO_VERSION = re.compile(r"there is no version of ([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==")

_GENERAL = re.compile(r"^(?:ask for versions of .*?, or |change the requirements so that they fit together$)")

#: Requirement, minor version of Python, and whether the lowest version is wanted → the version, or None.
Look = Callable[[str, str, bool], str | None]


class Nearest(msgspec.Struct, frozen=True, kw_only=True):
    """What can be had in place of a pin.

    Attributes:
        name: of the package.
        version: that was asked for.
        python: the nearest minor version of Python with a wheel of it; None where none has.
        other: the nearest version with a wheel for the Python that was asked for; None where there is none.
        unknown: the version was never released; `other` is the newest then.
    """

    name: str
    version: str
    python: str | None
    other: str | None
    unknown: bool = False


def refused_pins(message: str, requirements: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return name and version of the pins that, as uv says, have no wheels. Pure.

    Args:
        message: of the error.
        requirements: that were asked for.
    """
    return _pins(_NO_WHEELS, message, requirements)


def unknown_pins(message: str, requirements: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return name and version of the pins that, as uv says, are of versions that were never released. Pure.

    Args:
        message: of the error.
        requirements: that were asked for.
    """
    return _pins(_NO_VERSION, message, requirements)


def _pins(said: re.Pattern[str], message: str, requirements: Iterable[str]) -> tuple[tuple[str, str], ...]:
    refused = {_normal(name) for name in said.findall(message)}
    pins = (_PIN.fullmatch(each.partition(";")[0].strip()) for each in requirements)
    found = (pin for pin in pins if pin is not None and _normal(pin[1]) in refused)
    # No version of what is for another system, or of what is no package, will do.
    return tuple((pin[1], pin[3]) for pin in found if refused_name(_normal(pin[1])) is None)[:_MOST]


def find_nearest(name: str, version: str, python: str, look: Look) -> Nearest:
    """Look for what is nearest to a pin.

    Args:
        name: of the package.
        version: that has no wheel.
        python: minor version that was asked for.
        look: asks uv.
    """
    found = next((each for each in _nearest_first(python) if look(f"{name}=={version}", each, False)), None)
    other = look(f"{name}>={version}", python, True) or look(f"{name}<{version}", python, False)
    return Nearest(name=name, version=version, python=found, other=other)


def other_python(python: str, fits: Callable[[str], bool]) -> str | None:
    """Return the minor version of Python, the nearest first, for which all that is asked fits; None where none is.

    Args:
        python: minor version for which it does not.
        fits: asks uv.
    """
    return next((each for each in _nearest_first(python) if fits(each)), None)


def with_other_python(error: LockError, python: str | None) -> LockError:
    """Return an error whose remedy says first for which Python all that is asked fits. Pure."""
    if python is None:
        return error
    said = f'all of it fits Python {python} (`python: "{python}"`)'
    return LockError(error.message, where=error.where, remedy=f"{said}; or {error.remedy}" if error.remedy else said)


def _nearest_first(python: str) -> list[str]:
    here = int(python.split(".")[1])
    others = sorted((each for each in _PYTHONS if each != here), key=lambda each: (abs(each - here), -each))
    return [f"3.{each}" for each in others]


def find_newest(name: str, version: str, python: str, look: Look) -> Nearest:
    """Look for the newest version of a package that has not the one that was asked for.

    Args:
        name: of the package.
        version: that was never released.
        python: minor version that was asked for.
        look: asks uv.
    """
    return Nearest(name=name, version=version, python=None, other=look(name, python, False), unknown=True)


def is_general(error: LockError) -> bool:
    """Whether an error's remedy says only that other versions are to be asked for. Pure."""
    return _GENERAL.match(error.remedy or "") is not None


def with_nearest(error: LockError, python: str, found: Iterable[Nearest]) -> LockError:
    """Return an error whose remedy says first what can be had. Pure.

    Args:
        error: of the solve.
        python: minor version that was asked for.
        found: what is nearest to each pin.
    """
    said = [text for each in found if (text := _sentence(each, python))]
    if not said:
        return error
    # What it says of the same in general is said now.
    rest = _GENERAL.sub("", error.remedy or "")
    return LockError(error.message, where=error.where, remedy="; or ".join([*said, *([rest] if rest else [])]))


def _sentence(nearest: Nearest, python: str) -> str:
    if nearest.unknown:
        return f"the newest for Python {python} is {nearest.name}=={nearest.other}" if nearest.other else ""
    said = []
    if nearest.python is not None:
        said.append(
            f'{nearest.name} {nearest.version} has wheels for Python {nearest.python} (`python: "{nearest.python}"`)'
        )
    if nearest.other is not None:
        said.append(f"the nearest with wheels for Python {python} is {nearest.name}=={nearest.other}")
    return ", and ".join(said)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
