"""Which targets and platforms a verb works on."""

from __future__ import annotations

from packager.errors import UsageError
from packager.plan.make import image_references
from packager.spec.load import SpecFile
from packager.spec.rules import check_written_tags
from packager.steps.reporting import Reporter
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


def warn_without_repository(spec_file: SpecFile, reporter: Reporter) -> None:
    """Say where images go that are pushed, of a spec that names no repository."""
    if spec_file.spec.image.repository is None:
        reporter.warn(
            f"the spec names no image.repository, so that the push goes to docker.io/library/{spec_file.spec.name} "
            "(name yours: `image: {repository: registry.example.com/team/model}`)"
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
