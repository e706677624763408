"""`packager workspace`: the places where models and environments are registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from packager.cli import complete
from packager.cli.common import (
    Reporter,
    count,
    emit,
    emit_json,
    format_option,
    human_size,
    insecure_option,
    standard_options,
)
from packager.cli.registered import of_workspace
from packager.cli.terminal import table

if TYPE_CHECKING:
    from packager.steps.workspaces import WorkspaceSummary


@click.group("workspace")
def command() -> None:
    """Places where models and environments are registered: folders, or prefixes at registries.

    Which one a verb means: --workspace, else PACKAGER_WORKSPACE, else `workspace:` of the spec, else `workspace_name`
    of `.azureml/config.json` or `config.json` here or above, else `packager workspace use`, else the one named default.
    """


@command.command("create")
@click.argument("workspace", metavar="WORKSPACE")
@insecure_option
@format_option
@standard_options
def create(workspace: str, output_format: str, reporter: Reporter) -> None:
    """Make a workspace, unless it is there, and print where it is.

    WORKSPACE is a NAME, which is a folder of yours, a PATH with a `/`, or oci://REGISTRY/PREFIX.
    """
    from packager.steps.workspaces import create as make

    made = make(workspace)
    if output_format == "json":
        emit_json({"name": made.name, "location": made.location})
    else:
        emit(made.location)
    reporter.detail(made.name)


@command.command("list")
@of_workspace
@format_option
@standard_options
def list_(workspace: str | None, output_format: str, reporter: Reporter) -> None:
    """List your workspaces, and the one that is meant here, which has a star."""
    import msgspec

    from packager.steps.chosen_workspace import chosen
    from packager.steps.workspaces import list_workspaces

    found = list_workspaces(chosen(workspace, say=reporter.warn), reporter=reporter)
    if output_format == "json":
        emit_json([msgspec.to_builtins(each) for each in found])
        return
    rows = [("*" if each.chosen else " ", each.name, _amount(each), each.location) for each in found]
    for line in table(rows):
        emit(line)


@command.command("show")
@click.argument("name", required=False, metavar="[WORKSPACE]", shell_complete=complete.workspaces)
@of_workspace
@format_option
@standard_options
def show(name: str | None, workspace: str | None, output_format: str, reporter: Reporter) -> None:
    """Show the workspace that is meant here, what says so, and how much is in it."""
    import msgspec

    from packager.steps.chosen_workspace import chosen, kept
    from packager.steps.workspaces import summarise

    choice = chosen(name or workspace, say=reporter.warn)
    found = summarise(kept(choice), choice)
    for sentence in found.damage:
        reporter.warn(sentence)
    if output_format == "json":
        emit_json(msgspec.to_builtins(found))
        return
    rows = (
        ("workspace", f"{found.name} ({'given' if name else found.by})"),
        ("location", found.location),
        ("models", str(found.models)),
        ("environments", str(found.environments)),
        ("versions", f"{found.versions}, {human_size(found.size)}"),
        ("images", str(found.images)),
    )
    for line in table(rows):
        emit(line)


@command.command("use")
@click.argument("workspace", metavar="WORKSPACE", shell_complete=complete.workspaces)
@insecure_option
@format_option
@standard_options
def use(workspace: str, output_format: str, reporter: Reporter) -> None:
    """Take a workspace from now on where nothing else says which: it is written into your settings.

    `packager config` shows them. `packager workspace use default` goes back.
    """
    from packager.steps.workspaces import use as write

    file = write(workspace)
    if output_format == "json":
        emit_json({"workspace": workspace, "file": str(file)})
    else:
        emit(str(file))
    reporter.step(f"{workspace} is meant where neither --workspace, PACKAGER_WORKSPACE, a spec nor config.json says it")


@command.command("copy")
@click.argument("source", metavar="FROM", shell_complete=complete.workspaces)
@click.argument("target", metavar="TO", shell_complete=complete.workspaces)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@insecure_option
@format_option
@standard_options
def copy(source: str, target: str, names: tuple[str, ...], output_format: str, reporter: Reporter) -> None:
    """Copy models and environments from one workspace to another, with their numbers; TO is made when needed.

    Names of models or environments copy those alone. What TO has is not sent again; where it has something else under
    a number, nothing is replaced, and it ends with 6.
    """
    from packager.steps.workspace_data import copied
    from packager.steps.workspaces import copy as send

    found = send(source, target, only=names, reporter=reporter)
    if output_format == "json":
        emit_json(copied(found))
    else:
        for version in found.copied:
            emit(version.id)
    reporter.step(f"{count(len(found.copied), 'version')} copied, {len(found.present)} were there")


def _amount(found: WorkspaceSummary) -> str:
    return f"{count(found.models, 'model')}, {count(found.environments, 'environment')}, {human_size(found.size)}"
