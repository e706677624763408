"""pip's half solved around conda's: what conda brings is a fact to uv, told in uv's own words.

For each PyPI name that conda brings, uv finds a wheel of that version with the local label `+conda` and nothing in it,
and a constraint that admits no other. So uv neither solves nor downloads it, and where something asks for another
version, uv's explanation names both. Of the result, these packages are taken out again.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from packager.environments.conda import Provided
from packager.environments.declare.requirement import requirement_name
from packager.errors import LockError

#: The local version label of what conda brings; packaging specification "Version specifiers", local versions.
LABEL = "conda"
#: For a version of conda's that is none of PyPI's (`9e`): every requirement of it is taken for met.
_UNKNOWN = f"0+{LABEL}"

_STUB = re.compile(rf"([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+?)\+{LABEL}(?![A-Za-z0-9.])")


def stub_version(version: str) -> str:
    """Return the version under which uv is told of a package of conda's."""
    try:
        known = Version(version)
    except InvalidVersion:
        return _UNKNOWN
    return f"{known.public}+{known.local}.{LABEL}" if known.local else f"{known}+{LABEL}"


def write_stubs(provided: Provided, folder: Path) -> None:
    """Write the wheels that stand for what conda brings.

    Format: the packaging specification "Binary distribution format", as far as a solver reads it.
    """
    folder.mkdir()
    for name, conda_version in provided.versions.items():
        version = stub_version(conda_version)
        stem = f"{name.replace('-', '_')}-{version}"
        with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
            info = f"{stem}.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")


def constraints(provided: Provided) -> list[str]:
    """Return the lines that admit no other versions than conda's."""
    return [f"{name}=={stub_version(version)}" for name, version in provided.versions.items()]


def overrides(provided: Provided) -> list[str]:
    """Return the lines that take every requirement of a package for met whose version cannot be compared."""
    lines = constraints(provided)
    return [line for line in lines if line.endswith(f"=={_UNKNOWN}")]


def check_direct(requirements: Iterable[str], provided: Provided, platform: str) -> None:
    """Refuse what pip is asked for in another version than conda brings, before anything is solved.

    Args:
        requirements: in normal form, constraints among them.
        provided: what conda brings.
        platform: named in the error.

    Raises:
        LockError: naming both.
    """
    for text in requirements:
        name = requirement_name(text)
        version = _comparable(provided.versions.get(name))
        if version is None:
            continue
        requirement = Requirement(text)
        if requirement.marker is None and not requirement.specifier.contains(version, prereleases=True):
            raise LockError(
                f"conda and pip ask for different versions of {name} for {platform}: conda brings {version}, pip is "
                f"asked for {text}",
                remedy=f"ask conda for a version that fits `{requirement.specifier}`, or remove {name} from pip",
            )


def _comparable(version: str | None) -> Version | None:
    try:
        return None if version is None else Version(version)
    except InvalidVersion:
        return None


def notes(requirements: Iterable[str], provided: Collection[str]) -> tuple[str, ...]:
    """Return what a user should know of requirements that conda meets, a line each."""
    lines = []
    for text in requirements:
        name = requirement_name(text)
        if name not in provided:
            continue
        extras = Requirement(text).extras
        if extras:
            named = ", ".join(sorted(extras))
            lines.append(
                f"conda brings {name}, so pip does not install what its extra {named} needs: add that to the "
                "environment"
            )
        else:
            lines.append(f"{text} is not installed by pip: conda brings {name}")
    return tuple(lines)


def conflicts(text: str) -> dict[str, str]:
    """Return name → version of what conda brings and an explanation of uv's names."""
    return {name.lower(): version for name, version in _STUB.findall(text)}


def in_words(text: str) -> str:
    """Return an explanation of uv's with our label in words: `numpy==2.3.1+conda` is `numpy 2.3.1 (of conda)`."""
    return _STUB.sub(r"\1 \2 (of conda)", text)
