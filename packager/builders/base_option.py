"""`--base REF`: another base image for one run, with its digest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from packager.errors import PackagerError, UsageError
from packager.plan.plan import ARCHIVES, Base
from packager.reference import Reference

if TYPE_CHECKING:
    from packager.context.sources import DigestModel
    from packager.pipeline import Planned
    from packager.spec.load import SpecFile


def resolve_base(text: str, mirrors: Mapping[str, str]) -> Base:
    """Return the base that a reference names: as pinned, else as the engine has it, else as its registry has it.

    The engine comes first, as it does in a Dockerfile's FROM: a locally built, hardened image has no registry.

    Args:
        text: the reference, as the user wrote it, or an archive (`oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`).
        mirrors: registry → mirror.

    Raises:
        UsageError: no valid reference.
        ContextError: the archive is missing or damaged.
        RegistryError: neither an engine nor the registry knows it, or the credentials are wrong.
        TemporaryError: the registry is out of reach.
    """
    if text.startswith(ARCHIVES):
        return _archive_base(text)
    from packager.engine.api import inspect_local
    from packager.registry.resolve import resolve_digest

    try:
        reference = Reference.parse(text)
    except PackagerError as error:
        raise UsageError(f"--base {text!r}: {error.message}", remedy=error.remedy) from None
    if reference.digest is None:
        local = inspect_local(text)
        if local is not None:
            return Base(reference=text, digest=local.id, source=text, local=True)
        reference = reference.with_digest(resolve_digest(reference, mirrors))
    assert reference.digest is not None
    return Base(
        reference=str(reference.without_digest()), digest=reference.digest, source=str(reference.mirrored(mirrors))
    )


def require_no_archive(base: Base) -> None:
    """Refuse a base that only the builder without an engine can read.

    Raises:
        UsageError: the base is an archive.
    """
    if base.archived:
        raise UsageError(
            f"BuildKit cannot build on {base.source}: a Dockerfile's FROM names images, not files",
            remedy="`--builder oci` can; or give it to the engine first (`docker load`), or to a registry",
        )


def _archive_base(text: str) -> Base:
    from packager.builders.base import archive_base
    from packager.oci.archives import Archive

    archive = Archive.parse(text)
    assert archive is not None
    return archive_base(archive)


def planner(spec_file: SpecFile, base: str | None, digest_model: DigestModel) -> Callable[[str, str | None], Planned]:
    """Return what plans the images of a spec: target and platform (its first where None) → plan.

    Args:
        spec_file: the spec.
        base: `--base`; looked up once, for all of them.
        digest_model: reads models.

    Raises:
        RegistryError, EngineError, TemporaryError: see `resolve_base`; what it returns raises as `plan_image`.
    """
    from packager.pipeline import machine_mirrors, plan_image

    mirrors = machine_mirrors()
    found = resolve_base(base, {**spec_file.spec.registry_mirrors, **mirrors}) if base is not None else None

    def plan(target: str, platform: str | None) -> Planned:
        return plan_image(spec_file, target, platform, digest_model=digest_model, base=found, mirrors=mirrors)

    return plan
