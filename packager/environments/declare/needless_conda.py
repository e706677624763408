"""Conda files that ask conda for Python and pip alone: the base image has both, and pip installs the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from packager.environments.declare.conda_file import Parts
from packager.environments.declare.conda_python import python_minors, settle_python
from packager.environments.declare.match_spec import Placed
from packager.environments.declare.requirements_txt import note
from packager.errors import Location
from packager.spec.load import SpecFile
from packager.spec.model import DEFAULT_PYTHON
from packager.targets import Target, load_target

_BASE_HAS = {"python", "pip"}
_PATCH = re.compile(r"\d+\.\d+\.\d+")


def without_conda(parts: Parts, spec_file: SpecFile, where: Location) -> tuple[Parts, str] | None:
    """Return the parts as pip is asked for them, and the minor version of Python; None where conda is needed.

    Conda is needed where it is asked for more, where the target's base image has no Python, and on a base of the user's
    own, of which nothing is known.

    Args:
        parts: of a conda file.
        spec_file: the spec, of one target.
        where: the file is named.

    Raises:
        SpecError: versions of Python exclude each other.
    """
    spec = spec_file.spec
    pythons = [each for each in parts.specs if each.spec.name == "python"]
    if {each.spec.name for each in parts.specs} - _BASE_HAS or any(map(_is_special, pythons)):
        return None
    name = spec_file.target or spec.target_names[0]
    target = load_target(name, spec_file.templates, spec_file.at_target(name))
    if not target.bases or spec.base is not None or spec.target_options(name).base is not None:
        return None
    python = _python(pythons, spec.python, target, spec_file.at("python"))
    said = f"nothing is asked of conda but Python and pip: pip installs the rest on the base image of Python {python}"
    exact = [found[0] for each in pythons if (found := _PATCH.search(each.spec.version))]
    if exact:
        said += f", whose patch version need not be {exact[0]}"
    place = pythons[0].where if pythons else where
    left = msgspec.structs.replace(parts, specs=(), channels=(), notes=(*parts.notes, note(place, said)))
    return left, python


def _is_special(python: Placed) -> bool:
    """Whether a Python is asked for that no official image has: PyPy, a debug build, one from a file."""
    asked = python.spec
    return bool(asked.options) or (bool(asked.build) and "cpython" not in asked.build)


def _python(pythons: list[Placed], wanted: str | None, target: Target, at: Location) -> str:
    if not pythons:
        return wanted or DEFAULT_PYTHON
    python, _ = settle_python(pythons, wanted, at)
    if python is not None:
        return python
    # Several will do: the newest with a base that is pinned, else the newest that has one.
    admitted = python_minors(each.spec.version for each in pythons)
    found = _newest(target.bases, admitted) or _newest(target.unpinned, admitted)
    return found or (f"3.{max(admitted)}" if admitted else DEFAULT_PYTHON)


def _newest(pythons: Iterable[str], admitted: frozenset[int] | None) -> str | None:
    minors = {int(each.partition(".")[2]) for each in pythons}
    fitting = minors if admitted is None else minors & admitted
    return f"3.{max(fitting)}" if fitting else None
