"""The images that a lock names: each reference that is asked for gets its digest, and keeps it until it is upgraded."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import UnsetType

from packager.environments.lock import LockedTarget, LockRequest
from packager.environments.locks.status import Held
from packager.errors import LockError
from packager.reference import Reference

#: Canonical reference with a tag → `sha256:…` at its registry.
ResolveBase = Callable[[Reference], str]


def pin_images(
    wanted: Mapping[str, LockRequest],
    held: Mapping[str, Held],
    resolve: ResolveBase,
    upgrade: bool,
    offline: bool,
    report: Callable[[str], None],
) -> dict[str, str]:
    """Return each image that is asked for (bases and installers) with its digest; each tag is asked for once."""
    found: dict[str, str] = {}
    for name, request in wanted.items():
        locked = held[name].locked
        asked = [(request.base, pinned_base(request, locked, upgrade=upgrade), "base image")]
        if isinstance(request.installer, str):
            pinned = pinned_installer(request, locked, upgrade=upgrade)
            asked.append((request.installer, pinned, "image of the installer"))
        for image, pinned, title in asked:
            known = pinned or found.get(image)
            if known is None:
                if offline:
                    raise LockError(
                        f"the digest of the {title} {image} is not known, and --offline asks no registry",
                        remedy="run `packager lock` once with network, or write it as NAME:TAG@sha256:…",
                    )
                reference = Reference.parse(image)
                tagged = reference.with_tag(reference.tag or "latest")
                report(f"resolving the {title} {tagged}")
                known = str(tagged.with_digest(resolve(tagged)))
            found[image] = known
    return found


def pinned_base(request: LockRequest, locked: LockedTarget | None, *, upgrade: bool) -> str | None:
    """Return the base with its digest where no registry needs to be asked: given with one, or locked before. Pure."""
    if Reference.parse(request.base).digest is not None:
        return request.base
    if locked is not None and locked.request.base == request.base and not upgrade:
        return locked.base
    return None


def pinned_installer(request: LockRequest, locked: LockedTarget | None, *, upgrade: bool) -> str | None:
    """Return the image of the installer as `pinned_base` does the base. Pure."""
    assert isinstance(request.installer, str), "asked for with conda"
    if Reference.parse(request.installer).digest is not None:
        return request.installer
    if locked is None or upgrade or locked.request.installer != request.installer:
        return None
    return installer_of(locked)


def base_of(locked: LockedTarget) -> str | None:
    """Return the locked base."""
    return locked.base


def installer_of(locked: LockedTarget) -> str | None:
    """Return the locked image of the installer; None for an environment of pip alone."""
    return None if isinstance(locked.conda, UnsetType) else locked.conda.installer


def moved_images(
    before: Mapping[str, LockedTarget], after: Mapping[str, LockedTarget], image: Callable[[LockedTarget], str | None]
) -> dict[str, tuple[str | None, str]]:
    """Return target → its image so far (None when it is new) and now, where they differ."""
    found = {}
    for name, locked in after.items():
        old, new = image(before[name]) if name in before else None, image(locked)
        if new is not None and old != new:
            found[name] = (old, new)
    return found
