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
from packager.cli.model_changes import (
    delete_command,
    download_command,
    pull_command,
    push_command,
    update_command,
    verify_command,
)
from packager.cli.model_deploy import deploy_command, package_command
from packager.cli.model_profile import profile_command
from packager.cli.registered import (
    add_properties,
    add_tags,
    description_option,
    model_argument,
    model_id_option,
    of_workspace,
    one_of,
    open_workspace,
    show_id,
    tag_filter,
    version_lines,
)
from packager.cli.terminal import table

if TYPE_CHECKING:
    from packager.workspace.actions import Difference
    from packager.workspace.values import Version


@click.group("model")
def command() -> None:
    """Models by name and version, in a workspace: a folder, or a registry.

    A version's files never change, and neither does its number; tags and description may. A spec names one by
    `models: [{registered: NAME:VERSION}]`.
    """


for _each in (
    update_command,
    download_command,
    delete_command,
    verify_command,
    push_command,
    pull_command,
    deploy_command,
    package_command,
    profile_command,
):
    command.add_command(_each)


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
    if given["metadata"] is not None and not given["metadata"].absolute().parent.is_dir():
        raise click.BadParameter(
            f"there is no folder {given['metadata'].parent}", param_hint="'--output-metadata-file'"
        )
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
    from packager.steps.workspace_data import summary

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
@model_argument
@click.option(
    "-n", "--model-name", "--name", "name", metavar="NAME", shell_complete=complete.models, help="Name of the model."
)
@click.option("-v", "--version", "version", type=int, metavar="N", help="Its version (default: the latest).")
@model_id_option
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
    from packager.steps.workspace_data import registered, used_by

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
    from packager.steps.workspace_data import difference

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
