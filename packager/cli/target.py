"""`packager target`: the targets that there are, ours and those beside the spec, and a start of a new one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from packager.cli import common

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_DOCKERFILE = """\
{{# The Dockerfile of target {name}: that of {start}, but for the blocks that stand here. Blocks, in their order:
   header, base, system, environment, accelerator, user, models, app, labels, entrypoint. #}}
{{% extends "{template}" %}}
"""


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
        common.emit(f"{'':<{width}}  {target.description}")
    reporter.step("packager target show NAME says more")


@command.command("show")
@click.argument("name", metavar="NAME")
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
@click.option("--from", "start", metavar="TARGET", default="cpu", show_default=True, help="The target to start with.")
@common.file_option
@common.standard_options
def new_command(name: str, start: str, file: Path, reporter: common.Reporter) -> None:
    """Write `templates/NAME.toml` and `templates/NAME.Dockerfile.j2` beside the spec, to be edited; print their paths.

    With the name of one of our targets they take its place.
    """
    from packager.errors import UsageError
    from packager.targets import load_target, read_target, target_files

    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name of a target", remedy="lower-case letters, digits and `-` between them"
        )
    own = _own(file)
    target = load_target(start, own)
    template = f"{name}.Dockerfile.j2"
    text = target_files(own)[start].read_text("utf-8")
    texts = {
        own / f"{name}.toml": re.sub(r'(?m)^template = ".*"$', f'template = "{template}"', text),
        own / template: _DOCKERFILE.format(name=name, start=start, template=target.template),
    }
    for path in texts:
        if path.exists():
            raise UsageError(f"{path} is there already", remedy="choose another name, or remove it")
    own.mkdir(exist_ok=True)
    for path, content in texts.items():
        path.write_text(content, "utf-8")
        common.emit(str(path))
    read_target(own / f"{name}.toml")
    reporter.step(f"name it in the spec: `targets: [{name}]`")
