"""A base image, in the content store: from its registry, an OCI layout, a `docker save` archive, or the engine.

Everything is held against its digest when it comes in, and asked for once: a second call touches neither network nor
archive nor engine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from packager.decoding import decode_json
from packager.errors import EngineError
from packager.oci.archives import Archive, Files, Layout, open_files
from packager.oci.compose import manifest
from packager.oci.compression import Compression, codec_name
from packager.oci.docker_archive import Saved, choose_saved, convert
from packager.oci.parse import base_image, parse_config
from packager.oci.values import BaseImage, Content, Descriptor, Image
from packager.plan.plan import Base
from packager.progress import working
from packager.reference import Reference
from packager.registry.origins import LayoutOrigin, RegistryOrigin, Say, changed, describe_image, fetch_image
from packager.storage.content import ContentStore, content_root
from packager.storage.memory import Memory


def fetch_base(
    base: Base,
    platform: str,
    content: Content,
    mirrors: Mapping[str, str] | None = None,
    *,
    compression: Compression = "gzip",
    say: Say = lambda text: None,
) -> BaseImage:
    """Return a base image; afterwards its layers are in the content store.

    Args:
        base: of the plan.
        platform: OCI os/arch[/variant].
        content: the store.
        mirrors: registry → mirror.
        compression: of layers that come without any: from the engine, or a `docker save` archive.
        say: is told what takes long.

    Raises:
        RegistryError: the registry has no such image or refuses; the image is for other platforms, of schema 1, or has
            layers that may not be handed out; something has another digest.
        TemporaryError: the registry does not answer, or not now.
        ContextError: an archive is missing or damaged; the store cannot be written.
        EngineError: the engine does not answer, or has another image by now.
    """
    if base.local:
        return _from_engine(base, platform, content, compression, say)
    archive = Archive.parse(base.source) if base.archived else None
    if archive is None:
        with RegistryOrigin(Reference.parse(base.source), mirrors or {}, say) as registry:
            return fetch_image(base.digest, platform, content, registry, base.reference)
    named = str(archive)
    if archive.kind == "docker-archive":
        if (known := _recall(base.digest, platform, content, compression, named)) is not None:
            return known
        with open_files(archive.path) as files:
            saved = choose_saved(files, named, archive.name)
            if saved.id != base.digest:
                raise changed(named, base.digest, saved.id)
            return _convert(files, saved, platform, content, named, compression)
    with LayoutOrigin(archive, base.digest) as layout:
        return fetch_image(base.digest, platform, content, layout, named)


def describe_base(base: Base, platform: str) -> BaseImage:
    """Return a base at a registry, without fetching its layers.

    Raises:
        RegistryError, TemporaryError, ContextError: as for `fetch_base`; `WrongPlatformError` for other platforms.
    """
    with RegistryOrigin(Reference.parse(base.source), {}, lambda text: None) as registry:
        return describe_image(base.digest, platform, ContentStore(), registry, f"the base {base.reference}")


def archive_base(archive: Archive) -> Base:
    """Return the base that an archive names, pinned by the digest of what is in it now.

    Raises:
        ContextError: it is missing, damaged, or has several images and none is named.
    """
    # The folder is where this machine has it, and must not be in an image: its name alone is.
    name = archive.name or archive.path.name or archive.kind
    with open_files(archive.path) as files:
        if archive.kind == "docker-archive":
            saved = choose_saved(files, str(archive), archive.name)
            reference, digest = (saved.tags[0] if saved.tags else name), saved.id
        else:
            reference, digest = name, Layout(files, str(archive)).top(archive.name).digest
    return Base(reference=reference, digest=digest, source=str(archive))


def engine_image(reference: str, image_id: str, platform: str, content: Content, say: Say) -> Image:
    """Return an image that the engine has as one that can be pushed; its layers are compressed by packager.

    Args:
        reference: by which the engine has it.
        image_id: `sha256:…` by which the engine knows it.
        platform: OCI os/arch[/variant].
        content: the store; has the layers afterwards.
        say: is told what takes long.

    Raises:
        ContextError, EngineError: as for `fetch_base`.
    """
    base = Base(reference=reference, digest=image_id, source=reference, local=True)
    layers = fetch_base(base, platform, content, say=say).layers
    known = Memory("bases").recall(image_id)
    config = content.path(known.decode() if known else image_id).read_bytes()
    return Image(platform=platform, manifest=manifest(config, layers), config=config, layers=layers)


# --- without a manifest: `docker save` ---


def _from_engine(base: Base, platform: str, content: Content, compression: Compression, say: Say) -> BaseImage:
    if (known := _recall(base.digest, platform, content, compression, base.source)) is not None:
        return known
    say(f"taking {base.source} out of the engine")
    with _saved_by_engine(base.digest) as path, open_files(path) as files:
        saved = choose_saved(files, base.source)
        named = base.source
        if base.digest not in (saved.id, _manifest_digest(files, named)):
            raise EngineError(
                f"the engine gives {saved.id} for {base.source} ({base.digest})", remedy="run the command again"
            )
        # containerd's image store calls an image by its manifest: then this says which configuration that has.
        Memory("bases").remember(saved.id.encode(), base.digest)
        return _convert(files, saved, platform, content, named, compression)


def _manifest_digest(files: Files, named: str) -> str:
    """Return the digest by which containerd's image store calls the image of an archive; empty where it has none."""
    return Layout(files, named).top().digest if files.has("index.json") else ""


def _convert(
    files: Files, saved: Saved, platform: str, content: Content, named: str, compression: Compression
) -> BaseImage:
    with working(f"packing {named}"):
        image = convert(files, saved, platform, content, named, compression)
    # Written last, and found first by `_recall`.
    content.put(BytesIO(saved.config), saved.id)
    return image


@contextmanager
def _saved_by_engine(name: str) -> Iterator[Path]:
    """Give the file of an image that the engine has, as `docker save` writes it."""
    from packager.engine.api import connect
    from packager.storage.reading import failure

    root = content_root()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=root, prefix="save-", suffix=".tar") as file:
        with connect() as client:
            blocks = client.images.get(name).save(chunk_size=1 << 20)
            try:
                with working("taking it out of the engine") as advance:
                    for block in blocks:
                        file.write(block)
                        advance(len(block))
                file.flush()
            except OSError as error:
                raise failure("written", file.name, error) from None
        yield Path(file.name)


def _recall(digest: str, platform: str, content: Content, compression: Compression, named: str) -> BaseImage | None:
    """Return an image that was converted before, where the store still has all of it."""
    known = Memory("bases").recall(digest)
    config_digest = known.decode() if known else digest
    memory, codec = Memory("base-layers"), codec_name(compression)
    if not content.has(config_digest):
        return None
    config = parse_config(content.path(config_digest).read_bytes(), named)
    blobs = []
    for diff_id in config["rootfs"]["diff_ids"]:
        found = memory.recall(diff_id, codec)
        blob = decode_json(found, Descriptor) if found else None
        if blob is None or not content.has(blob.digest, blob.size):
            return None
        blobs.append(blob)
    return base_image(tuple(blobs), config, platform, named)
