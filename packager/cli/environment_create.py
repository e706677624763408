"""`packager environment create` and `packager environment run`: the locked environment on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from packager.cli import common

if TYPE_CHECKING:
    from packager.environments.create import Machine
    from packager.environments.wanted import Wanted


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
    from packager.environments.create import create

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
    from packager.environments.create import create, is_complete
    from packager.environments.kept import PREFIXES, hold, used
    from packager.environments.wanted import environment_of, require_program

    wanted, here = _wanted(file, target, None)
    if prefix is None:
        prefix = here.cache / PREFIXES / wanted.key
        # `store gc` leaves it alone until the program, and all that inherit this from it, have ended.
        os.set_inheritable(hold(prefix), True)
    if not is_complete(prefix, wanted):
        create(wanted, prefix, here, say=reporter.step)
    used([prefix])
    environ = environment_of(wanted, prefix, here.environ)
    program = require_program(words[0], environ)
    sys.stdout.flush()
    sys.stderr.flush()
    # In our place: signals, terminal and exit code are then the program's own.
    os.execve(program, list(words), environ)


def _wanted(file: Path, target: str | None, platform: str | None) -> tuple[Wanted, Machine]:
    from packager.environments.create import Machine
    from packager.environments.declaration import read_environment
    from packager.environments.files import read_conda, read_locked
    from packager.environments.status import require_fresh
    from packager.environments.wanted import make_wanted, native_platform
    from packager.pipeline import machine_channel_mirrors
    from packager.spec.load import load_spec
    from packager.store import default_root

    spec_file = load_spec(file)
    name = common.one_target(spec_file, target)
    environment = read_environment(spec_file.for_target(name))
    require_fresh(spec_file, name, environment=environment)
    locked, packages, _ = read_locked(spec_file, name)
    conda, _ = read_conda(spec_file, locked)
    chosen = native_platform(locked, name, platform)
    wanted = make_wanted(locked, name, chosen, conda, packages, environment.variables)
    mirrors = {**spec_file.spec.conda.channel_mirrors, **machine_channel_mirrors()}
    cache = default_root().parent
    return wanted, Machine(root=spec_file.root, cache=cache, environ=dict(os.environ), mirrors=mirrors)
