"""`packager check`."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli.common import (
    Reporter,
    count,
    emit,
    emit_json,
    file_option,
    format_option,
    spec_argument,
    standard_options,
)


@click.command("check")
@spec_argument
@file_option
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "info", "never"]),
    default="error",
    show_default=True,
    help="The mildest severity that makes the exit code 5.",
)
@click.option(
    "--offline", is_flag=True, help="Fetch no package to look into it: what cannot be decided without is said to be so."
)
@click.option(
    "--start",
    is_flag=True,
    help="Start the package on this machine, too: server, the script's modules and init(), as `run --no-docker` does.",
)
@format_option
@standard_options
def command(file: Path, fail_on: str, offline: bool, start: bool, output_format: str, reporter: Reporter) -> None:
    """Find what is wrong before anything is built: spec, lock, entry script, models, and the Dockerfile by hadolint.

    Imports, models and their paths are held against the lock; scripts and pickles are read, never run, unless --start
    is given: then the package is laid down here and started, where nothing else is wrong. An invalid spec ends with 2;
    findings at or above the threshold end with 5.
    """
    from packager.errors import LintError
    from packager.finding import SEVERITIES, at_least
    from packager.spec.load import load_spec
    from packager.steps.check import check

    spec_file = load_spec(file)
    findings = check(spec_file, offline=offline, start=start, reporter=reporter)
    if output_format == "json":
        import msgspec

        emit_json(msgspec.to_builtins(findings))
    for finding in findings if output_format == "text" else ():
        emit(str(finding), paint=True)
    threshold = next((each for each in SEVERITIES if each == fail_on), None)
    failing = at_least(findings, threshold) if threshold else ()
    if failing:
        raise LintError(f"{len(failing)} of {count(len(findings), 'finding')} at or above {fail_on!r}")
    reporter.step(f"{count(len(findings), 'finding')}, none at or above {fail_on!r}" if findings else "nothing found")
