"""`packager environment register`, `download`, `delete` and `verify`."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli import common, complete
from packager.cli.registered import (
    add_properties,
    add_tags,
    deleted,
    force_option,
    of_workspace,
    one_of,
    open_workspace,
    overwrite_option,
    show_id,
    verified,
)


@click.command("register")
@click.option(
    "-d",
    "--directory",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder with azureml_environment.json, environment.yml or requirements.txt; its lock goes with it.",
)
@click.option(
    "-f",
    "--definition",
    "definition",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A conda file, a requirements file, or azureml_environment.json.",
)
@click.option("-n", "--name", metavar="NAME", help="Its name (default: what azureml_environment.json says).")
@add_tags
@add_properties
@click.option("--description", default="", metavar="TEXT", help="For people.")
@of_workspace
@common.format_option
@common.standard_options
def register_command(
    folder: Path | None,
    definition: Path | None,
    name: str | None,
    tags: tuple[str, ...],
    properties: tuple[str, ...],
    description: str,
    workspace: str | None,
    output_format: str,
    reporter: common.Reporter,
) -> None:
    """Register what defines an environment as its next version, and print NAME:VERSION.

    What could never be locked is refused, with its line.
    """
    from packager.errors import UsageError

    path = folder or definition
    if path is None or (folder and definition):
        raise UsageError("one of -d DIR and -f FILE says what is registered", remedy="name one of the two")
    opened = open_workspace(workspace, reporter)
    version = opened.environments.register(
        name,
        path,
        tags=common.pairs("--tag", tags),
        properties=common.pairs("--property", properties),
        description=description,
    )
    show_id(version, opened, output_format)


@click.command("download")
@click.argument("environment", required=False, metavar="[NAME[:VERSION]]", shell_complete=complete.environments)
@click.option("-n", "--name", metavar="NAME", shell_complete=complete.environments, help="Its name.")
@click.option(
    "-t",
    "-d",
    "--target-dir",
    "--directory",
    "target",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="DIR",
    help="Folder (default: this one).",
)
@overwrite_option
@of_workspace
@common.format_option
@common.standard_options
def download_command(
    environment: str | None,
    name: str | None,
    target: Path,
    overwrite: bool,
    workspace: str | None,
    output_format: str,
    reporter: common.Reporter,
) -> None:
    """Copy the files that define an environment into a folder, and print the path of the one, or of the folder.

    Of a curated one it is environment.yml.
    """
    environments = open_workspace(workspace, reporter).environments
    found = environments.get(one_of(environment, None, name))
    shown = found.name if found.registered is None else found.registered.id
    path = environments.download(shown, target, overwrite=overwrite)
    if output_format == "json":
        common.emit_json({"id": shown, "path": str(path)})
    else:
        common.emit(str(path))


@click.command("delete")
@click.argument("names", nargs=-1, required=True, metavar="NAME:VERSION...", shell_complete=complete.environments)
@force_option
@of_workspace
@common.format_option
@common.standard_options
def delete_command(
    names: tuple[str, ...], force: bool, workspace: str | None, output_format: str, reporter: common.Reporter
) -> None:
    """Remove registered versions, and print them; their numbers are never given again.

    Refused while an image that this workspace knows, or the lock of a spec, needs one.
    """
    environments = open_workspace(workspace, reporter).environments
    gone = []
    try:
        for each in names:
            gone.append(environments.delete(each, force=force))
            reporter.step(f"{gone[-1].id} is removed")
    finally:
        if gone:
            deleted(gone, output_format)


@click.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME[:VERSION]]...", shell_complete=complete.environments)
@of_workspace
@common.format_option
@common.standard_options
def verify_command(
    names: tuple[str, ...], workspace: str | None, output_format: str, reporter: common.Reporter
) -> None:
    """Read every file of registered environments and compare its digest; exits with 6 when one is another.

    Without a name it is all that are registered.
    """
    opened = open_workspace(workspace, reporter)
    environments = opened.environments
    found = [each for name in names or (None,) for each in environments.verify(name)]
    verified(tuple(found), opened.damage, output_format)
