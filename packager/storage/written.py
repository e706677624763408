"""The digest under which an image was written on this machine, by the id under which an engine knows it."""

from __future__ import annotations

from packager.storage.memory import Memory

#: Memory of id → digest and platform.
IMAGES = "images"


def written_as(image_id: str) -> tuple[str, str]:
    """Return digest and platform of an image; empty ones where it was not written here.

    Args:
        image_id: `sha256:…` by which an engine knows it.
    """
    digest, _, platform = (Memory(IMAGES).recall(image_id) or b"").decode(errors="replace").partition(" ")
    return (digest, platform) if platform else ("", "")


def digest_of(image_id: str) -> str:
    """Return the digest that the build of an image printed; of one that was not written here, the engine's id of it."""
    return written_as(image_id)[0] or image_id
