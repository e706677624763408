"""`packager image`: what was made of what is registered."""

from __future__ import annotations

import click

from packager.cli import complete
from packager.cli.common import Reporter, emit, emit_json, format_option, standard_options
from packager.cli.registered import of_workspace, open_workspace
from packager.cli.terminal import table


@click.group("image")
def command() -> None:
    """Images that were built or pushed of what a workspace has."""


@command.command("list")
@click.option(
    "--model", metavar="NAME[:VERSION]", shell_complete=complete.models, help="Those that hold this model alone."
)
@of_workspace
@format_option
@standard_options
def list_(model: str | None, workspace: str | None, output_format: str, reporter: Reporter) -> None:
    """List images: when, reference, digest, registered models, package. The newest is the last."""
    from packager.steps.workspace_data import image

    found = open_workspace(workspace, reporter).images(model)
    if output_format == "json":
        emit_json([image(each) for each in found])
        return
    rows = [
        (
            each.when,
            each.reference,
            "pushed" if each.pushed else "built",
            each.digest or "-",
            ", ".join(f"{held.name}:{held.version}" for held in each.models) or "-",
            each.package,
        )
        for each in found
    ]
    for line in table(rows):
        emit(line)
    if not found:
        reporter.step("no image is remembered: `packager build` of a spec with registered models notes one")
