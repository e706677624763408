"""`packager test`."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli.common import (
    Reporter,
    base_option,
    build_option,
    build_wish,
    emit,
    emit_json,
    file_option,
    format_option,
    insecure_option,
    load_spec,
    no_docker_option,
    platform_option,
    spec_argument,
    spec_workspace_option,
    standard_options,
    target_option,
)
from packager.cli.run import variables


@click.command("test")
@spec_argument
@file_option
@spec_workspace_option
@insecure_option
@target_option
@platform_option
@no_docker_option
@build_option
@base_option
@click.option("--image", "image", metavar="REF", help="Test this image instead of the spec's own.")
@click.option(
    "-e", "--env", "env", multiple=True, metavar="NAME[=VALUE]", help="Variable of the container (repeatable)."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds until it must be healthy (default: 120, or what the spec's probes let a start take).",
)
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Send each request so often, and say how its times are spread.",
)
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write JUnit XML, too.")
@format_option
@standard_options
def command(
    file: Path,
    target: str | None,
    platform: str | None,
    no_docker: bool,
    build_first: bool,
    base: str | None,
    image: str | None,
    env: tuple[str, ...],
    timeout: float | None,
    repeat: int,
    junit: Path | None,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Start each image, send it the requests of the spec's `test:` section, and compare the answers.

    Without --build nothing is built: what is tested is the image that the engine has, which is what `packager push`
    would push; where it is not of the files as they are now, that is said. It
    runs as in production, on a free port of this machine, and is removed whatever happens. With --no-docker no image is
    needed: the spec's package runs in its locked environment on this machine.
    """
    from packager.steps.test import as_data, report_lines, require_passed, test, write_junit

    reports = test(
        load_spec(file),
        image=image,
        target=target,
        platform=platform,
        docker=not no_docker,
        build=build_wish(build_first, base, target, platform),
        repeat=repeat,
        timeout=timeout,
        env=variables(env),
        reporter=reporter,
    )
    if junit is not None:
        write_junit(reports, junit)
    if output_format == "json":
        emit_json([as_data(report) for report in reports])
    else:
        emit("\n".join(line for report in reports for line in report_lines(report)), paint=True)
    require_passed(reports, "all" if output_format == "json" else "outcomes")
