"""`--base REF`: another base image for one run, with its digest."""

from __future__ import annotations

from collections.abc import Mapping

from packager.errors import PackagerError, UsageError
from packager.images.reference import Reference
from packager.plan import Base


def resolve_base(text: str, mirrors: Mapping[str, str]) -> Base:
    """Return the base that a reference names: as pinned, else as the engine has it, else as its registry has it.

    The engine comes first, as it does in a Dockerfile's FROM: a locally built, hardened image has no registry.

    Args:
        text: the reference, as the user wrote it.
        mirrors: registry → mirror.

    Raises:
        UsageError: no valid reference.
        RegistryError: neither an engine nor the registry knows it, or the credentials are wrong.
        TemporaryError: the registry is out of reach.
    """
    from packager.images.engine import inspect_local
    from packager.images.registry import resolve_digest

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
