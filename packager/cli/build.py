"""`packager build`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from packager.cli.common import (
    Reporter,
    base_option,
    emit,
    emit_json,
    file_option,
    format_option,
    platform_option,
    standard_options,
    target_option,
)


@click.command("build")
@file_option
@target_option
@platform_option
@base_option
@click.option(
    "-t", "--tag", "tags", multiple=True, metavar="REF", help="Image reference instead of the spec's (repeatable)."
)
@click.option("--push", is_flag=True, help="Push every reference after the build.")
@click.option("--load", is_flag=True, help="Load the image into the engine (the default without --push and -o).")
@click.option("--no-cache", is_flag=True, help="Build every step anew.")
@click.option("--pull", is_flag=True, help="Ask the registry for the base, even if the engine has it.")
@click.option("--secret", "secrets", multiple=True, metavar="id=ID[,src=FILE|,env=NAME]", help="Secret for RUN steps.")
@click.option("--build-arg", "build_args", multiple=True, metavar="NAME=VALUE", help="Build argument (repeatable).")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Label (repeatable).")
@click.option("--cache-from", multiple=True, metavar="CACHE", help="As docker buildx build.")
@click.option("--cache-to", multiple=True, metavar="CACHE", help="As docker buildx build.")
@click.option("--builder", metavar="NAME", help="The buildx builder to use.")
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
@click.option("-o", "--output", "outputs", multiple=True, metavar="type=…", help="Output as docker buildx build.")
@format_option
@standard_options
def command(file: Path, target: str | None, reporter: Reporter, output_format: str, **options: Any) -> None:
    """Build the image with BuildKit (`docker buildx build`) and print its references with digest.

    The digest is that of the manifest where the image was pushed, and the image's id where it was loaded.
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
    results = [_build_one(spec_file, name, reporter, **options) for name in names]
    if output_format == "json":
        emit_json(results)
    else:
        emit("\n".join(line for each in results for line in each["images"]))


def _build_one(
    spec_file: Any, target: str, reporter: Reporter, platform: str | None, base: str | None, **options: Any
) -> dict[str, Any]:
    from packager.cli.common import planned_image
    from packager.images.build import build_image
    from packager.pipeline import require_entry_script

    for finding in require_entry_script(spec_file):
        reporter.warn(str(finding))
    planned = planned_image(spec_file, target, platform, base, reporter, keep=True)
    built = build_image(spec_file, planned, _options(reporter, options), say=reporter.step)
    return {
        "target": target,
        "platform": planned.plan.platform,
        "digest": built.digest,
        "id": built.image_id,
        "images": [f"{reference}@{built.digest}" for reference in built.references] or [built.digest],
        "pushed": bool(options["push"]),
    }


def _options(reporter: Reporter, options: dict[str, Any]) -> Any:
    from packager.images.build import BuildOptions

    quiet = reporter.verbosity < 0 and options["progress"] == "auto"
    values = {**options, "labels": _pairs("--label", options["labels"])}
    _pairs("--build-arg", options["build_args"])
    return BuildOptions(**{**values, "progress": "quiet" if quiet else options["progress"]})


def _pairs(option: str, values: tuple[str, ...]) -> dict[str, str]:
    from packager.errors import UsageError

    pairs = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not name or (not equals and option == "--label"):
            raise UsageError(f"{option} {value!r} is not NAME=VALUE")
        pairs[name] = text
    return pairs
