"""`packager environment`: what lists, shows and compares.

`environment_registered` has what registers, `environment_create` what lays an environment down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from packager.cli import common, complete
from packager.cli.environment_create import create_command, run_command
from packager.cli.environment_registered import (
    delete_command,
    download_command,
    register_command,
    verify_command,
)
from packager.cli.registered import of_workspace, one_of, open_workspace, tag_filter, version_lines
from packager.cli.terminal import table, wrapped

if TYPE_CHECKING:
    from packager.environments.declare.curated import Curated
    from packager.environments.lock import Move
    from packager.environments.locks.difference import TargetDifference
    from packager.steps.listed_environments import ListedEnvironment


@click.group("environment")
def command() -> None:
    """Environments by name: register and list them, compare locks, lay a locked environment down on this machine."""


for _each in (register_command, download_command, delete_command, verify_command, create_command, run_command):
    command.add_command(_each)


# --- list and show ----------------------------------------------------------------------------------------------------


@command.command("list")
@click.option("-n", "--name", metavar="NAME", shell_complete=complete.environments, help="Versions of this one.")
@tag_filter
@click.option("-l", "--latest", is_flag=True, help="Of each registered name the latest version alone.")
@of_workspace
@common.format_option
@common.standard_options
def list_command(
    name: str | None,
    tags: tuple[str, ...],
    latest: bool,
    workspace: str | None,
    output_format: str,
    reporter: common.Reporter,
) -> None:
    """List environments: the registered ones, the curated ones, and names of Azure ML v1 with the nearest of these.

    A spec stands on one by `environment: {registered: NAME:VERSION}` or `{curated: NAME}`, and adds packages by `pip:
    […]` and `conda: […]` beside it.
    """
    from packager.steps.workspace_data import environment

    found = open_workspace(workspace, reporter).environments.list(name, tags=tags, latest=latest)
    if output_format == "json":
        common.emit_json([environment(each) for each in found])
        return
    versions = [each.registered for each in found if each.registered is not None]
    for line in table([(each.id, each.created, _tags(each.tags), each.description) for each in versions]):
        common.emit(line)
    width = max((len(each.name) for each in found if each.kind == "curated"), default=0)
    for each in found:
        if each.curated is None:
            continue
        if each.kind == "v1":
            common.emit(f"{each.name}  as {each.curated.name}")
            continue
        common.emit(f"{each.name:<{width}}  Python {each.curated.python}  {_locked(each.curated)}")
        common.emit(wrapped(each.curated.description, indent=" " * (width + 2)))
    reporter.step("packager environment show NAME says more" if found else "there is no such environment")


def _tags(tags: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in tags.items())


def _locked(curated: Curated) -> str:
    if not curated.platforms:
        return "not locked: solved by `packager lock`"
    return "locked for " + "; ".join(f"{name} ({', '.join(each)})" for name, each in curated.platforms.items())


@command.command("show")
@click.argument("environment", required=False, metavar="[NAME[:VERSION]]", shell_complete=complete.environments)
@click.option("-n", "--name", metavar="NAME", shell_complete=complete.environments, help="Its name.")
@click.option("-v", "--version", type=int, metavar="N", help="Its version (default: the latest).")
@of_workspace
@common.format_option
@common.standard_options_without_v
def show_command(
    environment: str | None,
    name: str | None,
    version: int | None,
    workspace: str | None,
    output_format: str,
    reporter: common.Reporter,
) -> None:
    """Show an environment: its file, its locked packages, and how a spec uses it."""
    opened = open_workspace(workspace, reporter)
    found = opened.environments.get(one_of(environment, None, name, version))
    if output_format == "json":
        common.emit_json(_details(found))
    elif found.curated is not None:
        _show_curated(found.curated)
        reporter.detail(f"Python {found.curated.python}")
    elif found.registered is not None:
        for line in version_lines(found.registered, opened.environments.uses(found.registered)):
            common.emit(line)
        common.emit(f"\n{found.text.rstrip()}")
        common.emit(f"\n# in packager.yaml\nenvironment: {{registered: {found.registered.id}}}")


def _details(found: ListedEnvironment) -> dict[str, Any]:
    from packager.steps.environment import locked_packages
    from packager.steps.workspace_data import environment, registered_files

    curated = found.curated
    packages = {
        target: [
            {"name": each.name, "version": each.version, "platforms": list(each.platforms)}
            for each in locked_packages(curated, target)
        ]
        for target in (curated.platforms if curated is not None else ())
        if curated is not None
    }
    return {
        **environment(found),
        "remarks": list(curated.remarks) if curated is not None else [],
        "environment": found.text,
        "packages": packages,
        "files": registered_files(found.registered),
    }


def _show_curated(curated: Curated) -> None:
    from packager.steps.environment import locked_packages

    locked = {target: locked_packages(curated, target) for target in curated.platforms}
    common.emit(curated.text.rstrip())
    for target, found in locked.items():
        common.emit(f"\n# locked for {target}: {', '.join(curated.platforms[target])}")
        for each in found:
            common.emit(f"{each.name}=={each.version}" + (f"  ({', '.join(each.platforms)})" if each.platforms else ""))
    if not locked:
        common.emit("\n# not locked: solved by `packager lock`")
    common.emit(f"\n# in packager.yaml\nenvironment: {{curated: {curated.name}, pip: [your-package==1.2]}}")


# --- diff -------------------------------------------------------------------------------------------------------------


@command.command("diff")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("--exit-code", "exit_code", is_flag=True, help="Exit with 1 when anything moved.")
@common.format_option
@common.standard_options
def diff_command(old: str, new: str, exit_code: bool, output_format: str, reporter: common.Reporter) -> None:
    """Say which packages moved between two locks.

    OLD and NEW are each a folder with a packager.lock, a packager.lock, a *.conda-lock.yml or a *.requirements.txt; or
    one of these in git, as REV:PATH (`HEAD:.`, `main:packager.lock`).
    """
    import msgspec

    from packager.steps.environment import compare_locks

    found = compare_locks(old, new)
    if output_format == "json":
        common.emit_json([msgspec.to_builtins(each) for each in found])
    else:
        for line in _lines(found):
            common.emit(line)
    if not found:
        reporter.step("nothing moved")
    elif exit_code:
        raise click.exceptions.Exit(1)


def _lines(found: tuple[TargetDifference, ...]) -> list[str]:
    lines = []
    for each in found:
        lines.append(f"{each.target}:" if each.status == "changed" else f"{each.target} ({each.status}):")
        managers = {move.manager for move in each.moves}
        lines += [f"  {_move(move, named='conda' in managers)}" for move in each.moves]
    return lines


def _move(move: Move, *, named: bool) -> str:
    label = f"{move.manager:<5} " if named else ""
    if move.before is None:
        return f"{label}+ {move.name} {move.after}"
    if move.after is None:
        return f"{label}- {move.name} {move.before}"
    if move.before == move.after:
        return f"{label}  {move.name} {move.after} (other files)"
    return f"{label}  {move.name} {move.before} -> {move.after}"
