"""Planned images → images, all by one `docker buildx bake`: side by side, and a shared environment is built once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from packager.builders.staging import staged
from packager.decoding import decode_json
from packager.engine.bake_file import BakeImage, BakeSettings, bake_text
from packager.engine.buildx import BuildOptions, Built, check_outputs, checked_settings, run_buildx
from packager.engine.secrets import MachineSettings
from packager.errors import EngineError
from packager.handoff.bake import bake_platform
from packager.plan.planned import Planned
from packager.revision import build_labels, source_date_epoch
from packager.scratch import scratch

Say = Callable[[str], None]


class BakeJob(msgspec.Struct, frozen=True, kw_only=True):
    """One image for one platform, and the references that it gets."""

    planned: Planned
    tags: tuple[str, ...]


class BakeBuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What was made of a job, and what BuildKit's metadata says of it."""

    built: Built
    metadata: dict[str, Any]


def bake_images(
    jobs: Sequence[BakeJob], options: BuildOptions, *, say: Say = lambda text: None
) -> tuple[BakeBuilt, ...]:
    """Stage the contexts and build the images, in parallel.

    Args:
        jobs: the images of one spec; at most one for each target and platform.
        options: see `BuildOptions`; those that name one image (`tags`, `iidfile`, `metadata_file`) and `network`, which
            buildx 0.13 does not know for bake, are not looked at.
        say: is told what is being done.

    Returns:
        what was made, in the order of the jobs.

    Raises:
        UsageError: a secret that is none, an output to standard output, two images that write one tag.
        ContextError: a file changed since it was planned, or the disk is full.
        EngineError, RegistryError, TemporaryError: see `packager.engine.buildx.build`.
    """
    check_outputs(options.outputs)
    channels = [url for job in jobs for url in job.planned.plan.environment.channels]
    machine = checked_settings(options, os.environ, channels)
    epoch = source_date_epoch(locked=jobs[0].planned.created)
    labels = {**build_labels(jobs[0].planned.root, epoch), **options.labels}
    secrets = (*options.secrets, *(secret.argument for secret in machine.secrets))
    with ExitStack() as stack:
        images: dict[int, BakeImage] = {}
        # In one order, whatever the order of the targets is, so that two builds cannot wait for each other.
        for number, job in sorted(enumerate(jobs), key=lambda item: _place(item[1].planned)):
            folder, context = stack.enter_context(staged(job.planned, say, options.builder))
            platform = bake_platform(job.planned, context, str(folder), labels, secrets, from_variables=False)
            plan = job.planned.plan
            images[number] = BakeImage(
                package=plan.name, target=plan.target, tags=job.tags, platforms=(platform,), apart=True
            )
        temporary = Path(stack.enter_context(scratch("packager-bake-")))
        file, metadata = temporary / "docker-bake.json", temporary / "metadata.json"
        file.write_text(bake_text([images[number] for number in range(len(jobs))], _settings(options)), "utf-8")
        variables = {
            **os.environ,
            **machine.environ,
            "SOURCE_DATE_EPOCH": str(epoch),
            # The engine would keep a nameless image of each shared environment.
            "BUILDX_NO_DEFAULT_LOAD": "1",
            # Newer versions ask before they read what is outside of the current folder; the file is ours.
            "BUILDX_BAKE_ENTITLEMENTS_FS": "0",
        }
        run_buildx(bake_command(file, metadata, options, machine), variables, options.progress)
        found = _metadata(metadata)
        return tuple(_built(job, options, found.get(images[number].name, {})) for number, job in enumerate(jobs))


def bake_command(file: Path, metadata: Path, options: BuildOptions, machine: MachineSettings) -> list[str]:
    """Return the command that builds all of a bake file. Pure.

    Build arguments are no part of the file: values of the environment (proxies) are named, and taken by buildx.
    """
    words = ["docker", "buildx", "bake", "--file", str(file), "--metadata-file", str(metadata)]
    words += ["--progress", "plain" if options.progress == "quiet" else options.progress]
    if options.builder is not None:
        words += ["--builder", options.builder]
    for argument in (*options.build_args, *machine.build_args):
        words += ["--set", f"*.args.{argument}"]
    return words


def _place(planned: Planned) -> tuple[str, str]:
    return planned.plan.target, planned.plan.platform


def _settings(options: BuildOptions) -> BakeSettings:
    load = options.load or not (options.push or options.outputs)
    wanted = {"type=image,push=true": options.push, "type=docker": load}
    return BakeSettings(
        no_cache=options.no_cache,
        pull=options.pull,
        cache_from=options.cache_from,
        cache_to=options.cache_to,
        outputs=(*(output for output, asked in wanted.items() if asked), *options.outputs),
    )


def _built(job: BakeJob, options: BuildOptions, metadata: Mapping[str, Any]) -> BakeBuilt:
    digest = str(metadata.get("containerimage.digest", ""))
    config = str(metadata.get("containerimage.config.digest", digest))
    built = Built(image_id=config, digest=digest or config, references=job.tags, pushed=options.push)
    return BakeBuilt(built=built, metadata=dict(metadata))


def _metadata(file: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        return decode_json(file.read_bytes() if file.exists() else b"{}", dict[str, dict[str, Any]])
    except msgspec.DecodeError as error:
        raise EngineError(f"BuildKit's metadata cannot be read: {error}") from None
