"""The step `bake`: specs → a `docker-bake.json` with the build contexts that it refers to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from packager.checks.script import require_entry_script
from packager.engine.bake_file import BakeSettings
from packager.environments.locks.status import read_inputs
from packager.errors import UsageError
from packager.handoff.bake import Baked, Package, write_bake
from packager.plan.plan import Base
from packager.plan.planned import by_references
from packager.spec.load import SpecFile
from packager.steps.plan import find_base, plan_platforms, say_secrets
from packager.steps.registered import with_registered
from packager.steps.reporting import SILENT, Reporter
from packager.steps.selection import select_targets
from packager.storage.models import Store


def bake(
    spec_files: Iterable[SpecFile],
    path: Path | str = "docker-bake.json",
    *,
    target: str | None = None,
    platforms: Sequence[str] | None = None,
    base: str | None = None,
    push: bool = False,
    no_cache: bool = False,
    pull: bool = False,
    secrets: Sequence[str] = (),
    build_args: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    force: bool = False,
    reporter: Reporter = SILENT,
) -> Baked:
    """Write a bake file for the targets and platforms of specs, with its build contexts in a folder beside it.

    Args:
        spec_files: the specs; an entry script that cannot start is refused.
        path: of the file; `docker buildx bake` runs in its folder.
        target: this target of every spec that has it; all where None.
        platforms: these alone; all of each target where None.
        base: another base image for all.
        push: the file pushes the images.
        no_cache: the file builds every step anew.
        pull: the file asks the registry for the bases, even where the builder has them.
        secrets: for RUN steps, as `--secret` takes them.
        build_args: for all images.
        labels: for all images.
        force: replace contexts that were changed by hand, and a file that packager did not make.
        reporter: is told what is done.

    Raises:
        UsageError: no spec has the target or the platforms; a secret that is none.
        SpecError: two images have one name, or write one tag.
        LockError, ContextError, RenderError: see `plan_image` and `save`.
    """
    packages: list[Package] = []
    for spec_file in spec_files:
        for finding in require_entry_script(spec_file):
            reporter.warn(str(finding))
        other = find_base(spec_file, base, reporter)
        packages += packages_of(spec_file, base=other, target=target, platforms=platforms)
    if not packages:
        asked = " and ".join(text for text in (target and f"target {target!r}", ",".join(platforms or ())) if text)
        raise UsageError(f"no spec has {asked}", remedy="`packager plan` shows targets and platforms")
    say_secrets((planned for package in packages for planned in package.planned), reporter)
    bases = (planned.plan.base for package in packages for planned in package.planned)
    for name in dict.fromkeys(base.reference for base in bases if base.local):
        reporter.warn(f"the base {name} is in this machine's engine alone: no other builder can build the file")
    settings = BakeSettings(
        args=dict(build_args or {}), no_cache=no_cache, pull=pull, outputs=("type=registry",) if push else ()
    )
    return write_bake(packages, Path(path), settings, secrets=secrets, labels=labels, force=force, say=reporter.step)


def packages_of(
    spec_file: SpecFile,
    *,
    base: Base | None = None,
    target: str | None = None,
    platforms: Sequence[str] | None = None,
) -> tuple[Package, ...]:
    """Return what of a spec goes into a bake file; nothing where it has neither the target nor one of the platforms.

    Args:
        spec_file: the spec; its models are in the store afterwards.
        base: takes the place of the locks' base images.
        target: this one alone.
        platforms: these alone; where None, all of each target.

    Raises:
        SpecError, LockError, ContextError: see `packager.steps.plan.plan_image`.
    """
    packages, spec_file = [], with_registered(spec_file)
    for name in select_targets(spec_file):
        if target not in (None, name):
            continue
        inputs = read_inputs(spec_file, name)
        chosen = [platform for platform in inputs.platforms if platforms is None or platform in platforms]
        images = by_references(plan_platforms(inputs, chosen, base=base, digest_model=Store().add)) if chosen else ()
        packages += [Package(planned=planned, apart=len(images) > 1) for planned in images]
    return tuple(packages)
