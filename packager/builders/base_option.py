"""`--base REF`: another base image for one run, with its digest."""

from __future__ import annotations

from collections.abc import Mapping

from packager.errors import PackagerError, UsageError
from packager.plan.plan import ARCHIVES, Base
from packager.reference import Reference


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
    from packager.engine.api import engine_or_registry, inspect_local
    from packager.registry.resolve import resolve_digest

    try:
        reference = Reference.parse(text)
    except PackagerError as error:
        raise UsageError(f"--base {text!r}: {error.message}", remedy=error.remedy) from None
    if reference.digest is None:
        local = inspect_local(text)
        if local is not None:
            return Base(reference=text, digest=local.id, source=text, local=True)
        with engine_or_registry(text):
            reference = reference.with_digest(resolve_digest(reference, mirrors))
    assert reference.digest is not None
    return Base(
        reference=str(reference.without_digest()), digest=reference.digest, source=str(reference.mirrored(mirrors))
    )


def _archive_base(text: str) -> Base:
    from packager.builders.base import archive_base
    from packager.oci.archives import Archive

    archive = Archive.parse(text)
    assert archive is not None
    return archive_base(archive)
