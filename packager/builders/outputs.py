"""Where images of the content store go: registries, the engine, folders and files. The next place is one class.

`-o` is a path, as for every verb: an OCI layout in a folder, or as a tar. Else it is written as for `docker buildx
build`: `type=oci,dest=…`, `type=docker,dest=…`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import msgspec

from packager.builders.known import base_mounts, remember_image
from packager.errors import EngineError
from packager.oci.values import Content, Image
from packager.plan.plan import Base

Say = Callable[[str], None]


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What became of images at an output.

    Attributes:
        pushed: their references are at registries.
        loaded: the engine has them under their references.
        bytes_sent: over a network.
    """

    pushed: bool = False
    loaded: bool = False
    bytes_sent: int = 0


class Output(Protocol):
    """A place for images."""

    @property
    def takes_several(self) -> bool:
        """It holds images for several platforms under one name."""
        ...

    def send(self, images: Sequence[Image], references: Sequence[str], content: Content, say: Say) -> Sent:
        """Bring images there.

        Args:
            images: one for each platform.
            references: names with tags.
            content: holds their layers.
            say: is told what is done.
        """
        ...


class OciOutput(msgspec.Struct, frozen=True):
    """A layout of OCI: a folder, or a tar where the name ends with `.tar`."""

    destination: Path
    takes_several: ClassVar[bool] = True

    def send(self, images: Sequence[Image], references: Sequence[str], content: Content, say: Say) -> Sent:
        """Write the layout, whole or not at all.

        Raises:
            ContextError: something else is at the destination; a layer is missing; the disk is full.
        """
        from packager.oci.outputs import write_layout, write_oci_archive

        write = write_oci_archive if self.destination.suffix == ".tar" else write_layout
        write(images, references, self.destination, content)
        say(f"wrote {self.destination}")
        return Sent()


class DockerArchiveOutput(msgspec.Struct, frozen=True):
    """A tar that `docker load` reads."""

    destination: Path
    takes_several: ClassVar[bool] = False

    def send(self, images: Sequence[Image], references: Sequence[str], content: Content, say: Say) -> Sent:
        """Write the archive, whole or not at all.

        Raises:
            ContextError: a layer is missing; the disk is full.
        """
        from packager.oci.outputs import write_docker_archive

        write_docker_archive(images[0], references, self.destination, content)
        say(f"wrote {self.destination}")
        return Sent()


class RegistryOutput(msgspec.Struct, frozen=True, kw_only=True):
    """The registries of the references; blobs of a base in the same registry are mounted."""

    base: Base
    takes_several: ClassVar[bool] = True

    def send(self, images: Sequence[Image], references: Sequence[str], content: Content, say: Say) -> Sent:
        """Push the images under every reference.

        Raises:
            RegistryError, TemporaryError: see `packager.registry.push.push_images`.
        """
        from packager.registry.push import push_images

        mounts = {} if self.base.local or self.base.archived else base_mounts(self.base.source, images, references)
        results = push_images(images, content, references, mount_from=mounts)
        for result in results:
            counts = f"{len(result.uploaded)} uploaded ({result.bytes_sent} bytes)"
            say(f"{result.references[0]}: blobs {counts}, {len(result.mounted)} mounted, {len(result.present)} there")
        return Sent(pushed=True, bytes_sent=sum(result.bytes_sent for result in results))


class EngineOutput(msgspec.Struct, frozen=True, kw_only=True):
    """The engine.

    Attributes:
        required: it was asked for by name; else the image stays in the store where no engine answers.
    """

    required: bool
    takes_several: ClassVar[bool] = False

    def send(self, images: Sequence[Image], references: Sequence[str], content: Content, say: Say) -> Sent:
        """Load the image, unless the engine has it.

        Raises:
            EngineError: no engine answers and it is required; it refuses, or made another image of it.
        """
        from packager.engine.api import inspect_local

        (image,) = images
        try:
            present = [inspect_local(reference, required=True) for reference in references]
        except EngineError:
            if self.required:
                raise
            say("no engine answers: the image is in the store; --push or -o type=oci,dest=… bring it further")
            return Sent()
        if any(local is None or local.id not in (image.id, image.digest) for local in present):
            # Seldom: a build of nothing new loads nothing.
            from packager.builders.loading import load_into_engine

            say("loading it into the engine")
            known = {load_into_engine(image, references, content)}
        else:
            known = {local.id for local in present if local is not None}
        # A push sends it as it was written, and not as the engine would pack it again.
        remember_image(image, known)
        return Sent(loaded=True)


def parse_output(text: str) -> Output | None:
    """Return the output that `-o` names; None where it is one that only BuildKit knows."""
    if text and text != "-" and "=" not in text:
        return OciOutput(Path(text))
    fields = dict(field.partition("=")[::2] for field in text.split(","))
    kind, destination = fields.get("type"), fields.get("dest")
    if kind not in ("oci", "docker") or not destination or destination == "-" or set(fields) - {"type", "dest"}:
        return None
    return OciOutput(Path(destination)) if kind == "oci" else DockerArchiveOutput(Path(destination))


def buildx_output(text: str) -> str:
    """Return an output as `docker buildx build` takes it: a path alone would mean the image's files to it."""
    if "=" in text or not parse_output(text):
        return text
    return f"type=oci,dest={text}" if text.endswith(".tar") else f"type=oci,tar=false,dest={text}"


def takes_several(push: bool, outputs: Sequence[str]) -> bool:
    """Whether images for several platforms have a place under one name where a build sends them."""
    places = [parse_output(text) for text in outputs]
    layouts = [place is not None and place.takes_several for place in places]
    return all(layouts) and (push or bool(layouts))
