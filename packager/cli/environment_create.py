"""`packager environment create` and `packager environment run`: the locked environment on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from packager.cli import common

if TYPE_CHECKING:
    from packager.laying.create import Machine
    from packager.laying.programs import Wanted


@click.command("create")
@click.argument("prefix", metavar="PREFIX", type=click.Path(path_type=Path))
@common.file_option
@common.target_option
@common.platform_option
@click.option("--force", is_flag=True, help="Replace an environment that packager made before.")
@common.standard_options
def create_command(
    prefix: Path, file: Path, target: str | None, platform: str | None, force: bool, reporter: common.Reporter
) -> None:
    """Lay the locked environment down in the folder PREFIX, without Docker, and print its path.

    conda packages are linked as conda does it, their link scripts are run; pip's half is installed by uv. An
    environment of pip alone needs its Python on this machine. The folder is new or empty, or of packager's making.
    """
    from packager.laying.create import create

    wanted, here = _wanted(file, target, platform)
    if not create(wanted, prefix, here, force=force, say=reporter.step):
        reporter.step("it is there already, as locked; --force makes it anew")
    common.emit(str(prefix))


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@common.file_option
@common.target_option
@click.option(
    "-p",
    "--prefix",
    type=click.Path(path_type=Path),
    metavar="PREFIX",
    help="Folder of the environment (default: one for each lock, in packager's cache).",
)
@common.standard_options
@click.argument("words", metavar="-- CMD [ARG]...", nargs=-1, required=True, type=click.UNPROCESSED)
def run_command(
    file: Path, target: str | None, prefix: Path | None, words: tuple[str, ...], reporter: common.Reporter
) -> None:
    """Run a program in the locked environment on this machine; its exit code is ours.

    The environment is made where it is not there yet. PATH, CONDA_PREFIX or VIRTUAL_ENV, and the environment's own
    variables are set.
    """
    from packager.laying.create import create, is_complete
    from packager.laying.native import kept
    from packager.laying.programs import environment_of, require_program

    wanted, here = _wanted(file, target, None)
    if prefix is None:
        prefix, held = kept(wanted, here, say=reporter.step)
        # `store gc` leaves it alone until the program, and all that inherit this from it, have ended.
        os.set_inheritable(held, True)
    elif not is_complete(prefix, wanted):
        create(wanted, prefix, here, say=reporter.step)
    environ = environment_of(wanted, prefix, here.environ)
    program = require_program(words[0], environ)
    sys.stdout.flush()
    sys.stderr.flush()
    # In our place: signals, terminal and exit code are then the program's own.
    os.execve(program, list(words), environ)


def _wanted(file: Path, target: str | None, platform: str | None) -> tuple[Wanted, Machine]:
    from packager.laying.native import wanted_here
    from packager.spec.load import load_spec

    spec_file = load_spec(file)
    return wanted_here(spec_file, common.one_target(spec_file, target), platform)
