"""`packager target`: the targets that there are, ours and those beside the spec, and a start of a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from packager.cli import common, complete
from packager.cli.terminal import wrapped


@click.group("target")
def command() -> None:
    """List and show targets, and start one of your own in the folder `templates` beside the spec."""


def _own(file: Path) -> Path:
    """Return the folder of the user's templates; the spec itself may still be missing or wrong."""
    return (file if file.is_dir() else file.parent) / "templates"


@command.command("list")
@common.file_option
@common.format_option
@common.standard_options
def list_command(file: Path, output_format: str, reporter: common.Reporter) -> None:
    """List the targets: name, platforms, what they are. Those in `templates/` beside the spec are marked."""
    from packager.targets import read_target, target_files

    own = _own(file)
    found = [(read_target(path), path) for path in target_files(own).values()]
    if output_format == "json":
        common.emit_json([_data(path, own) for _, path in found])
        return
    width = max(len(target.name) for target, _ in found)
    for target, path in found:
        mark = "  (templates/ beside the spec)" if path.parent == own else ""
        common.emit(f"{target.name:<{width}}  {', '.join(target.wheels)}{mark}")
        common.emit(wrapped(target.description, indent=" " * (width + 2)))
    reporter.step("packager target show NAME says more")


@command.command("show")
@click.argument("name", metavar="NAME", shell_complete=complete.all_targets)
@common.file_option
@common.format_option
@common.standard_options
def show_command(name: str, file: Path, output_format: str, reporter: common.Reporter) -> None:
    """Show a target: the file that it is."""
    from packager.targets import load_target, target_files

    own = _own(file)
    load_target(name, own)
    path = target_files(own)[name]
    if output_format == "json":
        common.emit_json(_data(path, own))
        return
    common.emit(path.read_text("utf-8").rstrip())
    reporter.step(f"a spec uses it by `targets: [{name}]`, or says there what differs: `targets: {{{name}: {{…}}}}`")


def _data(path: Path, own: Path) -> dict[str, Any]:
    """Return what a target's file holds, with the target's name and where it is from."""
    import tomllib

    return {
        "name": path.stem,
        **tomllib.loads(path.read_text("utf-8")),
        "file": f"templates/{path.name}",
        "own": path.parent == own,
    }


@command.command("new")
@click.argument("name", metavar="NAME")
@click.option(
    "--from",
    "start",
    metavar="TARGET",
    default="cpu",
    show_default=True,
    shell_complete=complete.all_targets,
    help="The target to start with.",
)
@common.file_option
@common.standard_options
def new_command(name: str, start: str, file: Path, reporter: common.Reporter) -> None:
    """Write `templates/NAME.toml` and `templates/NAME.Dockerfile.j2` beside the spec, to be edited; print their paths.

    With the name of one of our targets they take its place.
    """
    from packager.steps.target import new_target

    for path in new_target(name, _own(file), start=start):
        common.emit(str(path))
    reporter.step(f"name it in the spec: `targets: [{name}]`")
