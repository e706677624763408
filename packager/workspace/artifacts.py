"""Versions, to any place of any registry: as ModelPack artifacts, or as images of their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from packager.contract import FOLDER_MODE, MODEL_MODE, TITLE_LABEL, VERSION_LABEL
from packager.errors import UsageError
from packager.oci.compose import manifest
from packager.oci.values import MANIFEST, Descriptor, Image
from packager.reference import Reference
from packager.registry.client import RegistryClient
from packager.registry.push import PushResult, push_images
from packager.registry.sending import Sent
from packager.storage.content import ContentStore
from packager.storage.memory import Memory
from packager.workspace.base import Workspace
from packager.workspace.modelpack import write_version
from packager.workspace.pulling import Pulled, pull_artifact, pull_reference
from packager.workspace.registry import SCHEME, RegistryWorkspace
from packager.workspace.sending import document_blob, send
from packager.workspace.values import File, Version

__all__ = ["Pulled", "PushForm", "pull_artifact", "pull_reference", "push_version"]

PushForm = Literal["artifact", "image"]
Connect = Callable[..., RegistryClient]

#: Files run nowhere, so their image is for every machine; but who mounts one looks for its own platform.
PLATFORMS = ("linux/amd64", "linux/arm64")


def push_version(
    workspace: Workspace,
    version: Version,
    reference: str,
    form: PushForm = "artifact",
    *,
    content: ContentStore | None = None,
    connect: Connect = RegistryClient,
) -> PushResult:
    """Push a version to any repository.

    Args:
        workspace: has its content.
        version: registered there.
        reference: where to, `oci://` before it or not; the version is its tag where it has none.
        form: `artifact` for a ModelPack artifact; `image` for an ordinary image of one layer with the files at its
            root, which everything can mount that mounts images. The image has the same digest whenever and wherever
            made; so has the artifact, as long as description, tags and properties are the same: they go with it.
        content: where blobs are kept on this machine; this user's store where None.
        connect: makes clients.

    Raises:
        UsageError: the reference is none to push to.
        ContextError: content of the version is gone, or damaged.
        RegistryError, TemporaryError: a registry refuses, or does not answer; running again continues.
    """
    target = Reference.parse(reference.removeprefix(SCHEME))
    if target.digest is not None:
        raise UsageError(f"{target} has a digest; nobody can choose that", remedy="push to a tag")
    if target.unplaced:
        raise UsageError(
            f"{reference} names no registry, and docker.io/library has Docker's own images: nobody can push there",
            remedy=f"say where it goes, such as registry.example.com/team/{target.repository.removeprefix('library/')}",
        )
    if target.tag is None:
        target = target.with_tag(str(version.version))
    store = content if content is not None else ContentStore()
    with ExitStack() as stack:
        if form == "image":
            return _push_image(workspace, version, target, store, connect, stack)
        return _push_artifact(workspace, version, target, store, connect, stack)


def _push_artifact(
    workspace: Workspace, version: Version, target: Reference, store: ContentStore, connect: Connect, stack: ExitStack
) -> PushResult:
    written = write_version(version, copy=True)
    pairs = (*zip(written.files, version.files, strict=True), *zip(written.samples, version.samples, strict=True))
    # Opened when it is to be sent: what the registry has, or mounts, need not be fetched.
    blobs = [Sent(layer, file.path, partial(_opened, workspace, version, file, stack)) for layer, file in pairs]
    config = document_blob(written.config_blob, written.config, store)
    memory = Memory("workspace", store.root)
    _say_places(memory, workspace, version, target, (*written.files, *written.samples, written.config_blob))
    sender = send(
        [*blobs, config],
        target.repository,
        lambda mounts, stopped: connect(target, push=True, mount_from=mounts, stopped=stopped),
        memory,
        target.registry,
    )
    with connect(target, push=True) as client:
        client.put_manifest(str(target.tag), MANIFEST, written.manifest)
    return PushResult(
        references=(str(target),),
        digest=written.digest,
        uploaded=tuple(sender.done["uploaded"]),
        mounted=tuple(sender.done["mounted"]),
        present=tuple(sender.done["present"]),
        bytes_sent=sender.bytes_sent,
    )


def _opened(workspace: Workspace, version: Version, file: File, stack: ExitStack) -> Path:
    return stack.enter_context(workspace.open(version, file))


def _say_places(
    memory: Memory, workspace: Workspace, version: Version, target: Reference, layers: tuple[Descriptor, ...]
) -> None:
    """Let blobs be mounted from a workspace that is in the same registry."""
    if not isinstance(workspace, RegistryWorkspace):
        return
    repository = workspace.repository(version.kind, version.name)
    for layer in layers:
        if repository.registry == target.registry and memory.recall("place", target.registry, layer.digest) is None:
            memory.remember(repository.repository.encode(), "place", target.registry, layer.digest)


def _push_image(
    workspace: Workspace, version: Version, target: Reference, store: ContentStore, connect: Connect, stack: ExitStack
) -> PushResult:
    images = files_image(version, {file: _opened(workspace, version, file, stack) for file in version.files}, store)
    return push_images(images, store, [target], connect=connect)[0]


def files_image(version: Version, files: Mapping[File, Path], store: ContentStore) -> tuple[Image, ...]:
    """Return the image of files, for each platform: one layer with them at its root; the same wherever it is made.

    Args:
        version: of the files.
        files: where each is.
        store: where the layer goes.

    Raises:
        ContextError: a file is not of its digest; the disk is full.
    """
    # Imported late: what packs needs more than most verbs of a workspace do.
    from packager.oci.layers import write_layer
    from packager.oci.tar import Entry, in_order

    folders = {above for file in files for above in _above(file.path)}
    entries = in_order(
        [
            *(Entry(path=folder, kind="folder", mode=FOLDER_MODE) for folder in folders),
            *(
                Entry(path=file.path, mode=MODEL_MODE, size=file.size, digest=file.sha256, origin=path)
                for file, path in files.items()
            ),
        ]
    )
    # As it is: weights get no smaller, and no compressor's version is in the digest.
    layer = write_layer(version.id, entries, "none", store)
    images = []
    for platform in PLATFORMS:
        system, _, architecture = platform.partition("/")
        config = msgspec.json.encode(
            {
                "architecture": architecture,
                "os": system,
                "config": {"Labels": {TITLE_LABEL: version.name, VERSION_LABEL: str(version.version)}},
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
                "history": [{"created_by": version.id}],
            },
            order="sorted",
        )
        images.append(Image(platform=platform, manifest=manifest(config, [layer]), config=config, layers=(layer,)))
    return tuple(images)


def _above(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
