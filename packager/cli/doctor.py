"""`packager doctor`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from packager.cli.common import Reporter, emit, emit_json, format_option, standard_options
from packager.cli.terminal import wrapped

if TYPE_CHECKING:
    from packager.steps.doctor import Finding

_SIGNS = {"ok": "ok     ", "missing": "MISSING", "warning": "warning"}


@click.command("doctor")
@format_option
@standard_options
def command(output_format: str, reporter: Reporter) -> None:
    """Say which tools are there, and what to do about what is not.

    The exit code is 1 only if something is missing that `lock`, `check` or `save` need; an engine is not among that.
    """
    import msgspec

    from packager.steps.doctor import examine

    findings = examine()
    if output_format == "json":
        emit_json([msgspec.to_builtins(finding) for finding in findings])
    else:
        emit("\n".join(as_text(finding) for finding in findings))
    if any(finding.required and finding.status == "missing" for finding in findings):
        sys.exit(1)


def as_text(finding: Finding) -> str:
    """Return a finding as one line, and its remedy as a second one."""
    line = f"{_SIGNS[finding.status]}  {finding.name:<16}  {finding.detail}"
    return f"{line}\n{wrapped(f'to do: {finding.remedy}', indent=' ' * 27)}" if finding.remedy else line
