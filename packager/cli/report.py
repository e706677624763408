"""`packager report`."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli.common import (
    Reporter,
    base_option,
    emit,
    file_option,
    insecure_option,
    no_docker_option,
    platform_option,
    spec_workspace_option,
    standard_options,
    target_option,
)


@click.command("report")
@file_option
@spec_workspace_option
@target_option
@platform_option
@click.option(
    "-o",
    "--output",
    "output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    default=Path("report.html"),
    show_default=True,
    help="The page.",
)
@base_option
@click.option("--image", metavar="REF", help="The engine's image to test and to show (default: the spec's own).")
@click.option("--test", "tests", is_flag=True, help="Run the spec's tests, and show how long answers take.")
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="How often --test sends each request.",
)
@no_docker_option
@click.option("--since", metavar="REF", help="What changed since this image (default: the spec's, at its registry).")
@click.option("--offline", is_flag=True, help="Ask no registry, and fetch no package to look into it.")
@insecure_option
@standard_options
def command(
    file: Path,
    target: str | None,
    platform: str | None,
    output: Path,
    base: str | None,
    image: str | None,
    tests: bool,
    repeat: int,
    no_docker: bool,
    since: str | None,
    offline: bool,
    reporter: Reporter,
) -> None:
    """Write a page about the package: one HTML file, to be read in a browser or printed, that fetches nothing.

    It shows what each image is made of, drawn by size; packages with versions, licences, sizes and who needs them;
    what changed since the last push, where a registry has one; what `packager check` finds; with --test how they went
    and how long answers take; digests; how to run it. Nothing is built; a test that fails is shown, and is no error.
    """
    from packager.spec.load import load_spec
    from packager.steps.report import report

    report(
        load_spec(file),
        output,
        target=target,
        platform=platform,
        base=base,
        image=image,
        tests=tests,
        docker=not no_docker,
        repeat=repeat,
        since=since,
        offline=offline,
        reporter=reporter,
    )
    emit(str(output))
