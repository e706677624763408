"""Images for one platform each, which are at a registry → one tag that is an index of all of them.

An engine's ordinary image store holds one platform under a name. So each platform is pushed under a tag of its own, and
what joins them there is written by us.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from packager.oci.compose import index_of, index_type, platform_object
from packager.oci.parse import ImageIndex, choose, parse
from packager.oci.values import DOCKER_MANIFEST, Descriptor, digest_of
from packager.registry.client import RegistryClient
from packager.registry.push import by_repository

Connect = Callable[..., RegistryClient]


def platform_tags(references: Sequence[str], platform: str) -> tuple[str, ...]:
    """Return the tags under which an image for one platform is pushed: one for each repository (`1.0-linux-arm64`).

    Raises:
        UsageError: a reference is not valid, or its tag gets too long.
    """
    suffix = platform.replace("/", "-")
    firsts = [tags[0] for tags in by_repository(references)]
    return tuple(str(each.parse(f"{each}-{suffix}")) for each in firsts)


def join_platforms(references: Sequence[str], pushed: Mapping[str, str], *, connect: Connect = RegistryClient) -> str:
    """Write an index of images that their repositories have, under every reference.

    Args:
        references: repositories with tags.
        pushed: OCI os/arch → digest of the manifest, in each of the repositories.
        connect: makes the clients.

    Returns:
        `sha256:…` of the index.

    Raises:
        RegistryError: a registry refuses, or lacks one of the images.
        TemporaryError: one does not answer, or not now.
    """
    digest = ""
    for tags in by_repository(references):
        with connect(tags[0], push=True) as client:
            manifests = [_descriptor(client, platform, each) for platform, each in pushed.items()]
            index = index_of(manifests)
            for tag in tags:
                assert tag.tag is not None
                client.put_manifest(tag.tag, index_type(manifests), index)
        digest = digest_of(index)
    return digest


def _descriptor(client: RegistryClient, platform: str, digest: str) -> Descriptor:
    manifest = client.get_manifest(digest)
    found = parse(manifest.data, f"{client.reference.name}@{digest}")
    if isinstance(found, ImageIndex):
        # Some builders put one image into an index, too.
        chosen = choose(found, platform, client.reference.name)
        manifest = client.get_manifest(chosen.digest)
    return Descriptor(
        media_type=manifest.media_type or DOCKER_MANIFEST,
        digest=manifest.digest,
        size=len(manifest.data),
        platform=platform_object(platform),
    )
