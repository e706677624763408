"""Which targets and platforms a verb works on."""

from __future__ import annotations

from collections.abc import Iterable

from packager.errors import UsageError
from packager.plan.make import image_references
from packager.reference import Reference
from packager.spec.load import SpecFile
from packager.spec.rules import check_written_tags
from packager.targets import load_target


def target_platforms(spec_file: SpecFile, target: str) -> tuple[str, ...]:
    """Return the platforms of a target: those that the spec names, else those that the target has by itself.

    Raises:
        SpecError: there is no such target.
    """
    named = spec_file.spec.target_options(target).platforms
    return named or load_target(target, spec_file.templates, spec_file.at_target(target)).platforms


def select_targets(spec_file: SpecFile, target: str | None = None) -> tuple[str, ...]:
    """Return the targets to work on: the one that is asked for, or all of the spec.

    Raises:
        UsageError: the spec does not have this target.
        SpecError: two targets would write one tag.
    """
    spec = spec_file.spec
    names = spec.target_names
    if len(names) > 1 and any("{platform}" in tag for name in names for tag in spec.for_target(name).image.tags):
        platforms = {name: target_platforms(spec_file, name) for name in names}
        check_written_tags(spec, spec_file.document, platforms)
    if target is None:
        return names
    if target not in names:
        raise UsageError(f"the spec has no target {target!r}", remedy=f"its targets: {', '.join(names)}")
    return (target,)


def one_target(spec_file: SpecFile, target: str | None = None) -> str:
    """Return the one target that a verb works on which can do no more than one.

    Raises:
        UsageError: the spec has several and none was named.
    """
    names = select_targets(spec_file, target)
    if len(names) > 1:
        raise UsageError("the spec has several targets", remedy=f"choose one: --target {names[0]}")
    return names[0]


def refuse_unplaced(references: Iterable[str], spec_file: SpecFile | None = None) -> None:
    """Refuse to push to where nobody can: `model:1` alone is docker.io/library/model:1, of Docker's own images.

    Args:
        references: to be pushed.
        spec_file: the spec that they come from; None where they were given.

    Raises:
        UsageError: one names no place of its own.
    """
    for reference in references:
        if Reference.parse(reference).unplaced:
            name = Reference.parse(reference).repository.rpartition("/")[2]
            place = f"registry.example.com/team/{name}"
            raise UsageError(
                f"{reference} names no registry, and docker.io/library has Docker's own images: nobody can push there",
                where=spec_file.at("image.repository") if spec_file is not None else None,
                remedy=f"say where it goes: `image: {{repository: {place}}}` in the spec with your registry, then "
                "`packager push --build`"
                if spec_file is not None
                else f"say where it goes, such as {place}:1 with your registry (`docker tag {reference} …`)",
            )


def spec_references(spec_file: SpecFile, target: str | None = None, platform: str | None = None) -> tuple[str, ...]:
    """Return the image references of a spec, for all of its targets or for one.

    Args:
        spec_file: the spec.
        target: one of its targets.
        platform: fills `{platform}` in tags; each target's first where None.

    Raises:
        UsageError, SpecError: no such target.
    """
    references: list[str] = []
    for name in select_targets(spec_file, target):
        chosen = platform or target_platforms(spec_file, name)[0]
        references += image_references(spec_file.spec.for_target(name), name, chosen)
    return tuple(dict.fromkeys(references))
