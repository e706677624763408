"""Images, to their registries: blobs in parallel, each at most once; then manifests, then tags."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from io import BytesIO

import msgspec

from packager.errors import UsageError
from packager.oci.compose import make_index
from packager.oci.values import CONFIG, INDEX, MANIFEST, Content, Descriptor, Image, digest_of
from packager.reference import Reference
from packager.registry.client import RegistryClient
from packager.registry.sending import JOBS, Sender, Sent

Connect = Callable[..., RegistryClient]


class PushResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was pushed to one repository.

    Attributes:
        references: with their tags, in full.
        digest: `sha256:…` of the index, or of the manifest of the one image.
        uploaded: blobs that were sent.
        mounted: blobs that another repository of the registry had.
        present: blobs that the repository had.
        bytes_sent: of blobs, those that were sent in vain included.
    """

    references: tuple[str, ...]
    digest: str
    uploaded: tuple[Descriptor, ...]
    mounted: tuple[Descriptor, ...]
    present: tuple[Descriptor, ...]
    bytes_sent: int

    @property
    def pinned(self) -> tuple[str, ...]:
        """The references with the digest."""
        return tuple(f"{reference}@{self.digest}" for reference in self.references)


def push_images(
    images: Sequence[Image],
    content: Content,
    references: Iterable[str | Reference],
    *,
    index: bytes | None = None,
    mount_from: Mapping[str, str] | None = None,
    jobs: int = JOBS,
    connect: Connect = RegistryClient,
) -> tuple[PushResult, ...]:
    """Push one image, or several with an index; several tags of a repository need its blobs once.

    Args:
        images: one for each platform.
        content: has the blobs of their layers.
        references: repositories with tags (`latest` without one).
        index: of the images; made where there are several and None is given.
        mount_from: digest of a blob → repository of the same registry that has it (the base's).
        jobs: blobs that are sent at the same time.
        connect: makes the clients.

    Returns:
        one result for each repository.

    Raises:
        UsageError: a reference with a digest, or none at all.
        RegistryError: a registry refuses.
        TemporaryError: one does not answer, or not now; running again continues.
    """
    if index is None and len(images) > 1:
        index = make_index(images)
    results = []
    mounts = dict(mount_from or {})
    # A blob may be mounted from another repository of the same registry only.
    registry = ""
    for tags in by_repository(references):
        if registry and tags[0].registry != registry:
            mounts = dict(mount_from or {})
        registry = tags[0].registry
        stop = threading.Event()
        with connect(tags[0], push=True, mount_from=mounts.values(), stopped=stop.is_set) as client:
            push = _Push(client, content, mounts, stop)
            results.append(push.run(images, index, tags, jobs))
        mounts.update({blob.digest: tags[0].repository for blob in (*results[-1].uploaded, *results[-1].mounted)})
    return tuple(results)


def by_repository(references: Iterable[str | Reference]) -> tuple[tuple[Reference, ...], ...]:
    """Return the references of each repository, with tags; those of one registry one after the other.

    Raises:
        UsageError: one has a digest, or there is none.
    """
    found: dict[tuple[str, str], list[Reference]] = {}
    for each in references:
        reference = Reference.parse(each) if isinstance(each, str) else each
        if reference.digest is not None:
            raise UsageError(f"{reference} has a digest; nobody can choose that", remedy="push to a tag")
        tagged = reference.with_tag(reference.tag or "latest")
        tags = found.setdefault((tagged.registry, tagged.repository), [])
        if tagged not in tags:
            tags.append(tagged)
    if not found:
        raise UsageError("there is no reference to push to", remedy="name one: -t REGISTRY/REPOSITORY:TAG")
    order = {registry: place for place, (registry, _) in reversed(list(enumerate(found)))}
    return tuple(tuple(tags) for (registry, _), tags in sorted(found.items(), key=lambda item: order[item[0][0]]))


class _Push:
    """A push to one repository."""

    def __init__(
        self,
        client: RegistryClient,
        content: Content,
        mount_from: Mapping[str, str],
        stop: threading.Event,
    ) -> None:
        self._client = client
        self._content = content
        self._sender = Sender(client, mount_from, stop)

    def run(self, images: Sequence[Image], index: bytes | None, tags: Sequence[Reference], jobs: int) -> PushResult:
        missing = [image for image in images if not self._client.has_manifest(image.digest)]
        # A registry that has a manifest has all that it names: it would not have taken it otherwise.
        blobs = _blobs(missing, self._content)
        there = {blob.digest: blob for image in images for blob in _descriptors(image)}
        done = self._sender.done
        done["present"] += [blob for digest, blob in there.items() if digest not in blobs]
        path = self._content.path
        self._sender.send_all((Sent(blob, title, partial(path, blob.digest)) for blob, title in blobs.values()), jobs)
        top, media_type = (index, INDEX) if index is not None else (images[0].manifest, MANIFEST)
        for image in missing if index is not None else ():
            self._client.put_manifest(image.digest, MANIFEST, image.manifest)
        for tag in tags:
            assert tag.tag is not None
            self._client.put_manifest(tag.tag, media_type, top)
        return PushResult(
            references=tuple(str(tag) for tag in tags),
            digest=digest_of(top),
            uploaded=_sorted(done["uploaded"]),
            mounted=_sorted(done["mounted"]),
            present=_sorted(done["present"]),
            bytes_sent=self._sender.bytes_sent,
        )


def _descriptors(image: Image) -> tuple[Descriptor, ...]:
    config = Descriptor(media_type=CONFIG, digest=image.id, size=len(image.config))
    return (*(layer.blob for layer in image.layers), config)


def _blobs(images: Sequence[Image], content: Content) -> dict[str, tuple[Descriptor, str]]:
    """Return digest → blob and title of all that images are made of; their configurations are put into the store."""
    blobs: dict[str, tuple[Descriptor, str]] = {}
    for image in images:
        *layers, config = _descriptors(image)
        for descriptor, layer in zip(layers, image.layers, strict=True):
            blobs.setdefault(descriptor.digest, (descriptor, layer.title))
        if not content.has(config.digest, config.size):
            content.put(BytesIO(image.config), config.digest)
        blobs[config.digest] = (config, f"configuration for {image.platform}")
    return blobs


def _sorted(blobs: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    return tuple(sorted(blobs, key=lambda blob: blob.digest))
