"""`packager build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli.build_oci import Peek, oci_build, pairs, read_ahead
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
from packager.cli.test import gate_build, gate_references, no_test_option

if TYPE_CHECKING:
    from packager.pipeline import Planned
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
    "--metadata-file", type=click.Path(path_type=Path), metavar="FILE", help="Write BuildKit's metadata (JSON)."
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
    """Build the image and print its references with digest.

    Where nothing has to run inside a container, no engine is needed: packager writes the image itself, for any
    platform. Else, and with `--builder engine`, BuildKit builds it (`docker buildx build`). The digest is that of the
    manifest, or with BuildKit of the image's configuration where it was only loaded. --platform takes several, with
    commas.
    """
    from packager.errors import UsageError
    from packager.pipeline import select_targets
    from packager.spec.load import load_spec

    spec_file = load_spec(file)
    names = select_targets(spec_file, target)
    single = [option for option in ("tags", "metadata_file", "iidfile") if options[option]]
    if len(names) > 1 and single:
        raise UsageError(
            f"--{single[0].replace('_', '-').removesuffix('s')} names one image, and the spec has several targets",
            remedy=f"choose one: --target {names[0]}",
        )
    options["tested"] = gate_build(spec_file, reporter, push=options["push"], no_test=options["no_test"])
    results = [_build_one(spec_file, name, reporter, **options) for name in names]
    if options["verify"]:
        _say_verified(results, options["verify"], output_format)
    elif output_format == "json":
        emit_json(results)
    else:
        emit("\n".join(line for each in results for line in each["images"]))


def _build_one(
    spec_file: SpecFile, target: str, reporter: Reporter, platform: str | None, base: str | None, **options: Any
) -> dict[str, Any]:
    from packager.images.builders import NeedsEngineError, choose_builder
    from packager.pipeline import require_entry_script
    from packager.store import Store

    for finding in require_entry_script(spec_file):
        reporter.warn(str(finding))
    platforms = platform.split(",") if platform else [None]
    found = resolved_base(spec_file, base, reporter)
    peek = Peek(Store())
    planned = [planned_image(spec_file, target, each, found, reporter, digest_model=peek) for each in platforms]
    choice = choose_builder(options["builder"], planned[0].plan, options)
    reporter.step(f"builder: {choice.kind} ({choice.reason})")
    if peek.unknown:
        if choice.kind == "oci":
            read_ahead(spec_file, planned[0].plan, options["compression"])
        digest_model = Store().digest if choice.kind == "oci" else Store().add
        planned = [
            planned_image(spec_file, target, each, found, reporter, digest_model=digest_model) for each in platforms
        ]
    if choice.kind == "oci":
        try:
            return oci_build(spec_file, target, planned, reporter, options)
        except NeedsEngineError as error:
            if options["builder"] != "auto":
                raise
            reporter.step(f"builder: engine ({error.message})")
    return _engine_build(spec_file, target, planned, choice.buildx, reporter, options)


def _engine_build(
    spec_file: SpecFile,
    target: str,
    planned: list[Planned],
    buildx: str | None,
    reporter: Reporter,
    options: dict[str, Any],
) -> dict[str, Any]:
    from packager.errors import UsageError
    from packager.images.build import build_image

    if len(planned) > 1 or options["verify"]:
        wanted = "--verify" if options["verify"] else "several platforms at once"
        raise UsageError(f"{wanted} is for the builder without an engine", remedy="--builder oci")
    asked: dict[str, Any] = {**options, "builder": buildx}
    if options["tested"]:
        # Built into the engine, tested, and then pushed from the same build's cache.
        first = {**asked, "push": False, "load": True, "outputs": (), "metadata_file": None, "iidfile": None}
        tested = build_image(spec_file, planned[0], _options(reporter, first), say=reporter.step)
        gate_references(spec_file, tested.references[:1], reporter, no_test=False)
        asked |= {"no_cache": False, "pull": False}
    built = build_image(spec_file, planned[0], _options(reporter, asked), say=reporter.step)
    return {
        "target": target,
        "builder": "engine",
        "platforms": [planned[0].plan.platform],
        "digest": built.digest,
        "id": built.image_id,
        "images": [f"{reference}@{built.digest}" for reference in built.references] or [built.digest],
        "pushed": bool(options["push"]),
    }


def _say_verified(results: list[dict[str, Any]], reference: str, output_format: str) -> None:
    from packager.errors import ContextError

    differences = [line for each in results for line in each["differences"]]
    if output_format == "json":
        emit_json(results)
    else:
        emit("\n".join(differences or [f"{reference} is exactly what these inputs give: {results[0]['digest']}"]))
    if differences:
        raise ContextError(f"{reference} is not what these inputs give")


def _options(reporter: Reporter, options: dict[str, Any]) -> Any:
    from packager.images.buildx import BuildOptions

    quiet = reporter.verbosity < 0 and options["progress"] == "auto"
    values = {name: value for name, value in options.items() if name in BuildOptions.__struct_fields__}
    values |= {"labels": pairs("--label", options["labels"])}
    pairs("--build-arg", options["build_args"])
    return BuildOptions(**{**values, "progress": "quiet" if quiet else options["progress"]})
