"""`packager ci`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from packager.cli import common

if TYPE_CHECKING:
    from packager.steps.ci import System


@click.command("ci")
@click.argument("system", type=click.Choice(["github", "gitlab", "azure", "tekton"]))
@common.file_option
@common.spec_workspace_option
@common.insecure_option
@click.option("-o", "--output", "output", type=click.Path(path_type=Path), help="Write it to this file.")
@common.standard_options
def command(system: System, file: Path, output: Path | None, reporter: common.Reporter) -> None:
    """Print a pipeline for a CI system, as the spec wants it: lock check, check, build, test, push.

    \b
    github   a workflow of GitHub Actions: .github/workflows/NAME.yml
    gitlab   GitLab CI: .gitlab-ci.yml, or a file that it includes
    azure    Azure Pipelines: azure-pipelines.yml
    tekton   a Task and a Pipeline of Tekton, for kubectl apply

    Each keeps packager's cache by the lock, logs in by secrets of the CI system's own, pushes from the main branch
    alone, and gives each reference with its digest as its output, which a signature wants. It is a file like any other
    from then on: what variables and secrets it needs stands at its top. GitLab and Tekton get an engine only where an
    image cannot be made without one; the spec's tests are run without Docker there.
    """  # noqa: D301 - click reads the backspace character, not the two letters
    from packager.steps.ci import ci, write_text
    from packager.units import visible

    text = ci(common.load_spec(file), system, reporter=reporter)
    if output is None:
        click.echo(visible(text), nl=False)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, text)
    common.emit(str(output))
