"""Planned images → images by BuildKit: contexts are staged beside the store; several images are one bake."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from packager.builders.bake import BakeBuilt, BakeJob, bake_images
from packager.builders.builder import BuildWish, BuiltImage, Candidate, Job, image_metadata
from packager.builders.outputs import buildx_output
from packager.builders.staging import build_image
from packager.context.sources import DigestModel
from packager.engine.buildx import BuildOptions
from packager.errors import UsageError
from packager.spec.load import SpecFile
from packager.storage.models import Store

Say = Callable[[str], None]


class EngineBuilder:
    """Builds images by BuildKit: one by `docker buildx build`, several by one `docker buildx bake`.

    Args:
        wish: what the build is asked for.
        buildx: name of a buildx builder; the current one where None.
        say: is told what is done.
    """

    def __init__(self, wish: BuildWish, buildx: str | None, say: Say) -> None:
        self._wish, self._say, self._tested = wish, say, False
        values = {name: getattr(wish, name) for name in BuildOptions.__struct_fields__ if hasattr(wish, name)}
        outputs = tuple(map(buildx_output, wish.outputs))
        self._options = BuildOptions(**{**values, "builder": buildx, "tags": (), "outputs": outputs})

    def read_models(self, spec_file: SpecFile) -> DigestModel:
        """Return what puts models into the store, in the pass that hashes them: contexts link to them there."""
        return Store().add

    @contextmanager
    def candidates(self, jobs: Sequence[Job]) -> Iterator[tuple[Candidate, ...]]:
        """Build the images into the engine; `build` then takes the same steps from its cache.

        Raises:
            UsageError, EngineError, RegistryError, TemporaryError, ContextError: see `build`.
        """
        self._check(jobs)
        asked = msgspec.structs.replace(
            self._options, push=False, load=True, outputs=(), metadata_file=None, iidfile=None
        )
        parts = [part for job in jobs for part in _parts(job)]
        self._run(parts, asked)
        self._tested = True
        yield tuple(
            Candidate(reference=part.tags[0], title=part.tags[0], target=part.planned.plan.target) for part in parts
        )

    def build(self, jobs: Sequence[Job]) -> tuple[BuiltImage, ...]:
        """Build the images and bring them where they are wanted.

        Raises:
            UsageError: something is wanted that an engine cannot do.
            ContextError: a file changed since it was planned, or the disk is full.
            EngineError, RegistryError, TemporaryError: see `packager.engine.buildx.build`.
        """
        self._check(jobs)
        parts = [_parts(job) for job in jobs]
        options = self._options
        if self._tested:
            options = msgspec.structs.replace(options, no_cache=False, pull=False)
        if sum(map(len, parts)) > 1:
            options = msgspec.structs.replace(options, metadata_file=None, iidfile=None)
        made = iter(self._run([part for one in parts for part in one], options))
        return tuple(self._built(job, [next(made) for _ in group]) for job, group in zip(jobs, parts, strict=True))

    def _check(self, jobs: Sequence[Job]) -> None:
        wish = self._wish
        if any(len(job.planned) > 1 for job in jobs) and (wish.outputs or wish.load or not wish.push):
            raise UsageError(
                "an engine takes one platform under a name", remedy="--push, or --builder oci with -o type=oci,dest=…"
            )
        for output in wish.outputs if len(jobs) > 1 else ():
            if "dest=" in buildx_output(output):
                raise UsageError(
                    f"-o {output} has a place for one image, and there are several",
                    remedy=f"choose one target: --target {jobs[0].target}",
                )

    def _run(self, parts: Sequence[BakeJob], options: BuildOptions) -> tuple[BakeBuilt, ...]:
        """Build images: several at once, unless the steps need a network that bake cannot be told."""
        if len(parts) > 1 and options.network is None:
            return bake_images(parts, options, say=self._say)
        return tuple(self._one(part, msgspec.structs.replace(options, tags=part.tags)) for part in parts)

    def _one(self, part: BakeJob, options: BuildOptions) -> BakeBuilt:
        built = build_image(part.planned, options, say=self._say)
        return BakeBuilt(built=built, metadata=image_metadata(built.image_id, built.digest, built.references))

    def _built(self, job: Job, made: Sequence[BakeBuilt]) -> BuiltImage:
        first, platforms = made[0], tuple(planned.plan.platform for planned in job.planned)
        manifests = {platform: part.built.digest for platform, part in zip(platforms, made, strict=True)}
        if first.built.digest == first.built.image_id:
            # Only loaded into an ordinary store, which knows no manifest: a push will make one of another digest.
            manifests = {}
        digest, image_id, references = first.built.digest, first.built.image_id, first.built.references
        metadata = first.metadata
        if len(made) > 1:
            from packager.registry.join import join_platforms

            for platform, manifest in manifests.items():
                self._say(f"{job.references[0]} {platform}: {manifest}")
            digest, image_id, references = join_platforms(job.references, manifests), "", job.references
            metadata = image_metadata("", digest, references)
        return BuiltImage(
            target=job.target,
            builder="engine",
            platforms=platforms,
            manifests=manifests,
            digest=digest if manifests else "",
            id=image_id,
            references=references,
            pushed=self._wish.push,
            loaded=self._wish.load or not (self._wish.push or self._wish.outputs),
            metadata=metadata,
        )


def _parts(job: Job) -> list[BakeJob]:
    """Return the images of a job, each for one platform under a name of its own."""
    if len(job.planned) == 1:
        return [BakeJob(planned=job.planned[0], tags=job.references)]
    from packager.registry.join import platform_tags

    return [BakeJob(planned=each, tags=platform_tags(job.references, each.plan.platform)) for each in job.planned]
