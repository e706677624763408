"""How large a base image is, as far as this machine knows: nothing is fetched for it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import NoReturn

from packager.engine.api import inspect_local
from packager.errors import ContextError, PackagerError
from packager.oci.archives import Archive
from packager.oci.values import Content, Descriptor
from packager.plan.plan import Base
from packager.registry.origins import LayoutOrigin, Origin, describe_image


class _Nowhere:
    """An origin that has nothing, so that only the store is looked into."""

    def manifest(self, digest: str) -> NoReturn:
        raise ContextError(f"{digest} is not here")

    def blob(self, descriptor: Descriptor, content: Content) -> NoReturn:
        raise ContextError(f"{descriptor.digest} is not here")


def base_size(base: Base, platform: str, content: Content) -> int | None:
    """Return the bytes of a base's layers: as they are pulled, or unpacked where only an engine has it.

    Args:
        base: of an image.
        platform: OCI os/arch of the image.
        content: the store, which knows bases that were built on before.

    Returns:
        None where that is not known on this machine.
    """
    try:
        if base.local:
            local = inspect_local(base.source)
            return None if local is None else local.size
        with ExitStack() as stack:
            origin: Origin = _Nowhere()
            if base.archived:
                archive = Archive.parse(base.source)
                if archive is None or archive.kind == "docker-archive":
                    return None  # its layers would have to be packed first
                origin = stack.enter_context(LayoutOrigin(archive))
            image = describe_image(base.digest, platform, content, origin, base.reference)
    except (OSError, PackagerError):
        return None
    return sum(layer.blob.size for layer in image.layers)
