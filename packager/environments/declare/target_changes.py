"""What the environment of one target has less and more than that of the spec."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from packager.environments.declare.conda_file import Parts, inline_parts
from packager.environments.declare.package_sources import joined
from packager.environments.declare.requirement import canonical_name, requirement_name
from packager.errors import Location, SpecError
from packager.spec.load import SpecFile
from packager.spec.model import InlineEnvironment

# As in a requirement: what a user may write after the name by habit.
_AFTER_NAME = re.compile(r"[\s\[<>=!~;@].*", re.DOTALL)


def changed_parts(parts: tuple[Parts, ...], spec_file: SpecFile) -> tuple[Parts, ...]:
    """Return the parts of an environment as the target of the spec asks for them; additions go to the first.

    Raises:
        SpecError: a name to be removed is in none of the parts, or an addition cannot be locked.
    """
    if spec_file.target is None:
        return parts
    changes = spec_file.spec.target_options(spec_file.target).environment
    field = f"targets.{spec_file.target}.environment"
    removed = {
        _name(text, spec_file.at(f"{field}.remove[{index}]")): index for index, text in enumerate(changes.remove)
    }
    known = {name for each in parts for name in _names(each)}
    for name, index in removed.items():
        if name not in known:
            raise SpecError(
                f"the environment does not ask for {name!r}, so it cannot be removed",
                where=spec_file.at(f"{field}.remove[{index}]"),
                remedy=f"it asks for {', '.join(sorted(known)) or 'nothing'}",
            )
    left = tuple(_without(each, set(removed)) for each in parts)
    added = inline_parts(
        InlineEnvironment(conda=changes.add.conda, pip=changes.add.pip),
        _below(spec_file, f"{field}.add"),
        spec_file.root,
        spec_file.document.path,
    )
    first = msgspec.structs.replace(
        left[0],
        specs=(*left[0].specs, *added.specs),
        requirements=(*left[0].requirements, *added.requirements),
        constraints=(*left[0].constraints, *added.constraints),
        hashes=left[0].hashes | added.hashes,
        sources=joined((left[0].sources, added.sources)),
        notes=(*left[0].notes, *added.notes),
        files=tuple(dict.fromkeys((*left[0].files, *added.files))),
    )
    return (first, *left[1:])


def _below(spec_file: SpecFile, field: str) -> Callable[[str], Location]:
    """Return what places the fields of an inline environment (`environment.pip[0]`) below another field."""
    return lambda inner: spec_file.at(f"{field}.{inner.removeprefix('environment.')}")


def _name(text: str, where: Location) -> str:
    if _AFTER_NAME.search(text):
        raise SpecError(
            f"{text!r} is not the name of a package",
            where=where,
            remedy=f"names alone, without versions: {_AFTER_NAME.sub('', text)}",
        )
    return canonical_name(text)


def _names(parts: Parts) -> set[str]:
    return {requirement_name(each) for each in parts.requirements} | {
        canonical_name(each.spec.name) for each in parts.specs
    }


def _without(parts: Parts, names: set[str]) -> Parts:
    return msgspec.structs.replace(
        parts,
        specs=tuple(each for each in parts.specs if canonical_name(each.spec.name) not in names),
        requirements=tuple(each for each in parts.requirements if requirement_name(each) not in names),
    )
