"""`packager build` by BuildKit: one image by `docker buildx build`, several by one `docker buildx bake`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packager.cli.build_oci import metadata_of, pairs, write_files
from packager.cli.common import Reporter
from packager.cli.test import gate_references

if TYPE_CHECKING:
    from packager.builders.bake import BakeBuilt, BakeJob
    from packager.engine.buildx import BuildOptions
    from packager.pipeline import Planned
    from packager.spec.load import SpecFile


def engine_builds(
    spec_file: SpecFile, images: list[list[Planned]], reporter: Reporter, options: dict[str, Any]
) -> list[dict[str, Any]]:
    """Build images, test them where that is wanted, and bring them where they belong.

    Args:
        spec_file: the spec.
        images: the plans of each: one for each of its platforms.
        reporter: is told what is done.
        options: of the command line.

    Returns:
        for each image what `--format json` shows of it, and its metadata.
    """
    _check(images, options)
    jobs = [_jobs(planned, options) for planned in images]
    flat = [job for each in jobs for job in each]
    if options["tested"]:
        # Built into the engine, tested, and then pushed from the same build's cache.
        asked = {**options, "push": False, "load": True, "outputs": (), "metadata_file": None, "iidfile": None}
        _build(spec_file, flat, reporter, _options(reporter, asked))
        gate_references(spec_file, [job.tags[0] for job in flat], reporter, no_test=False)
        options = {**options, "no_cache": False, "pull": False}
    alone = len(flat) == 1
    files = {} if alone else {"metadata_file": None, "iidfile": None}
    built = iter(_build(spec_file, flat, reporter, _options(reporter, {**options, **files})))
    results = []
    for planned, each in zip(images, jobs, strict=True):
        results.append(_result(planned, [next(built) for _ in each], reporter, options))
        if not alone:
            result = results[-1]
            write_files(result["id"] or result["digest"], result["metadata"], options)
    return results


def _check(images: list[list[Planned]], options: dict[str, Any]) -> None:
    """Refuse what cannot be meant so.

    Raises:
        UsageError: see the messages.
    """
    from packager.errors import UsageError

    several = any(len(planned) > 1 for planned in images)
    if options["verify"]:
        raise UsageError("--verify is for the builder without an engine", remedy="--builder oci")
    if several and (options["outputs"] or options["load"] or not options["push"]):
        raise UsageError(
            "an engine takes one platform under a name", remedy="--push, or --builder oci with -o type=oci,dest=…"
        )
    for output in options["outputs"] if len(images) > 1 else ():
        if "dest=" in output:
            raise UsageError(
                f"-o {output} has a place for one image, and there are several",
                remedy=f"choose one target: --target {images[0][0].plan.target}",
            )


def _jobs(planned: list[Planned], options: dict[str, Any]) -> list[BakeJob]:
    from packager.builders.bake import BakeJob
    from packager.registry.join import platform_tags

    references = options["tags"] or planned[0].plan.references
    if len(planned) == 1:
        return [BakeJob(planned=planned[0], tags=tuple(references))]
    return [BakeJob(planned=each, tags=platform_tags(references, each.plan.platform)) for each in planned]


def _build(
    spec_file: SpecFile, jobs: list[BakeJob], reporter: Reporter, options: BuildOptions
) -> tuple[BakeBuilt, ...]:
    """Build images: several at once, unless the steps need a network that bake cannot be told."""
    import msgspec

    from packager.builders.bake import BakeBuilt, bake_images
    from packager.builders.buildkit import build_image

    if len(jobs) > 1 and options.network is None:
        return bake_images(spec_file, jobs, options, say=reporter.step)
    result = []
    for job in jobs:
        asked = msgspec.structs.replace(options, tags=job.tags)
        built = build_image(spec_file, job.planned, asked, say=reporter.step)
        metadata = metadata_of(built.image_id, built.digest, built.references)
        result.append(BakeBuilt(built=built, metadata=metadata))
    return tuple(result)


def _result(
    planned: list[Planned], built: list[BakeBuilt], reporter: Reporter, options: dict[str, Any]
) -> dict[str, Any]:
    from packager.registry.join import join_platforms

    image, metadata = built[0].built, built[0].metadata
    digest, image_id, references = image.digest, image.image_id, image.references
    platforms = [each.plan.platform for each in planned]
    manifests = {platform: each.built.digest for platform, each in zip(platforms, built, strict=True)}
    if len(built) > 1:
        references = tuple(options["tags"] or planned[0].plan.references)
        for platform, manifest in manifests.items():
            reporter.step(f"{references[0]} {platform}: {manifest}")
        digest, image_id = join_platforms(references, manifests), ""
        metadata = metadata_of("", digest, references)
    return {
        "target": planned[0].plan.target,
        "builder": "engine",
        "platforms": platforms,
        "manifests": manifests,
        "digest": digest,
        "id": image_id,
        # Some outputs (`type=cacheonly`) are no image, and have no digest.
        "images": ([f"{reference}@{digest}" for reference in references] or [digest]) if digest else [],
        "pushed": bool(options["push"]),
        "metadata": metadata,
    }


def _options(reporter: Reporter, options: dict[str, Any]) -> BuildOptions:
    from packager.engine.buildx import BuildOptions

    quiet = reporter.verbosity < 0 and options["progress"] == "auto"
    builder = None if options["builder"] in ("auto", "engine") else options["builder"]
    values = {name: value for name, value in options.items() if name in BuildOptions.__struct_fields__}
    values |= {"labels": pairs("--label", options["labels"]), "builder": builder, "tags": ()}
    pairs("--build-arg", options["build_args"])
    return BuildOptions(**{**values, "progress": "quiet" if quiet else options["progress"]})
