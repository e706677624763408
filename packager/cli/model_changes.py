"""`packager model update`, `download`, `delete`, `verify`, `push` and `pull`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from packager.cli import complete
from packager.cli.common import Reporter, emit, emit_json, format_option, pairs, standard_options
from packager.cli.registered import (
    add_properties,
    add_tags,
    deleted,
    description_option,
    force_option,
    model_argument,
    model_id_option,
    of_workspace,
    one_of,
    open_workspace,
    overwrite_option,
    show_id,
    verified,
)

# --- update, download, delete, verify ---------------------------------------------------------------------------------


@click.command("update")
@model_argument
@model_id_option
@click.option("--add-tag", "add_tags", multiple=True, metavar="KEY=VALUE", help="New, or another value (repeatable).")
@click.option("--remove-tag", "remove_tags", multiple=True, metavar="KEY", help="Tag that goes (repeatable).")
@click.option("--add-property", "add_properties", multiple=True, metavar="KEY=VALUE", help="New property (repeatable).")
@click.option("-d", "--description", metavar="TEXT", help="The new description.")
@of_workspace
@format_option
@standard_options
def update_command(
    model: str | None,
    by_id: str | None,
    add_tags: tuple[str, ...],
    remove_tags: tuple[str, ...],
    add_properties: tuple[str, ...],
    description: str | None,
    workspace: str | None,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Change tags or description of a version, or add properties; its files and digest stay. Print NAME:VERSION."""
    from packager.errors import UsageError

    if description is None and not (add_tags or remove_tags or add_properties):
        raise UsageError("nothing is to be changed", remedy="say --add-tag, --remove-tag, --add-property or -d")
    opened = open_workspace(workspace, reporter)
    version = opened.models.update(
        one_of(model, by_id),
        description=description,
        add_tags=pairs("--add-tag", add_tags),
        remove_tags=remove_tags,
        add_properties=pairs("--add-property", add_properties),
    )
    show_id(version, opened, output_format)


@click.command("download")
@model_argument
@model_id_option
@click.option(
    "-t",
    "--target-dir",
    "target",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="DIR",
    help="Folder (default: this one).",
)
@overwrite_option
@of_workspace
@format_option
@standard_options
def download_command(
    model: str | None,
    by_id: str | None,
    target: Path,
    overwrite: bool,
    workspace: str | None,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Copy the file or folder that was registered, under its own name, and print its path.

    It is held against its digest, and never a link into the workspace.
    """
    opened = open_workspace(workspace, reporter)
    version = opened.models.get(one_of(model, by_id))
    path = opened.models.download(version.id, target, overwrite=overwrite)
    if output_format == "json":
        emit_json({"id": version.id, "path": str(path)})
    else:
        emit(str(path))


@click.command("delete")
@click.argument("models", nargs=-1, metavar="[ID]...", shell_complete=complete.models)
@click.option("-i", "--model-id", "by_ids", multiple=True, metavar="NAME:VERSION", help="The same as ID.")
@force_option
@of_workspace
@format_option
@standard_options
def delete_command(
    models: tuple[str, ...],
    by_ids: tuple[str, ...],
    force: bool,
    workspace: str | None,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Remove versions, each NAME:VERSION, and print them; their numbers are never given again.

    Refused while an image that this workspace knows, a service of this machine, or the lock of a spec needs one.
    """
    from packager.errors import UsageError

    ids = (*models, *by_ids)
    if not ids:
        raise UsageError("no version is named", remedy="name it as NAME:VERSION")
    opened, gone = open_workspace(workspace, reporter), []
    try:
        for each in ids:
            gone.append(opened.models.delete(each, force=force))
            reporter.step(f"{gone[-1].id} is removed")
    finally:
        if gone or len(ids) > 1:
            deleted(gone, output_format)


@click.command("verify")
@click.argument("models", nargs=-1, metavar="[ID]...", shell_complete=complete.models)
@of_workspace
@format_option
@standard_options
def verify_command(models: tuple[str, ...], workspace: str | None, output_format: str, reporter: Reporter) -> None:
    """Read every file and compare its digest; exits with 6 when one is not what was registered.

    ID is NAME:VERSION, or NAME for all of its versions; without any, it is all models.
    """
    opened = open_workspace(workspace, reporter)
    found = [each for name in models or (None,) for each in opened.models.verify(name)]
    verified(tuple(found), opened.damage, output_format)


# --- registries -------------------------------------------------------------------------------------------------------


@click.command("push")
@click.argument("model", metavar="ID", shell_complete=complete.models)
@click.argument("reference", metavar="REF")
@click.option(
    "--as",
    "form",
    type=click.Choice(["artifact", "image"]),
    default="artifact",
    show_default=True,
    help="A ModelPack artifact, or an image with the files at its root, which Kubernetes mounts as a volume.",
)
@of_workspace
@format_option
@standard_options
def push_command(
    model: str,
    reference: str,
    form: Literal["artifact", "image"],
    workspace: str | None,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Write a version to any place at a registry, and print the reference with its digest.

    An artifact has description, tags and properties as they are now; an image has the files alone.
    """
    opened = open_workspace(workspace, reporter)
    version = opened.models.get(model)
    pushed = opened.models.push(version.id, reference, form=form)
    if output_format == "json":
        emit_json({"id": version.id, "reference": pushed, "form": form})
    else:
        emit(pushed)


@click.command("pull")
@click.argument("reference", metavar="REF")
@click.option(
    "-n", "--name", metavar="NAME", help="Of the model here; the version is the next (default: as it is called there)."
)
@add_tags
@add_properties
@description_option
@of_workspace
@format_option
@standard_options
def pull_command(
    reference: str,
    name: str | None,
    tags: tuple[str, ...],
    properties: tuple[str, ...],
    description: str,
    workspace: str | None,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Register what a registry has, and print NAME:VERSION.

    REF is a ModelPack artifact, a KitOps ModelKit, or an image with the files of a model. Description, tags and
    properties that `model push` wrote come with it; those that are given here go before them.
    """
    opened = open_workspace(workspace, reporter)
    version = opened.models.pull(
        reference,
        name,
        tags=pairs("--tag", tags),
        properties=pairs("--property", properties),
        description=description,
    )
    show_id(version, opened, output_format)
