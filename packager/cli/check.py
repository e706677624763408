"""`packager check`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from packager.cli.common import (
    Reporter,
    count,
    emit,
    emit_json,
    file_option,
    insecure_option,
    spec_argument,
    spec_workspace_option,
    standard_options,
)

if TYPE_CHECKING:
    from packager.finding import Finding


@click.command("check")
@spec_argument
@file_option
@spec_workspace_option
@insecure_option
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
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    show_default=True,
    help="Form of the findings: sarif for code scanning, github for annotations of a workflow's run.",
)
@standard_options
def command(file: Path, fail_on: str, offline: bool, start: bool, output_format: str, reporter: Reporter) -> None:
    """Find what is wrong before anything is built: spec, lock, entry script, models, and the Dockerfile by hadolint.

    Imports, models and their paths are held against the lock; scripts and pickles are read, never run, unless --start
    is given: then the package is laid down here and started, where nothing else is wrong. An invalid spec ends with 2;
    findings at or above the threshold end with 5.
    """
    from packager.errors import LintError, PackagerError
    from packager.finding import SEVERITIES, at_least, from_error
    from packager.spec.load import load_spec
    from packager.steps.check import check

    try:
        spec_file = load_spec(file)
        findings = check(spec_file, offline=offline, start=start, reporter=reporter)
    except PackagerError as error:
        # Who uploads or annotates gets a whole report of this, too.
        if output_format in ("sarif", "github"):
            _show((from_error("spec-invalid", error, str(file)),), file, output_format)
        raise
    _show(findings, spec_file.document.path, output_format)
    threshold = next((each for each in SEVERITIES if each == fail_on), None)
    failing = at_least(findings, threshold) if threshold else ()
    if failing:
        raise LintError(f"{len(failing)} of {count(len(findings), 'finding')} at or above {fail_on!r}")
    reporter.step(f"{count(len(findings), 'finding')}, none at or above {fail_on!r}" if findings else "nothing found")


def _show(findings: Sequence[Finding], spec: Path, output_format: str) -> None:
    if output_format == "text":
        for finding in findings:
            emit(str(finding), paint=True)
    elif output_format == "json":
        import msgspec

        emit_json(msgspec.to_builtins(findings))
    else:
        from packager.cli.findings import github, placed, sarif

        found = placed(findings, spec)
        if output_format == "sarif":
            emit_json(sarif(found))
        for finding in found if output_format == "github" else ():
            emit(github(finding))
