"""`packager model`: models by name and version, in the words of `az ml model`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli import complete
from packager.cli.common import (
    Reporter,
    emit,
    emit_json,
    format_option,
    human_size,
    pairs,
    standard_options,
    standard_options_without_v,
)
from packager.cli.registered import (
    add_properties,
    add_tags,
    deleted,
    description_option,
    force_option,
    of_workspace,
    one_of,
    open_workspace,
    overwrite_option,
    show_id,
    tag_filter,
    verified,
    version_lines,
)
from packager.cli.terminal import table

if TYPE_CHECKING:
    from packager.workspace.actions import Difference
    from packager.workspace.values import Version

_id_option = click.option(
    "-i", "--model-id", "by_id", metavar="NAME:VERSION", shell_complete=complete.models, help="The same as ID."
)
_id_argument = click.argument("model", required=False, metavar="[ID]", shell_complete=complete.models)


@click.group("model")
def command() -> None:
    """Models by name and version, in a workspace: a folder, or a registry.

    A version's files never change, and neither does its number; tags and description may. A spec names one by
    `models: [{registered: NAME:VERSION}]`.
    """


# --- register ---------------------------------------------------------------------------------------------------------


@command.command("register")
@click.option("-n", "--name", required=True, metavar="NAME", help="Of the model; the version is the next.")
@click.option(
    "-p",
    "--path",
    "--model-path",
    "--asset-path",
    "path",
    required=True,
    metavar="PATH|URI",
    help="A file or folder; https://…, hf://ORG/NAME@REVISION, mlflow:models:/NAME/3, mlflow:runs:/ID/PATH, oci://REF.",
)
@add_tags
@add_properties
@description_option
@click.option(
    "--model-framework",
    "framework",
    metavar="NAME",
    help="ScikitLearn, TensorFlow, Onnx, TfKeras, PyTorch, Custom, Multi … (default: what the file tells).",
)
@click.option("--model-framework-version", "framework_version", metavar="VERSION", help="That saved it.")
@click.option(
    "--cc", "--cpu-cores", "cpu", type=click.FloatRange(min=0), metavar="N", help="Processors that a service wants."
)
@click.option(
    "--mi",
    "--gb",
    "--memory",
    "memory",
    type=click.FloatRange(min=0),
    metavar="GIB",
    help="Memory that a service wants.",
)
@click.option("--gc", "--gpu-cores", "gpu", type=click.IntRange(min=0), metavar="N", help="GPUs that a service wants.")
@click.option(
    "--sample-input",
    "samples",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A request as the model takes it (repeatable).",
)
@click.option("--sha256", metavar="HEX", help="Of the file; a download is held against it.")
@click.option("-r", "--run-id", "run_id", metavar="ID", help="Of the run that made it.")
@click.option("--experiment-name", "experiment", metavar="NAME", help="Of that run; kept as a property.")
@click.option(
    "-t",
    "--output-metadata-file",
    "metadata",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the model's name and version as JSON, as `az ml` does.",
)
@of_workspace
@format_option
@standard_options
def register(name: str, path: str, workspace: str | None, output_format: str, reporter: Reporter, **given: Any) -> None:
    """Register a file or folder as the next version of a model, and print NAME:VERSION.

    The file or folder keeps its own name. Framework and version are found in it where nobody says them, and what is
    said is held against it. Nothing is unpickled, imported or run.
    """
    from packager.steps.workspace import Resources, write_metadata

    amounts = {"cpu": given["cpu"], "memory_gb": given["memory"], "gpu": given["gpu"]}
    properties = pairs("--property", given["properties"])
    if given["experiment"] is not None:
        properties["experiment_name"] = given["experiment"]
    opened = open_workspace(workspace, reporter)
    version = opened.models.register(
        name,
        path,
        tags=pairs("--tag", given["tags"]),
        properties=properties,
        description=given["description"],
        framework=given["framework"],
        framework_version=given["framework_version"],
        resources=None if all(each is None for each in amounts.values()) else Resources(**amounts),
        sample_inputs=given["samples"],
        sha256=given["sha256"],
        run_id=given["run_id"],
    )
    if given["metadata"] is not None:
        write_metadata(given["metadata"], version, opened)
    show_id(version, opened, output_format)


# --- list, show, diff -------------------------------------------------------------------------------------------------


@command.command("list")
@click.option(
    "-n", "--name", "--model-name", "name", metavar="NAME", shell_complete=complete.models, help="Versions of this one."
)
@tag_filter
@click.option("--property", "properties", multiple=True, metavar="KEY[=VALUE]", help="Those with it (repeatable).")
@click.option("--framework", metavar="NAME", help="Those of this framework.")
@click.option("--run-id", metavar="ID", help="Those that this run made.")
@click.option("-l", "--latest", is_flag=True, help="Of each name the latest version alone, of those asked for.")
@of_workspace
@format_option
@standard_options
def list_(
    name: str | None,
    tags: tuple[str, ...],
    properties: tuple[str, ...],
    framework: str | None,
    run_id: str | None,
    latest: bool,
    workspace: str | None,
    output_format: str,
    reporter: Reporter,
) -> None:
    """List registered models: version, framework, time, size, tags."""
    from packager.steps.workspace_outputs import summary

    found = open_workspace(workspace, reporter).models.list(
        name, tags=tags, properties=properties, framework=framework, run_id=run_id, latest=latest
    )
    if output_format == "json":
        emit_json([summary(each) for each in found])
        return
    for line in table([_row(each) for each in found]):
        emit(line)
    if not found:
        reporter.step("no such model is registered: `packager model register -n NAME -p PATH`")


def _row(version: Version) -> tuple[str, ...]:
    framework = " ".join(each for each in (version.framework, version.framework_version) if each)
    tags = ", ".join(f"{key}={value}" for key, value in version.tags.items())
    return version.id, framework or "-", version.created, human_size(version.size), tags


@command.command("show")
@_id_argument
@click.option(
    "-n", "--model-name", "--name", "name", metavar="NAME", shell_complete=complete.models, help="Name of the model."
)
@click.option("-v", "--version", "version", type=int, metavar="N", help="Its version (default: the latest).")
@_id_option
@of_workspace
@format_option
@standard_options_without_v
def show(
    model: str | None,
    name: str | None,
    version: int | None,
    by_id: str | None,
    workspace: str | None,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Show one version: files with digests, what is known of it, and the images and services that hold it.

    ID is NAME:VERSION, or NAME for the latest.
    """
    from packager.steps.workspace_outputs import registered, used_by

    opened = open_workspace(workspace, reporter)
    found = opened.models.get(one_of(model, by_id, name, version))
    uses = opened.models.uses(found)
    if output_format == "json":
        emit_json({**registered(found, opened.location), "used_by": used_by(uses)})
        return
    for line in version_lines(found, uses):
        emit(line)


@command.command("diff")
@click.argument("before", metavar="ID", shell_complete=complete.models)
@click.argument("after", metavar="ID", shell_complete=complete.models)
@click.option("--exit-code", "exit_code", is_flag=True, help="Exit with 1 when anything differs.")
@of_workspace
@format_option
@standard_options
def diff(
    before: str, after: str, exit_code: bool, workspace: str | None, output_format: str, reporter: Reporter
) -> None:
    """Say what differs between two versions: files, sizes, tags, and what else is known of them."""
    from packager.steps.workspace_outputs import difference

    models = open_workspace(workspace, reporter).models
    one, other = models.get(before), models.get(after)
    found = models.diff(one.id, other.id)
    if output_format == "json":
        emit_json(difference(one, other, found))
    else:
        for line in _difference_lines(found):
            emit(line)
    if found.is_empty:
        reporter.step("nothing differs")
    elif exit_code:
        raise click.exceptions.Exit(1)


def _difference_lines(found: Difference) -> list[str]:
    lines = [f"+ {each.path}  {human_size(each.size)}" for each in found.added]
    lines += [f"- {each.path}  {human_size(each.size)}" for each in found.removed]
    for old, new in found.changed:
        sizes = human_size(old.size) if old.size == new.size else f"{human_size(old.size)} -> {human_size(new.size)}"
        lines.append(f"  {old.path}  {sizes}, other content")
    for name, (before, after) in found.facts.items():
        lines.append(f"  {name}: {_shown(before)} -> {_shown(after)}")
    return lines


def _shown(value: str | None) -> str:
    return "(none)" if value is None else value


# --- update, download, delete, verify ---------------------------------------------------------------------------------


@command.command("update")
@_id_argument
@_id_option
@click.option("--add-tag", "add_tags", multiple=True, metavar="KEY=VALUE", help="New, or another value (repeatable).")
@click.option("--remove-tag", "remove_tags", multiple=True, metavar="KEY", help="Tag that goes (repeatable).")
@click.option("--add-property", "add_properties", multiple=True, metavar="KEY=VALUE", help="New property (repeatable).")
@click.option("-d", "--description", metavar="TEXT", help="The new description.")
@of_workspace
@format_option
@standard_options
def update(
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


@command.command("download")
@_id_argument
@_id_option
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
def download(
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


@command.command("delete")
@click.argument("models", nargs=-1, metavar="[ID]...", shell_complete=complete.models)
@click.option("-i", "--model-id", "by_ids", multiple=True, metavar="NAME:VERSION", help="The same as ID.")
@force_option
@of_workspace
@format_option
@standard_options
def delete(
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
    finally:
        if gone or len(ids) > 1:
            deleted(gone, output_format)


@command.command("verify")
@click.argument("models", nargs=-1, metavar="[ID]...", shell_complete=complete.models)
@of_workspace
@format_option
@standard_options
def verify(models: tuple[str, ...], workspace: str | None, output_format: str, reporter: Reporter) -> None:
    """Read every file and compare its digest; exits with 6 when one is not what was registered.

    ID is NAME:VERSION, or NAME for all of its versions; without any, it is all models.
    """
    opened = open_workspace(workspace, reporter).models
    found = [each for name in models or (None,) for each in opened.verify(name)]
    verified(tuple(found), output_format)


# --- registries -------------------------------------------------------------------------------------------------------


@command.command("push")
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
def push(model: str, reference: str, form: str, workspace: str | None, output_format: str, reporter: Reporter) -> None:
    """Write a version to any place at a registry, and print the reference with its digest."""
    opened = open_workspace(workspace, reporter)
    version = opened.models.get(model)
    pushed = opened.models.push(version.id, reference, form=form)
    if output_format == "json":
        emit_json({"id": version.id, "reference": pushed, "form": form})
    else:
        emit(pushed)


@command.command("pull")
@click.argument("reference", metavar="REF")
@click.option("-n", "--name", required=True, metavar="NAME", help="Of the model here; the version is the next.")
@add_tags
@add_properties
@description_option
@of_workspace
@format_option
@standard_options
def pull(
    reference: str,
    name: str,
    tags: tuple[str, ...],
    properties: tuple[str, ...],
    description: str,
    workspace: str | None,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Register what a registry has, and print NAME:VERSION.

    REF is a ModelPack artifact, a KitOps ModelKit, or an image with the files of a model.
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
