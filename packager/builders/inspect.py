"""What an image is, for people and scripts: platforms, configuration, layers, and what is in them. Needs no engine."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, Literal

import msgspec

from packager.laying.image_contents import ImagePackage
from packager.oci.archives import Archive, open_files
from packager.oci.docker_archive import choose_saved, convert
from packager.oci.parse import (
    ImageIndex,
    ImageManifest,
    base_image,
    images_of,
    parse,
    parse_config,
    platform_of,
    platform_text,
    wrong_platform,
)
from packager.oci.parse import normal as normal_platform
from packager.oci.unpacking import DAMAGE, layer_members
from packager.oci.values import LAYER, BaseImage, Content, Descriptor, Layer
from packager.reference import Reference
from packager.registry.origins import LayoutOrigin, Origin, RegistryOrigin, Say, document_of
from packager.registry.resolve import require_digest

_KINDS = {
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "hard link",
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "pipe",
}


class FileView(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a layer.

    Attributes:
        path: in the image.
        kind: `file`, `folder`, `link`, `hard link`, `device` or `pipe`.
        mode: permissions, octal.
        owner: numbers of user and group.
        size: bytes.
        link: where a link points to.
    """

    path: str
    kind: str
    mode: str
    owner: str
    size: int
    link: str = ""


class LayerView(msgspec.Struct, frozen=True, kw_only=True):
    """A layer.

    Attributes:
        digest: of its blob.
        diff_id: digest of its tar.
        media_type: of the blob.
        size: bytes of the blob.
        title: what it is.
        files: what is in it; null unless it was asked for.
    """

    digest: str
    diff_id: str
    media_type: str
    size: int
    title: str
    files: tuple[FileView, ...] | None = None


class ImageView(msgspec.Struct, frozen=True, kw_only=True):
    """An image of one platform, with the part of its configuration that matters.

    Attributes:
        platform: OCI os/arch.
        digest: of its manifest; the engine's id where only an engine has it.
        size: bytes to pull.
        created: RFC 3339.
        user: that it runs as.
        working_dir: where it starts.
        entrypoint: words.
        command: words.
        env: `NAME=VALUE`.
        ports: that it listens on.
        health: how it is asked.
        labels: name → value.
        layers: of it.
        packages: of its environment, the largest first; null unless they were asked for.
    """

    platform: str
    digest: str
    size: int
    created: str
    user: str
    working_dir: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    env: tuple[str, ...]
    ports: tuple[str, ...]
    health: tuple[str, ...]
    labels: dict[str, str]
    layers: tuple[LayerView, ...]
    packages: tuple[ImagePackage, ...] | None = None


class Inspected(msgspec.Struct, frozen=True, kw_only=True):
    """What a reference or archive names.

    Attributes:
        name: that was asked for.
        digest: of the index where there is one, else of the manifest; empty where only an engine has the image, under
            its id.
        images: one for each platform.
        origin: who was looked at: its registry, the engine, or a folder or file.
    """

    name: str
    digest: str
    images: tuple[ImageView, ...]
    origin: Literal["registry", "engine", "file"] = "registry"


def inspect_image(
    text: str,
    content: Content,
    mirrors: Mapping[str, str],
    *,
    platform: str | None = None,
    files: bool = False,
    say: Say = lambda text: None,
) -> Inspected:
    """Look at an image; layers are pulled only when their files are wanted.

    A name without a digest is looked for in the engine first, as `--base` does; then its registry is asked, whatever
    the store has: what a registry does not have is not there.

    Args:
        text: a reference, `oci:DIR`, or a folder or file.
        content: the store; documents, and layers that were looked into, are in it afterwards.
        mirrors: registry → mirror.
        platform: this one only.
        files: say what is in the layers, too.
        say: is told what takes long.

    Raises:
        UsageError: it is neither a reference nor a file.
        ContextError: the file is damaged, or no image.
        RegistryError, TemporaryError: see `RegistryClient`.
    """
    archive = _archive(text)
    if archive is not None and archive.kind == "docker-archive":
        return _docker_archive(archive, content, platform, files)
    if archive is None and (local := _in_engine(text, content, platform, files, say)) is not None:
        return local
    with ExitStack() as stack:
        if archive is not None:
            layout = stack.enter_context(LayoutOrigin(archive))
            origin: Origin = layout
            name, digest = str(archive), layout.layout.top(archive.name).digest
        else:
            from packager.engine.api import engine_or_registry

            reference = Reference.parse(text)
            with engine_or_registry(text) if reference.digest is None else nullcontext():
                name, digest = str(reference), require_digest(reference, mirrors)
            origin = stack.enter_context(RegistryOrigin(reference, mirrors, say))
        found = list(_manifests(digest, content, origin, name, platform))
        images = tuple(
            _look(manifest, each, content, origin, name=name, platform=platform, files=files)
            for each, manifest in found
        )
    return Inspected(name=name, digest=digest, images=images, origin="registry" if archive is None else "file")


def _in_engine(text: str, content: Content, platform: str | None, files: bool, say: Say) -> Inspected | None:
    """Return what an engine has under a name, as it was written here or as it tells itself; None where it has none."""
    from packager.builders.base import fetch_base
    from packager.builders.known import recall_image
    from packager.engine.api import inspect_local
    from packager.plan.plan import Base

    if Reference.parse(text).digest is not None:
        return None
    local = inspect_local(text)
    if local is None or (platform is not None and normal_platform(local.platform) != normal_platform(platform)):
        return None
    if (stored := recall_image(local.id, content)) is not None:
        image = BaseImage(config=parse_config(stored.config, text), layers=stored.layers)
        view = view_of(image, stored.digest, content if files else None)
        return Inspected(name=text, digest=stored.digest, images=(view,), origin="engine")
    if files:
        base = Base(reference=text, digest=local.id, source=text, local=True)
        image = fetch_base(base, local.platform, content, compression="none", say=say)
    else:
        image = _engine_image(text)
    view = view_of(image, local.id, content if files else None)
    # An engine's id is no digest that a registry has; after a push or pull it knows that one, too.
    repository = Reference.parse(text).name
    known = (Reference.parse(each) for each in local.repo_digests)
    digest = next((each.digest for each in known if each.name == repository and each.digest), "")
    return Inspected(name=text, digest=digest, images=(view,), origin="engine")


def _engine_image(reference: str) -> BaseImage:
    """Return an image as the engine's API tells of it: layers without their blobs, of which it does not speak."""
    from packager.engine.api import connect

    with connect() as client:
        image = client.images.get(reference)
        values, history = image.attrs, [*reversed(image.history())]
    ids = (values.get("RootFS") or {}).get("Layers") or ()
    written = [each for each in history if each.get("Size")]
    # It does not say which steps made a layer: those that wrote something did, where their number fits.
    known = written if len(written) == len(ids) else [{}] * len(ids)
    config = {
        "created": values.get("Created"),
        "architecture": values.get("Architecture"),
        "os": values.get("Os"),
        "variant": values.get("Variant"),
        "config": values.get("Config") or {},
    }
    layers = tuple(
        Layer(
            blob=Descriptor(media_type=LAYER, digest=diff_id, size=int(step.get("Size", 0))),
            diff_id=diff_id,
            title=str(step.get("CreatedBy") or f"layer {number}"),
        )
        for number, (diff_id, step) in enumerate(zip(ids, known, strict=True), 1)
    )
    return BaseImage(config=config, layers=layers)


def _archive(text: str) -> Archive | None:
    if (archive := Archive.parse(text)) is not None:
        return archive
    path = Path(text)
    # `./x` and `x.tar` are files for anyone who reads them; `python` stays an image though a folder has that name.
    looks = text.startswith((".", "/")) or path.is_file() or (path / "oci-layout").is_file()
    return Archive.at(path) if looks else None


def _manifests(
    digest: str, content: Content, origin: Origin, name: str, platform: str | None
) -> Iterable[tuple[str, ImageManifest]]:
    document = parse(document_of(digest, content, origin), name)
    if isinstance(document, ImageManifest):
        yield digest, document
        return
    assert isinstance(document, ImageIndex)
    entries = images_of(document)
    wanted = [each for each in entries if platform is None or _fits(each, platform)]
    if not wanted and platform is not None:
        raise wrong_platform(name, platform, [platform_text(each) for each in entries])
    for each in wanted:
        yield from _manifests(each.digest, content, origin, name, platform)


def _fits(entry: Descriptor, platform: str) -> bool:
    text = platform_text(entry)
    return not text or normal_platform(text) == normal_platform(platform)


def _look(
    manifest: ImageManifest,
    digest: str,
    content: Content,
    origin: Origin,
    *,
    name: str,
    platform: str | None,
    files: bool,
) -> ImageView:
    if not content.has(manifest.config.digest, manifest.config.size):
        origin.blob(manifest.config, content)
    config = parse_config(content.path(manifest.config.digest).read_bytes(), name)
    image = base_image(manifest.layers, config, platform or platform_of(config), name)
    if files:
        for layer in image.layers:
            if not content.has(layer.blob.digest, layer.blob.size):
                origin.blob(layer.blob, content)
    return view_of(image, digest, content if files else None)


def _docker_archive(archive: Archive, content: Content, platform: str | None, files: bool) -> Inspected:
    name = str(archive)
    with open_files(archive.path) as there:
        saved = choose_saved(there, name, archive.name)
        wanted = platform or platform_of(parse_config(saved.config, name))
        # Its layers are shown as they are in the archive; the store has to have them to be looked into.
        image = convert(there, saved, wanted, content, name, "none")
    view = view_of(image, saved.id, content if files else None)
    return Inspected(name=name, digest=saved.id, images=(view,), origin="file")


def view_of(image: BaseImage, digest: str, content: Content | None = None) -> ImageView:
    """Return what there is to see of an image; of its layers' files only with the store that has them."""
    values: Any = image.config.get("config") or {}
    return ImageView(
        platform=platform_of(image.config),
        digest=digest,
        size=sum(layer.blob.size for layer in image.layers),
        created=str(image.config.get("created") or ""),
        user=str(values.get("User") or ""),
        working_dir=str(values.get("WorkingDir") or ""),
        entrypoint=_words(values.get("Entrypoint")),
        command=_words(values.get("Cmd")),
        env=_words(values.get("Env")),
        ports=tuple(sorted(values.get("ExposedPorts") or ())),
        health=_words((values.get("Healthcheck") or {}).get("Test")),
        labels=dict(sorted((values.get("Labels") or {}).items())),
        layers=tuple(_layer_view(layer, content) for layer in image.layers),
    )


def _words(value: Any) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, list) else ()


def _layer_view(layer: Layer, content: Content | None) -> LayerView:
    return LayerView(
        digest=layer.blob.digest,
        diff_id=layer.diff_id,
        media_type=layer.blob.media_type,
        size=layer.blob.size,
        title=layer.title,
        files=tuple(files_in(content.path(layer.blob.digest))) if content is not None else None,
    )


def files_in(blob: Path) -> Iterable[FileView]:
    """Iterate over the entries of a layer, in its order; it may be compressed.

    Raises:
        ContextError: it cannot be read.
    """
    from packager.errors import ContextError

    try:
        with blob.open("rb") as stream, layer_members(stream) as archive:
            for member in archive:
                yield FileView(
                    path=member.name,
                    kind=_KINDS.get(member.type, "file"),
                    mode=f"{member.mode:o}",
                    owner=f"{member.uid}:{member.gid}",
                    size=member.size,
                    link=member.linkname,
                )
    except (OSError, *DAMAGE) as error:
        raise ContextError(f"the layer {blob.name} cannot be read: {error}") from None
