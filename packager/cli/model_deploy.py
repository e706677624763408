"""`packager model deploy` and `package`: in the words of `az ml model`, on files of Azure ML v1, without a spec."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from packager.cli import complete
from packager.cli.common import Reporter, emit, emit_json, format_option, standard_options
from packager.cli.deployed import FILE, asked_for, inference_option, models_option, show_deployed
from packager.cli.registered import of_workspace, open_workspace

_Command = TypeVar("_Command", bound=Callable[..., Any])

_metadata_option = click.option(
    "-f",
    "--model-metadata-file",
    "metadata",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="What `model register -t` wrote, in place of -m (repeatable).",
)
_show_spec_option = click.option(
    "--show-spec",
    is_flag=True,
    help="Print the packager.yaml that this is, and where its lock is kept; do nothing.",
)


def _of_files(command: _Command) -> _Command:
    for option in (_show_spec_option, _metadata_option, inference_option, models_option):
        command = option(command)
    return command


@click.command("deploy")
@click.option("-n", "--name", required=True, metavar="NAME", shell_complete=complete.services, help="Of the service.")
@_of_files
@click.option(
    "--dc",
    "--deploy-config-file",
    "deployment",
    type=FILE,
    metavar="FILE",
    help="deploymentconfig.json: local, ACI or AKS, with limits, keys and probes (default: ACI's, without limits).",
)
@click.option("--ct", "--compute-target", "target", metavar="NAME", help="Compute target; AKS needs one.")
@click.option("--overwrite", is_flag=True, help="Replace a service of the name, without losing a request.")
@click.option(
    "--no-docker", is_flag=True, help="Run it as processes of this machine, without an image and without limits."
)
@of_workspace
@format_option
@standard_options
def deploy_command(
    name: str,
    models: tuple[str, ...],
    inference: Path | None,
    metadata: tuple[Path, ...],
    deployment: Path | None,
    target: str | None,
    overwrite: bool,
    no_docker: bool,
    show_spec: bool,
    workspace: str | None,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Package models with a script, start them as service NAME of this machine, and print the URL to post requests to.

    The files of Azure ML v1 are the declaration, and there is no packager.yaml; --show-spec prints the one that they
    are. Paths in them are relative to the file, or to this folder. Without --ic the model is served without code, by
    its framework. ACI and AKS are this machine, too, with the limits and keys of --dc. The lock is kept for the next
    deployment with an equal environment, which solves nothing then.
    """
    from packager.steps import v1_deploy

    asked = asked_for(models, inference, metadata, deployment, target)
    opened = open_workspace(workspace, reporter)
    if show_spec:
        emit_spec(v1_deploy.spec_of(opened, name, asked, reporter=reporter), output_format)
        return
    done = v1_deploy.deploy(opened, name, asked, overwrite=overwrite, docker=not no_docker, reporter=reporter)
    show_deployed(done, output_format, reporter)


@click.command("package")
@_of_files
@click.option(
    "--output-path",
    "output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write Dockerfile and build context there, and build no image.",
)
@click.option("--in", "--image-name", "image_name", metavar="NAME", help="Of the image (default: package).")
@click.option("--il", "--image-label", "image_label", metavar="LABEL", help="Its tag (default: the time).")
@of_workspace
@format_option
@standard_options
def package_command(
    models: tuple[str, ...],
    inference: Path | None,
    metadata: tuple[Path, ...],
    output: Path | None,
    image_name: str | None,
    image_label: str | None,
    show_spec: bool,
    workspace: str | None,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Make an image of models with a script, and print its reference; or a folder for `docker build`, and its path.

    The image is in the engine, and pushed where the workspace is a registry. See `packager model deploy`.
    """
    from packager.steps import v1_deploy

    asked = asked_for(models, inference, metadata)
    opened = open_workspace(workspace, reporter)
    if show_spec:
        emit_spec(v1_deploy.spec_of(opened, image_name or "package", asked, reporter=reporter), output_format)
        return
    made = v1_deploy.package(
        opened, asked, output=output, image_name=image_name, image_label=image_label, reporter=reporter
    )
    if output_format == "json":
        output_path = str(made.output) if made.output is not None else None
        emit_json({"image": made.image, "output": output_path, "models": list(made.models), "folder": str(made.folder)})
        return
    emit(made.image or str(made.output))


def emit_spec(text: str, output_format: str) -> None:
    """Print a spec.

    Raises:
        UsageError: as JSON.
    """
    from packager.errors import UsageError

    if output_format == "json":
        raise UsageError("--show-spec prints a packager.yaml, and no JSON", remedy="leave --format json out")
    emit(text.rstrip("\n"))
