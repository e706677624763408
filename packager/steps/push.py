"""The step `push`: images of the engine → their registries, tested before."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from packager.builders.builder import BuildWish, Testing
from packager.builders.known import push_known, recall_image
from packager.engine.api import require_local
from packager.engine.push import Pushed, push_image, tagged
from packager.errors import PackagerError, RegistryError
from packager.reference import Reference
from packager.registry.client import digest_under_tag
from packager.registry.insecure import is_named
from packager.spec.load import SpecFile
from packager.steps.gate import gate_references
from packager.steps.noting import note_pushed
from packager.steps.reporting import SILENT, Reporter
from packager.steps.selection import refuse_unplaced, spec_references
from packager.steps.stale import build_first, refuse_stale
from packager.storage.content import ContentStore


def push(
    references: str | Sequence[str] = (),
    *,
    spec_file: SpecFile | None = None,
    target: str | None = None,
    platform: str | None = None,
    test: Testing = True,
    build: BuildWish | None = None,
    stale: bool = False,
    reporter: Reporter = SILENT,
) -> tuple[Pushed, ...]:
    """Push images that the engine has, with the user's Docker credentials; those of a spec with tests are tested first.

    The engine pushes, but for a registry that is named as one without TLS: to that, packager does.

    Args:
        references: of the images; those of the spec where none is given.
        spec_file: the spec; None where there is none, and nothing is tested then.
        target: one of the spec's targets, where no reference is given.
        platform: fills `{platform}` in the spec's tags.
        test: False pushes without the spec's tests; `done` says that they were run a moment ago.
        build: build the images first, so.
        stale: push images, too, that are not of the spec's files as they are now.
        reporter: is told what is done.

    Raises:
        UsageError: a reference names no registry, and so a place where nobody can push.
        ServiceError: an image failed a test; nothing was pushed.
        ContextError: what an image is made from changed since it was built; nothing was pushed.
        EngineError: no engine, or no such image.
        RegistryError: the registry refused.
        TemporaryError: it failed in a way that may pass.
    """
    asked: Sequence[str] = (references,) if isinstance(references, str) else references
    if not asked:
        assert spec_file is not None, "without references there is a spec"
        asked = spec_references(spec_file, target, platform)
    # All are checked before the first is sent.
    wanted = [tagged(reference) for reference in asked]
    refuse_unplaced(asked, None if references else spec_file)
    if build is not None:
        build_first(spec_file, build, references, reporter)
    if not stale:
        refuse_stale(spec_file, {reference: require_local(reference) for reference in dict.fromkeys(wanted)})
    gate_references(spec_file, wanted, test=test, reporter=reporter)
    results = []
    for reference in dict.fromkeys(wanted):
        reporter.step(f"pushing {reference}")
        pushed = _push(reference, reporter)
        reporter.step(f"{reference}: {pushed.uploaded} layers uploaded, {pushed.present} already there")
        results.append(pushed)
        note_pushed(spec_file, pushed.reference, pushed.digest, require_local(reference).labels, reporter)
    return tuple(results)


def _push(reference: str, reporter: Reporter) -> Pushed:
    content, local = ContentStore(), require_local(reference)
    image = recall_image(local.id, content)
    if image is None and is_named(Reference.parse(reference).registry):
        # Without TLS an engine pushes only where its own configuration says so: packager does, in its own compression.
        from packager.builders.base import engine_image

        image = engine_image(reference, local.id, local.platform, content, reporter.step)
    try:
        if image is not None:
            return push_known(reference, image, content)
        return push_image(reference)
    except RegistryError:
        # A tag that cannot be moved refuses the same image again, too.
        digest = None
        known = {local.id, *(each.rpartition("@")[2] for each in local.repo_digests)}
        with suppress(PackagerError):
            digest = digest_under_tag(Reference.parse(reference), known | ({image.digest} if image else set()))
        if digest is None:
            raise
        return Pushed(reference=reference, digest=digest, uploaded=0, present=0)
