"""Images of the content store → registry, engine, files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from packager.builders.output_option import Output
from packager.errors import EngineError, UsageError
from packager.oci.compose import make_index
from packager.oci.outputs import (
    load_into_engine,
    write_docker_archive,
    write_layout,
    write_oci_archive,
)
from packager.oci.values import Content, Image, digest_of
from packager.plan.plan import Plan
from packager.reference import Reference
from packager.registry.push import PushResult, push_images

Say = Callable[[str], None]


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """What was made of one image, or of one for each of several platforms.

    Attributes:
        digest: of the manifest, or of the index of several platforms.
        image_id: of the configuration; empty for several platforms.
        references: that have it now, at a registry or in the engine.
        pushed: bytes were sent to registries, or they had them.
        loaded: the engine has it.
        bytes_sent: to registries.
    """

    digest: str
    image_id: str
    references: tuple[str, ...]
    pushed: bool = False
    loaded: bool = False
    bytes_sent: int = 0


def deliver(
    images: Sequence[Image],
    plan: Plan,
    content: Content,
    references: Sequence[str],
    *,
    push: bool,
    load: bool,
    outputs: Sequence[Output],
    say: Say,
) -> Delivered:
    """Bring images where they are wanted.

    Args:
        images: one for each platform.
        plan: of the first, for its base.
        content: holds their layers.
        references: names with tags.
        push: to the registries of the references.
        load: into the engine; where neither is wanted and no output either, it is tried.
        outputs: files and folders.
        say: is told what is done.

    Raises:
        UsageError: several platforms for an engine or a docker archive, which hold one.
        RegistryError, TemporaryError: see `push_images`.
        EngineError, ContextError: see `packager.oci.outputs`.
    """
    if len(images) > 1 and (load or any(output.kind == "docker" for output in outputs)):
        raise UsageError("an engine takes one platform", remedy="--push or -o type=oci,dest=… take several")
    digest = images[0].digest if len(images) == 1 else digest_of(make_index(images))
    for output in outputs:
        _write(images, references, output, content)
        say(f"wrote {output.destination}")
    results = _push(images, plan, content, references, say) if push else ()
    loaded = False
    if load or not (push or outputs or len(images) > 1):
        loaded = _load(images[0], references, content, load, say)
    return Delivered(
        digest=digest,
        image_id=images[0].id if len(images) == 1 else "",
        references=tuple(references) if push or loaded else (),
        pushed=push,
        loaded=loaded,
        bytes_sent=sum(result.bytes_sent for result in results),
    )


def _write(images: Sequence[Image], references: Sequence[str], output: Output, content: Content) -> None:
    if output.kind == "docker":
        write_docker_archive(images[0], references, output.destination, content)
    elif output.is_folder:
        write_layout(images, references, output.destination, content)
    else:
        write_oci_archive(images, references, output.destination, content)


def _push(
    images: Sequence[Image], plan: Plan, content: Content, references: Sequence[str], say: Say
) -> tuple[PushResult, ...]:
    results = push_images(images, content, references, mount_from=_mounts(images, plan, references))
    for result in results:
        counts = f"{len(result.uploaded)} uploaded ({result.bytes_sent} bytes)"
        say(f"{result.references[0]}: blobs {counts}, {len(result.mounted)} mounted, {len(result.present)} there")
    return results


def _mounts(images: Sequence[Image], plan: Plan, references: Iterable[str]) -> dict[str, str]:
    """Return which repository of the same registry has the base's blobs, so that they need not be sent."""
    if plan.base.local or plan.base.archived:
        return {}
    source = Reference.parse(plan.base.source)
    if any(Reference.parse(each).registry != source.registry for each in references):
        return {}
    return {layer.blob.digest: source.repository for image in images for layer in image.layers}


def _load(image: Image, references: Sequence[str], content: Content, asked: bool, say: Say) -> bool:
    from packager.engine.api import inspect_local

    try:
        held = [inspect_local(reference, required=True) for reference in references]
    except EngineError:
        if asked:
            raise
        say("no engine answers: the image is in the store; --push or -o type=oci,dest=… bring it further")
        return False
    if any(each is None or each.id not in (image.id, image.digest) for each in held):
        say("loading it into the engine")
        load_into_engine(image, references, content)
    return True
