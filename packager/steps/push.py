"""The step `push`: images of the engine → their registries, tested before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress

from packager.engine.api import require_local
from packager.engine.push import Progress, Pushed, push_image, tagged
from packager.errors import PackagerError, RegistryError
from packager.reference import Reference
from packager.registry.client import digest_under_tag
from packager.registry.insecure import is_named
from packager.spec.load import SpecFile
from packager.steps.gate import gate_references
from packager.steps.reporting import SILENT, Reporter
from packager.steps.selection import spec_references, warn_without_repository
from packager.storage.content import ContentStore

OnProgress = Callable[[Progress], None]


def push(
    references: str | Sequence[str] = (),
    *,
    spec_file: SpecFile | None = None,
    target: str | None = None,
    platform: str | None = None,
    test: bool = True,
    reporter: Reporter = SILENT,
    progress: Callable[[], AbstractContextManager[OnProgress]] = lambda: nullcontext(lambda _: None),
) -> tuple[Pushed, ...]:
    """Push images that the engine has, with the user's Docker credentials; those of a spec with tests are tested first.

    The engine pushes, but for a registry that is named as one without TLS: to that, packager does.

    Args:
        references: of the images; those of the spec where none is given.
        spec_file: the spec; None where there is none, and nothing is tested then.
        target: one of the spec's targets, where no reference is given.
        platform: fills `{platform}` in the spec's tags.
        test: False pushes without the spec's tests.
        reporter: is told what is done.
        progress: shows the progress of one push.

    Raises:
        ServiceError: an image failed a test; nothing was pushed.
        EngineError: no engine, or no such image.
        RegistryError: the registry refused.
        TemporaryError: it failed in a way that may pass.
    """
    asked: Sequence[str] = (references,) if isinstance(references, str) else references
    if not asked:
        assert spec_file is not None, "without references there is a spec"
        asked = spec_references(spec_file, target, platform)
        warn_without_repository(spec_file, reporter)
    # All are checked before the first is sent.
    wanted = [tagged(reference) for reference in asked]
    gate_references(spec_file, wanted, test=test, reporter=reporter)
    results = []
    for reference in dict.fromkeys(wanted):
        reporter.step(f"pushing {reference}")
        if is_named(Reference.parse(reference).registry):
            pushed = _push_past_the_engine(reference, reporter)
        else:
            with progress() as on_progress:
                pushed = _push(reference, on_progress)
        reporter.step(f"{reference}: {pushed.uploaded} layers uploaded, {pushed.present} already there")
        results.append(pushed)
    return tuple(results)


def _push_past_the_engine(reference: str, reporter: Reporter) -> Pushed:
    """Push to a registry without TLS, which an engine does only where its own configuration names it."""
    from packager.builders.base import engine_image
    from packager.registry.push import push_images

    local, content = require_local(reference), ContentStore()
    image = engine_image(reference, local.id, local.platform, content, reporter.step)
    (result,) = push_images([image], content, [reference])
    uploaded, present = (
        sum(blob.digest != image.id for blob in blobs)
        for blobs in (result.uploaded, (*result.present, *result.mounted))
    )
    return Pushed(reference=reference, digest=result.digest, uploaded=uploaded, present=present)


def _push(reference: str, on_progress: OnProgress) -> Pushed:
    try:
        return push_image(reference, on_progress=on_progress)
    except RegistryError:
        # A tag that cannot be moved refuses the same image again, too.
        digest = None
        with suppress(PackagerError):
            local = require_local(reference)
            known = {local.id, *(each.rpartition("@")[2] for each in local.repo_digests)}
            digest = digest_under_tag(Reference.parse(reference), known)
        if digest is None:
            raise
        return Pushed(reference=reference, digest=digest, uploaded=0, present=0)
