"""A model that is behind a reference, whoever put it there, into a folder: ModelPack artifact, ModelKit, or image."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from packager.errors import ContextError, RegistryError, UsageError
from packager.oci.parse import ImageIndex, WrongPlatformError, choose, images_of
from packager.oci.parse import parse as parse_image
from packager.oci.values import DOCKER_INDEX, INDEX
from packager.progress import working
from packager.reference import Reference
from packager.registry.client import Manifest, RegistryClient
from packager.registry.mirrors import registry_mirrors
from packager.storage.content import ContentStore
from packager.storage.reading import failure
from packager.workspace.artifact import Artifact, ArtifactLayer, image_title, kitfile_name, read_artifact
from packager.workspace.drafts import with_state
from packager.workspace.encoding import decode
from packager.workspace.modelpack import is_ours, read_foreign, read_state, read_version, sample_path
from packager.workspace.name_records import in_parallel
from packager.workspace.names import check_name, check_text
from packager.workspace.unpack import Unpacker
from packager.workspace.values import Content, File, Source, Version

Connect = Callable[..., RegistryClient]

#: Bytes of what an artifact of others says of itself that is kept with the version.
_DETAILS = 64 << 10


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was pulled.

    Attributes:
        draft: of a version, without number, time, files and samples; its source is the reference with its digest.
        folder: with the files, and nothing else.
        files: that are there, with where they are.
        samples: as `files`; they are elsewhere.
    """

    draft: Version
    folder: Path
    files: tuple[Content, ...]
    samples: tuple[Content, ...] = ()


def pull_reference(reference: str, scratch: Path) -> tuple[Version, Path]:
    """Pull what is behind a reference; see `pull_artifact`.

    Returns:
        draft of a version, and the folder with the files.
    """
    pulled = pull_artifact(reference, scratch)
    return pulled.draft, pulled.folder


def pull_artifact(
    reference: str,
    scratch: Path,
    *,
    content: ContentStore | None = None,
    connect: Connect = RegistryClient,
) -> Pulled:
    """Pull what is behind a reference: a ModelPack artifact, a ModelKit of KitOps, or an image with the files.

    Of an image with a folder `/models` (a modelcar), that folder is the model.

    Args:
        reference: `oci://` before it or not.
        scratch: an empty folder, for the files; they are read-only where they are links to this machine's store.
        content: where blobs are kept on this machine; this user's store where None.
        connect: makes clients.

    Raises:
        UsageError: the reference is none.
        RegistryError: there is nothing, it is no model, or hostile; the registry refuses.
        TemporaryError: it does not answer, or not now.
        ContextError: the folder cannot be written, or is full.
    """
    at = Reference.parse(reference.removeprefix("oci://"))
    store = content if content is not None else ContentStore()
    with connect(at, registry_mirrors()) as client:
        top = client.get_manifest()
        named = str(at.without_digest() if at.tag else at)
        found = _of_platform(client, top, named)
        artifact = read_artifact(found.data, named)
        config = client.read_blob(artifact.config)
        _fetch(client, artifact, store)
    # Before anything is written: what names no valid model is no model.
    draft = _draft(artifact, config, at, named)
    source = Source(uri=f"oci://{at.without_digest()}", revision=top.digest)
    if draft.source is not None:
        origin = msgspec.to_builtins(draft.source)
        draft = msgspec.structs.replace(draft, details={**draft.details, "source": origin})
    files, samples = _unpack(artifact, store, scratch, named)
    return Pulled(
        draft=msgspec.structs.replace(draft, source=source, version=0, created="", files=(), samples=()),
        folder=scratch / "files",
        files=files,
        samples=samples,
    )


def _of_platform(client: RegistryClient, top: Manifest, named: str) -> Manifest:
    if top.media_type not in (INDEX, DOCKER_INDEX):
        return top
    index = parse_image(top.data, named)
    if not isinstance(index, ImageIndex):
        raise RegistryError(f"{named} is said to be an index, and is none")
    there = images_of(index)
    if not there:
        raise RegistryError(f"{named} is an index of nothing")
    # Files are the same for every platform, or there is but one.
    machine = os.uname().machine
    try:
        chosen = choose(index, f"linux/{machine}", named)
    except WrongPlatformError:
        chosen = there[0]
    return client.get_manifest(chosen.digest)


def _fetch(client: RegistryClient, artifact: Artifact, store: ContentStore) -> None:
    blobs = {layer.blob.digest: layer.blob for layer in artifact.layers}
    missing = [blob for blob in blobs.values() if not store.has(blob.digest, blob.size)]

    def fetch(number: int) -> None:
        blob = missing[number]
        if not blob.size:
            store.put(BytesIO(b""), blob.digest)
            return
        with working(f"pulling {blob.digest[7:19]}", blob.size) as advance:
            client.download(blob, store, advance)

    in_parallel(fetch, range(len(missing)))


# --- what it is -------------------------------------------------------------------------------------------------------


def _draft(artifact: Artifact, config: bytes, at: Reference, named: str) -> Version:
    if is_ours(artifact):
        return with_state(read_version(artifact, config, named), read_state(artifact, named))
    name, description, details = "", "", dict[str, Any]()
    if artifact.form == "modelpack":
        name, description, details = read_foreign(artifact, config, named)
    elif artifact.form == "modelkit":
        name = kitfile_name(config, named)
    else:
        name = image_title(config)
    last = at.repository.rpartition("/")[2]
    return Version(
        kind="model",
        name=_valid(name) or decode(last) or last,
        description=_clean(description),
        details=details if len(msgspec.json.encode(details)) <= _DETAILS else {},
    )


def _valid(name: str) -> str:
    try:
        return check_name(name, "model")
    except UsageError:
        return ""


def _clean(text: str) -> str:
    try:
        return check_text(text, "the description")
    except UsageError:
        return ""


# --- its files --------------------------------------------------------------------------------------------------------


def _unpack(
    artifact: Artifact, store: ContentStore, scratch: Path, named: str
) -> tuple[tuple[Content, ...], tuple[Content, ...]]:
    """Lay the files out, and return them and the samples."""
    with _folder(scratch / "unpacked") as work:
        files = Unpacker(work, named, image=artifact.form == "image")
        samples = Unpacker(work, named)
        has_samples = False
        for layer in artifact.layers:
            sample = sample_path(layer.blob.annotations or {})
            has_samples = has_samples or sample is not None
            _take(layer, store, files if sample is None else samples, sample)
        laid = _lay_out(files, store, scratch / "files")
        beside = _lay_out(samples, store, scratch / "samples") if has_samples else ()
    return laid, beside


def _take(layer: ArtifactLayer, store: ContentStore, unpacker: Unpacker, sample: str | None) -> None:
    blob, path = store.path(layer.blob.digest), layer.path if sample is None else sample
    if layer.packing == "tar":
        unpacker.add_tar(blob)
    elif layer.compressed:
        unpacker.add_compressed(path, blob)
    else:
        sha256 = layer.blob.digest.removeprefix("sha256:")
        unpacker.add_file(path, blob, File(path=path, size=layer.blob.size, sha256=sha256))


def _lay_out(unpacker: Unpacker, store: ContentStore, folder: Path) -> tuple[Content, ...]:
    laid = []
    found = unpacker.finish()
    try:
        folder.mkdir()
        for path, (at, file) in sorted(found.items()):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if not at.is_relative_to(store.root):
                at.rename(target)
            elif not store.blobs.link(file.sha256, target):
                raise ContextError(f"sha256:{file.sha256} is gone from the store", remedy="run the command again")
            laid.append(Content(path=path, origin=target, sha256=file.sha256))
    except OSError as error:
        raise failure("written", folder, error) from None
    return tuple(laid)


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    try:
        path.mkdir()
    except OSError as error:
        raise failure("written", path, error) from None
    try:
        yield path
    finally:
        for each in path.iterdir():
            each.unlink()
        path.rmdir()
