"""Which image an update of a named service runs: built first, stale, or the same as before."""

from __future__ import annotations

import msgspec

from packager.builders.builder import BuildWish
from packager.contract import TARGET_LABEL, TITLE_LABEL
from packager.engine.api import inspect_local, require_local
from packager.errors import UsageError
from packager.serving.deployed import look
from packager.serving.status import Change, Status, named
from packager.spec.load import SpecFile
from packager.steps.reporting import Reporter
from packager.steps.selection import one_target, spec_references
from packager.steps.stale import build_first, warn_of_stale
from packager.storage.written import digest_of


def image_of_update(
    name: str,
    version: str | None,
    change: Change,
    spec_file: SpecFile | None,
    build: BuildWish | None,
    reporter: Reporter,
) -> Change:
    """Return a change that names its image, which is built first where that is wished.

    That it is not of the files as they are now, or the same as before, is said.

    Args:
        name: of the service, which is on the engine.
        version: of it, where it has several.
        change: what is new.
        spec_file: the spec, where there is one.
        build: how it is built; None where it is there.
        reporter: is told.

    Raises:
        UsageError: the service runs no image of the spec that is to be built.
        EngineError, ServiceError: no engine, or no such service, version or image.
    """
    now = look(name, version=version)
    if version is None and len(now.versions) > 1:
        return change  # the update says that one is to be named
    reference = change.reference
    if build is not None:
        if reference is None:
            reference, build = _spec_image(now, spec_file, build)
        build_first(spec_file, build, change.reference or (), reporter)
    reference = reference or now.image
    local = require_local(reference)
    warn_of_stale(spec_file, {reference: local}, reporter)
    if digest_of(local.id) == now.digest:
        told = reporter.step if (change.env, change.memory, change.cpus) != ({}, None, None) else reporter.warn
        told(f"{named(reference, now.digest)} is the image that {name} runs already")
    return msgspec.structs.replace(change, reference=reference)


def _spec_image(now: Status, spec_file: SpecFile | None, build: BuildWish) -> tuple[str, BuildWish]:
    """Return the reference of the spec's image that takes the place of what a service runs, and how it is built."""
    if spec_file is None:
        raise UsageError("--build needs a spec, and there is none here", remedy="-f FILE names it")
    runs = inspect_local(now.image)
    title = runs.labels.get(TITLE_LABEL, "") if runs is not None else spec_file.spec.name
    if title != spec_file.spec.name:
        raise UsageError(
            f"{now.name} runs {now.image}, which is not of {spec_file.document.path}",
            remedy=f"-f FILE names the spec of it; or name the image: `packager service update {now.name} REF --build`",
        )
    target = one_target(spec_file, runs.labels.get(TARGET_LABEL) if runs is not None else None)
    build = msgspec.structs.replace(build, target=target)
    return spec_references(spec_file, target)[0], build
