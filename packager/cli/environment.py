"""`packager environment`: what lists and compares; `environment_create` has what lays an environment down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from packager.cli import common, complete
from packager.cli.environment_create import create_command, run_command
from packager.cli.terminal import wrapped

if TYPE_CHECKING:
    from packager.environments.declare.curated import Curated
    from packager.environments.lock import Move
    from packager.environments.locks.difference import TargetDifference


@click.group("environment")
def command() -> None:
    """List curated environments, compare locks, and lay a locked environment down on this machine."""


command.add_command(create_command)
command.add_command(run_command)


# --- list and show ----------------------------------------------------------------------------------------------------


@command.command("list")
@common.format_option
@common.standard_options
def list_command(output_format: str, reporter: common.Reporter) -> None:
    """List the curated environments: name, Python, the platforms that each target is locked for.

    A spec stands on one by `environment: {curated: NAME}`, and adds packages by `pip: […]` and `conda: […]` beside it.
    """
    from packager.steps.environment import curated_names, load_curated

    found = [load_curated(name) for name in curated_names()]
    if output_format == "json":
        common.emit_json([_summary(each) for each in found])
        return
    width = max(len(each.name) for each in found)
    for each in found:
        common.emit(f"{each.name:<{width}}  Python {each.python}  {_locked(each)}")
        common.emit(wrapped(each.description, indent=" " * (width + 2)))
    reporter.step("packager environment show NAME says more")


def _locked(curated: Curated) -> str:
    if not curated.platforms:
        return "not locked: solved by `packager lock`"
    return "locked for " + "; ".join(f"{name} ({', '.join(each)})" for name, each in curated.platforms.items())


def _summary(curated: Curated) -> dict[str, Any]:
    return {
        "name": curated.name,
        "description": curated.description,
        "python": curated.python,
        "locked": {name: list(platforms) for name, platforms in curated.platforms.items()},
    }


@command.command("show")
@click.argument("name", metavar="NAME", shell_complete=complete.curated)
@common.format_option
@common.standard_options
def show_command(name: str, output_format: str, reporter: common.Reporter) -> None:
    """Show a curated environment: its file, its locked packages, and how a spec uses it."""
    from packager.steps.environment import load_curated, locked_packages

    curated = load_curated(name)
    locked = {target: locked_packages(curated, target) for target in curated.platforms}
    if output_format == "json":
        packages = {
            target: [{"name": each.name, "version": each.version, "platforms": list(each.platforms)} for each in found]
            for target, found in locked.items()
        }
        details = {"remarks": list(curated.remarks), "environment": curated.text, "packages": packages}
        common.emit_json({**_summary(curated), **details})
        return
    common.emit(curated.text.rstrip())
    for target, found in locked.items():
        common.emit(f"\n# locked for {target}: {', '.join(curated.platforms[target])}")
        for each in found:
            common.emit(f"{each.name}=={each.version}" + (f"  ({', '.join(each.platforms)})" if each.platforms else ""))
    if not locked:
        common.emit("\n# not locked: solved by `packager lock`")
    common.emit(f"\n# in packager.yaml\nenvironment: {{curated: {name}, pip: [your-package==1.2]}}")
    reporter.detail(f"Python {curated.python}")


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
