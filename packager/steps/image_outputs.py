"""What the verbs from the plan to the registry print with `--format json`; see `packager.steps.outputs`."""

from __future__ import annotations

from typing import Any

import msgspec

from packager.steps.output import Output


class Planned(Output, frozen=True):
    """What an image will be made of.

    Attributes:
        name: of the package.
        version: of the package.
        target: deployment flavour.
        platform: OCI os/arch.
        template: of the Dockerfile.
        references: that the image gets.
        base: reference, digest, source and whether only the engine has it.
        system_packages: Debian packages.
        environment: Python, packages, channels and digest.
        server: layer of packager's own files.
        models: a layer each, with digest, folder, size and files.
        app: layer of the app.
        config: of the image: variables, labels, entrypoint, user, port.
        spec_digest: of the spec.
        lock_digest: of the lock.
        machine: what running it needs.
        files: of the build context for people.
        dialect: of the Dockerfile.
        volumes: models that are mounted, as those of the layers; only where there are some.
        registered: models that a workspace has: name, version, digest, whether in the image or mounted, and where;
            only where there are some.
    """

    name: str
    version: str
    target: str
    platform: str
    template: str
    references: tuple[str, ...]
    base: dict[str, Any]
    system_packages: tuple[str, ...]
    environment: dict[str, Any]
    server: dict[str, Any]
    models: tuple[dict[str, Any], ...]
    app: dict[str, Any]
    config: dict[str, Any]
    spec_digest: str
    lock_digest: str
    machine: dict[str, Any]
    files: tuple[str, ...]
    dialect: str
    volumes: tuple[dict[str, Any], ...] | msgspec.UnsetType = msgspec.UNSET
    registered: tuple[dict[str, Any], ...] | msgspec.UnsetType = msgspec.UNSET


class SavedContext(Output, frozen=True):
    """A build context that was written.

    Attributes:
        target: it is for.
        platform: OCI os/arch.
        dialect: of its Dockerfile.
        path: folder or archive.
        digest: of the context.
        files: how many.
        size: bytes of all files.
    """

    target: str
    platform: str
    dialect: str
    path: str
    digest: str
    files: int
    size: int


class Built(Output, frozen=True):
    """An image that was built.

    Attributes:
        target: of the spec.
        builder: `oci` or `engine`.
        platforms: OCI os/arch.
        manifests: platform → digest of its manifest.
        digest: that registries have; empty where there is none.
        id: of the image in the engine.
        images: references, with the digest where there is one.
        pushed: they are at their registries.
        timings: seconds of each step, for each platform; of the builder oci, as the two that follow.
        loaded: the engine has them.
        bytes_sent: to registries.
    """

    target: str
    builder: str
    platforms: tuple[str, ...]
    manifests: dict[str, str]
    digest: str
    id: str
    images: tuple[str, ...]
    pushed: bool
    timings: tuple[dict[str, float], ...] | msgspec.UnsetType = msgspec.UNSET
    loaded: bool | msgspec.UnsetType = msgspec.UNSET
    bytes_sent: int | msgspec.UnsetType = msgspec.UNSET


class Compared(Output, frozen=True):
    """What `build --verify` found.

    Attributes:
        target: of the spec.
        builder: `oci`.
        platforms: OCI os/arch, one.
        timings: seconds of each step, for each platform.
        digest: of the image that these inputs give.
        reference: the image that it was compared with.
        differences: empty where it is the same.
    """

    target: str
    builder: str
    platforms: tuple[str, ...]
    timings: tuple[dict[str, float], ...]
    digest: str
    reference: str
    differences: tuple[str, ...]


class BakedImage(Output, frozen=True):
    """An image of a bake file.

    Attributes:
        name: of its target in the file.
        package: its spec's name.
        target: deployment flavour.
        platforms: OCI os/arch.
        references: that it gets.
        contexts: name of a context → its digest.
        environments: targets of the file that make environments.
    """

    name: str
    package: str
    target: str
    platforms: tuple[str, ...]
    references: tuple[str, ...]
    contexts: dict[str, str]
    environments: tuple[str, ...]


class Baked(Output, frozen=True):
    """A bake file that was written.

    Attributes:
        path: of the file.
        images: that it builds.
    """

    path: str
    images: tuple[BakedImage, ...]


class Pushed(Output, frozen=True):
    """An image that a registry has now.

    Attributes:
        reference: of the image.
        digest: at the registry.
        image: reference with digest.
        uploaded: layers that were sent.
        present: layers that were there.
    """

    reference: str
    digest: str
    image: str
    uploaded: int
    present: int


class Pulled(Output, frozen=True):
    """An image that was fetched.

    Attributes:
        reference: as it was asked for, in full.
        top: descriptor of its manifest or index, as the OCI image specification has it.
        blobs: digests of all that it is made of.
        size: bytes of all of them.
        output: the folder or file.
    """

    reference: str
    top: dict[str, Any]
    blobs: tuple[str, ...]
    size: int
    output: str
