"""`packager build`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli.build_engine import engine_builds
from packager.cli.build_oci import Peek, oci_build, read_ahead, write_metadata
from packager.cli.common import (
    Reporter,
    emit,
    emit_json,
    format_option,
    image_options,
    planned_image,
    resolved_base,
    standard_options,
)
from packager.cli.test import gate_build, no_test_option

if TYPE_CHECKING:
    from packager.context.sources import DigestModel
    from packager.errors import UsageError
    from packager.pipeline import Planned
    from packager.plan.plan import Base
    from packager.spec.load import SpecFile


@click.command("build")
@image_options
@click.option(
    "-t", "--tag", "tags", multiple=True, metavar="REF", help="Image reference instead of the spec's (repeatable)."
)
@click.option("--push", is_flag=True, help="Push every reference after the build.")
@no_test_option
@click.option("--load", is_flag=True, help="Load the image into the engine (the default without --push and -o).")
@click.option("--no-cache", is_flag=True, help="Build every step anew.")
@click.option("--pull", is_flag=True, help="Ask the registry for the base, even if the engine has it.")
@click.option("--secret", "secrets", multiple=True, metavar="id=ID[,src=FILE|,env=NAME]", help="Secret for RUN steps.")
@click.option("--build-arg", "build_args", multiple=True, metavar="NAME=VALUE", help="Build argument (repeatable).")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Label (repeatable).")
@click.option("--cache-from", multiple=True, metavar="CACHE", help="As docker buildx build.")
@click.option("--cache-to", multiple=True, metavar="CACHE", help="As docker buildx build.")
@click.option("--network", metavar="default|host|none", help="Network of the build's steps, as docker buildx build.")
@click.option(
    "--builder",
    metavar="auto|oci|engine|NAME",
    default="auto",
    show_default=True,
    help="oci needs no engine; engine is BuildKit; NAME is a buildx builder.",
)
@click.option(
    "--compression",
    type=click.Choice(["gzip", "zstd", "none"]),
    default="gzip",
    show_default=True,
    help="Of the layers that the builder oci writes.",
)
@click.option("--compile", "byte_compile", is_flag=True, help="Builder oci: byte-compile the environment.")
@click.option("--verify", metavar="REF", help="Build nothing: say whether REF is exactly what these inputs give.")
@click.option("--timings", is_flag=True, help="Builder oci: say how long each step took.")
@click.option(
    "--progress",
    type=click.Choice(["auto", "tty", "plain", "quiet"]),
    default="auto",
    show_default=True,
    help="How BuildKit's progress is shown, on standard error.",
)
@click.option(
    "--metadata-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write BuildKit's metadata (JSON); that of several images by target.",
)
@click.option("--iidfile", type=click.Path(path_type=Path), metavar="FILE", help="Write the image's id.")
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="type=…,dest=…",
    help="type=oci or docker; with BuildKit also others.",
)
@format_option
@standard_options
def command(file: Path, target: str | None, reporter: Reporter, output_format: str, **options: Any) -> None:
    """Build the image of every target and print its references with digest.

    Where nothing has to run inside a container, no engine is needed: packager writes the image itself, for any
    platform. Else, and with `--builder engine`, BuildKit builds it (`docker buildx build`). The digest is that of the
    manifest, or with BuildKit of the image's configuration where it was only loaded. --platform takes several, with
    commas: they get one tag, an index, as do several platforms of the spec with --push. BuildKit builds several images
    at once (`docker buildx bake`), and an environment that they share once.
    """
    from packager.pipeline import require_entry_script, select_targets
    from packager.spec.load import load_spec
    from packager.steps.store import keep_limit

    spec_file = load_spec(file)
    names = select_targets(spec_file, target)
    if len(names) > 1 and options["tags"]:
        raise _names_one("--tag", names)
    options["tested"] = gate_build(spec_file, reporter, push=options["push"], no_test=options["no_test"])
    for finding in require_entry_script(spec_file):
        reporter.warn(str(finding))
    base = resolved_base(spec_file, options["base"], reporter)
    images = [image for name in names for image in _images(spec_file, name, base, reporter, options)]
    if len(images) > 1 and options["iidfile"]:
        raise _names_one("--iidfile", names)
    several = options["metadata_file"] if len(images) > 1 else None
    if several is not None:
        options["metadata_file"] = None
    results = _build_all(spec_file, images, reporter, options)
    metadata = {_key(each, results): each.pop("metadata") for each in results}
    if several is not None:
        write_metadata(several, metadata)
    if options["verify"]:
        _say_verified(results, options["verify"], output_format)
    elif output_format == "json":
        emit_json(results)
    else:
        for line in (line for each in results for line in each["images"]):
            emit(line)
    keep_limit(os.environ, reporter.step)


def _names_one(option: str, names: tuple[str, ...]) -> UsageError:
    from packager.errors import UsageError

    return UsageError(
        f"{option} names one image, and there are several", remedy=f"choose one target: --target {names[0]}"
    )


def _key(result: dict[str, Any], results: list[dict[str, Any]]) -> str:
    """Return the name of an image among all that were built: its target, with the platform where that is needed."""
    same = [each for each in results if each["target"] == result["target"]]
    return "-".join([result["target"], *(result["platforms"] if len(same) > 1 else ())]).replace("/", "-")


def _build_all(
    spec_file: SpecFile, images: list[tuple[list[Planned], str]], reporter: Reporter, options: dict[str, Any]
) -> list[dict[str, Any]]:
    """Build every image: what needs no engine one after the other, then all else by one call of BuildKit."""
    from packager.builders.choose import NeedsEngineError

    results: dict[int, dict[str, Any]] = {}
    engine: dict[int, list[Planned]] = {}
    for number, (planned, kind) in enumerate(images):
        if kind == "oci":
            try:
                results[number] = oci_build(spec_file, planned[0].plan.target, planned, reporter, options)
                continue
            except NeedsEngineError as error:
                if options["builder"] != "auto":
                    raise
                reporter.step(f"builder: engine ({error.message})")
        engine[number] = planned
    if engine:
        built = engine_builds(spec_file, list(engine.values()), reporter, options)
        results.update(zip(engine, built, strict=True))
    return [results[number] for number in range(len(images))]


def _images(
    spec_file: SpecFile, target: str, base: Base | None, reporter: Reporter, options: dict[str, Any]
) -> list[tuple[list[Planned], str]]:
    """Return the images of a target with what builds them: the plans of one image, one for each of its platforms."""
    from packager.builders.choose import choose_builder
    from packager.plan.selection import by_references
    from packager.storage.models import Store

    peek = Peek(Store())
    platforms = _platforms(spec_file, target, base, options)

    def plan(digest_model: DigestModel) -> list[Planned]:
        return [planned_image(spec_file, target, each, base, reporter, digest_model=digest_model) for each in platforms]

    planned = plan(peek)
    choice = choose_builder(options["builder"], planned[0].plan, options)
    reporter.step(f"builder: {choice.kind} ({choice.reason})")
    if peek.unknown:
        if choice.kind == "oci":
            read_ahead(spec_file, planned[0].plan, options["compression"])
        planned = plan(Store().digest if choice.kind == "oci" else Store().add)
    groups = [tuple(planned)] if options["tags"] else by_references(planned)
    return [(list(group), choice.kind) for group in groups]


def _platforms(spec_file: SpecFile, target: str, base: Base | None, options: dict[str, Any]) -> list[str | None]:
    """Return the platforms to build for: those asked for; else all that a target has, where there is a place for them.

    A registry and an OCI layout hold several under one name. An engine holds one: the target's first.
    """
    from packager.builders.output_option import takes_several
    from packager.plan.selection import target_platforms

    if options["platform"]:
        return list(options["platform"].split(","))
    one = options["verify"] or options["load"] or (base is not None and base.local)
    if one or not takes_several(options["push"], options["outputs"]):
        return [None]
    return list(target_platforms(spec_file, target))


def _say_verified(results: list[dict[str, Any]], reference: str, output_format: str) -> None:
    from packager.errors import ContextError

    differences = [line for each in results for line in each["differences"]]
    if output_format == "json":
        emit_json(results)
    else:
        emit("\n".join(differences or [f"{reference} is exactly what these inputs give: {results[0]['digest']}"]))
    if differences:
        raise ContextError(f"{reference} is not what these inputs give")
