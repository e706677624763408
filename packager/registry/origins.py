"""Where images come from: a registry or an OCI layout, asked for what the content store does not have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from io import BytesIO
from typing import Protocol

from packager.errors import ContextError, RegistryError
from packager.oci.archives import Archive, Layout, open_files
from packager.oci.docker_archive import check_diff_id
from packager.oci.parse import ImageManifest, base_image, choose, parse, parse_config
from packager.oci.values import BaseImage, Content, Descriptor
from packager.progress import in_thread, reading, working
from packager.reference import Reference
from packager.registry.client import RegistryClient

JOBS = 4
#: An index may name further indexes; nobody nests them deeper.
_DEPTH = 4

Say = Callable[[str], None]


class Origin(Protocol):
    """Where documents and blobs of an image come from."""

    def manifest(self, digest: str) -> bytes:
        """A manifest or an index, verified."""
        ...

    def blob(self, descriptor: Descriptor, content: Content) -> None:
        """Take a blob into the content store, verified."""
        ...


def fetch_image(digest: str, platform: str, content: Content, origin: Origin, named: str) -> BaseImage:
    """Return the image of a manifest or index; its documents and layers are in the content store then.

    Args:
        digest: `sha256:…` of the manifest or index.
        platform: OCI os/arch[/variant].
        content: the store.
        origin: is asked for what the store does not have.
        named: what it is called in messages.

    Raises:
        RegistryError, TemporaryError, ContextError: as for `fetch_base`.
    """
    image = describe_image(digest, platform, content, origin, named)
    missing = [layer for layer in image.layers if not content.has(layer.blob.digest, layer.blob.size)]
    if isinstance(origin, LayoutOrigin):
        # One file that is read in its own order; nobody but its writer says that the layers are what they claim.
        for layer in missing:
            origin.blob(layer.blob, content)
            check_diff_id(content, layer.blob, layer.diff_id, named)
    elif missing:
        from concurrent.futures import ThreadPoolExecutor

        blobs = {layer.blob.digest: layer.blob for layer in missing}
        with ThreadPoolExecutor(min(JOBS, len(blobs))) as pool:
            for done in [pool.submit(in_thread(origin.blob), blob, content) for blob in blobs.values()]:
                done.result()
    return image


def describe_image(digest: str, platform: str, content: Content, origin: Origin, named: str) -> BaseImage:
    """Return the image of a manifest or index; its documents are in the content store then, and its layers may not be.

    Raises:
        RegistryError, TemporaryError, ContextError: as for `fetch_base`; `WrongPlatformError` for other platforms.
    """
    manifest = find_manifest(digest, platform, content, origin, named)
    if not content.has(manifest.config.digest, manifest.config.size):
        origin.blob(manifest.config, content)
    config = parse_config(content.path(manifest.config.digest).read_bytes(), named)
    return base_image(manifest.layers, config, platform, named)


def find_manifest(digest: str, platform: str, content: Content, origin: Origin, named: str) -> ImageManifest:
    """Return the manifest for a platform, through as many indexes as lead there.

    Raises:
        RegistryError: there is none for the platform, or a document is none.
    """
    for _ in range(_DEPTH):
        document = parse(document_of(digest, content, origin), named)
        if isinstance(document, ImageManifest):
            return document
        digest = choose(document, platform, named).digest
    raise RegistryError(f"the index of {named} names indexes, and these do, and so on")


def document_of(digest: str, content: Content, origin: Origin) -> bytes:
    """Return a manifest or index, from the store where it is there."""
    if content.has(digest):
        return content.path(digest).read_bytes()
    data = origin.manifest(digest)
    content.put(BytesIO(data), digest)
    return data


def download_shown(client: RegistryClient, descriptor: Descriptor, content: Content) -> None:
    """Take a blob into the content store, and tell how far it is.

    Raises:
        RegistryError, TemporaryError, ContextError: see `packager.registry.download.download`.
    """
    with working(f"pulling {descriptor.digest[7:19]}", descriptor.size) as advance:
        client.download(descriptor, content, advance)


class RegistryOrigin:
    """A registry that is connected to when something is asked of it; to be used in a `with`.

    Args:
        reference: names the repository.
        mirrors: registry → mirror.
        say: is told that it is connected to.
    """

    def __init__(self, reference: Reference, mirrors: Mapping[str, str], say: Say) -> None:
        self._reference = reference
        self._mirrors = mirrors
        self._say = say
        self._stack = ExitStack()
        self._client: RegistryClient | None = None

    def __enter__(self) -> RegistryOrigin:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def client(self) -> RegistryClient:
        """The client of the repository."""
        if self._client is None:
            self._say(f"pulling {self._reference}")
            self._client = self._stack.enter_context(RegistryClient(self._reference, self._mirrors))
        return self._client

    def manifest(self, digest: str) -> bytes:
        """See `Origin`."""
        return self.client.get_manifest(digest).data

    def blob(self, descriptor: Descriptor, content: Content) -> None:
        """See `Origin`."""
        download_shown(self.client, descriptor, content)


class LayoutOrigin:
    """An OCI layout that is opened when something is asked of it; to be used in a `with`.

    Args:
        archive: the layout.
        expected: digest that its image must have; None to take it as it is.
    """

    def __init__(self, archive: Archive, expected: str | None = None) -> None:
        self._archive = archive
        self._expected = expected
        self._stack = ExitStack()
        self._layout: Layout | None = None

    def __enter__(self) -> LayoutOrigin:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def layout(self) -> Layout:
        """The layout, opened."""
        if self._layout is None:
            named = str(self._archive)
            layout = Layout(self._stack.enter_context(open_files(self._archive.path)), named)
            top = layout.top(self._archive.name).digest
            if self._expected not in (None, top):
                raise changed(named, str(self._expected), top)
            self._layout = layout
        return self._layout

    def manifest(self, digest: str) -> bytes:
        """See `Origin`."""
        return self.layout.manifest(digest)

    def blob(self, descriptor: Descriptor, content: Content) -> None:
        """See `Origin`."""
        with reading(f"reading {descriptor.digest[7:19]} of {self._archive.path.name}", descriptor.size):
            self.layout.blob(descriptor, content)


def changed(named: str, expected: str, found: str) -> ContextError:
    """Return the error for an archive that was written again since it was looked at."""
    return ContextError(f"{named} has another image by now: {found}, not {expected}", remedy="run the command again")
