"""What a builder is: planned images in, images where they are wanted out. The next builder is one class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from packager.context.sources import DigestModel
from packager.plan.planned import Planned
from packager.spec.load import SpecFile

Compression = Literal["gzip", "zstd", "none"]


#: Whether a spec's tests are run before a push; `done`: they were, a moment ago.
Testing = bool | Literal["done"]


class BuildWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a build is asked for; the names are those of `docker buildx build` where the thing is Docker's.

    Attributes:
        target: one of the spec's targets; all where None.
        platforms: OCI os/arch; where empty, the target's first, or all where they have a place under one name.
        base: another base image: a reference or an archive.
        tags: references in place of the spec's.
        builder: `auto`, `oci` (needs no engine), `engine` (BuildKit), or the name of a buildx builder.
        push: upload every reference; images of a spec with tests are tested before.
        test: False pushes without the spec's tests; `done` says that they were run a moment ago.
        check: False pushes although `check` has errors.
        load: put the image into the engine; so it is also done without `push` and `outputs`.
        outputs: what `-o` takes: `type=oci,dest=…`, `type=docker,dest=…`, and with BuildKit others.
        labels: of the images.
        compression: of the layers that the builder without an engine writes; the spec's where None.
        compile: byte-compile the environment, or not, whatever the spec says; as the spec says where None.
        allow_missing: libraries that the image may lack, besides those of the spec.
        no_cache: build every step anew.
        pull: ask the registry for the base, even if the engine has it.
        secrets: for RUN steps: `id=…,src=…` or `id=…,env=…`, never a value.
        build_args: `NAME=VALUE`, or `NAME` for a variable of this process.
        cache_from: as `docker buildx build`.
        cache_to: as `docker buildx build`.
        network: of the steps: `default`, `host` or `none`.
        progress: of BuildKit, on standard error: `auto`, `tty`, `plain` or `quiet`.
        metadata_file: gets BuildKit's metadata, as JSON; that of several images by target.
        iidfile: gets the image's id.
    """

    target: str | None = None
    platforms: tuple[str, ...] = ()
    base: str | None = None
    tags: tuple[str, ...] = ()
    builder: str = "auto"
    push: bool = False
    test: Testing = True
    check: bool = True
    load: bool = False
    outputs: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    compression: Compression | None = None
    compile: bool | None = None
    allow_missing: tuple[str, ...] = ()
    no_cache: bool = False
    pull: bool = False
    secrets: tuple[str, ...] = ()
    build_args: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    network: str | None = None
    progress: str = "auto"
    metadata_file: Path | None = None
    iidfile: Path | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One image to be built: its plans, one for each platform, and the references that it gets."""

    planned: tuple[Planned, ...]
    references: tuple[str, ...]

    @property
    def target(self) -> str:
        """The target that it is for."""
        return self.planned[0].plan.target


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An image that can be tested.

    Attributes:
        reference: by which the engine knows it.
        title: what people call it.
        target: it is for.
    """

    reference: str
    title: str
    target: str


class BuiltImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that was built.

    Attributes:
        target: it is for.
        builder: `oci` or `engine`.
        platforms: OCI os/arch.
        manifests: platform → digest of its manifest.
        digest: of the manifest, or of the index of several platforms, as registries have it. Empty for outputs that are
            no image, and where BuildKit only loaded it into an engine's ordinary store, which knows none.
        id: digest of the configuration; empty for several platforms.
        references: that have it now, at a registry or in the engine.
        pushed: the references are at their registries.
        loaded: the engine has it.
        bytes_sent: to registries, by the builder without an engine.
        metadata: in the form of BuildKit's metadata file.
        timings: what each step took, in seconds, one mapping for each platform.
    """

    target: str
    builder: Literal["oci", "engine"]
    platforms: tuple[str, ...]
    manifests: dict[str, str]
    digest: str
    id: str
    references: tuple[str, ...] = ()
    pushed: bool = False
    loaded: bool = False
    bytes_sent: int = 0
    metadata: dict[str, Any] = {}
    timings: tuple[dict[str, float], ...] = ()

    @property
    def pinned(self) -> tuple[str, ...]:
        """Each reference with the digest; the digest alone where nothing is named; nothing where it is no image.

        Without a digest that registries will have, the references alone, or the image's id.
        """
        if not self.digest:
            return self.references or ((self.id,) if self.id else ())
        return tuple(f"{reference}@{self.digest}" for reference in self.references) or (self.digest,)


class Builder(Protocol):
    """Makes images of plans."""

    def read_models(self, spec_file: SpecFile) -> DigestModel:
        """Return what gives the digests of a spec's models, read in the way that suits this builder."""
        ...

    def candidates(self, jobs: Sequence[Job]) -> AbstractContextManager[tuple[Candidate, ...]]:
        """Give the images under names that the engine knows, so that they can be tested; they are brought nowhere."""
        ...

    def build(self, jobs: Sequence[Job]) -> tuple[BuiltImage, ...]:
        """Build the images and bring them where they are wanted; what `candidates` made is not made again."""
        ...


def image_metadata(image_id: str, digest: str, references: Sequence[str]) -> dict[str, Any]:
    """Return what a metadata file tells of an image, in BuildKit's form."""
    return {
        "containerimage.config.digest": image_id,
        "containerimage.digest": digest,
        "image.name": ",".join(references),
    }
