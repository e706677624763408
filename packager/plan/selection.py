"""Which platforms a target is for, and which of its images are one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from packager.spec.load import SpecFile
from packager.targets import load_target

if TYPE_CHECKING:
    from packager.pipeline import Planned


def target_platforms(spec_file: SpecFile, target: str) -> tuple[str, ...]:
    """Return the platforms of a target: those that the spec names, else those that the target has by itself.

    Raises:
        SpecError: there is no such target.
    """
    named = spec_file.spec.target_options(target).platforms
    return named or load_target(target, spec_file.templates, spec_file.at_target(target)).platforms


def by_references(planned: Sequence[Planned]) -> tuple[tuple[Planned, ...], ...]:
    """Return the plans of a target together that write the same tags: they are one image for several platforms."""
    found: dict[tuple[str, ...], list[Planned]] = {}
    for each in planned:
        found.setdefault(each.plan.references, []).append(each)
    return tuple(tuple(group) for group in found.values())
