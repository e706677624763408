"""`packager environment create` and `packager environment run`: the locked environment on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli import common


@click.command("create")
@click.argument("prefix", metavar="PREFIX", type=click.Path(path_type=Path))
@common.file_option
@common.spec_workspace_option
@common.insecure_option
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
    from packager.spec.load import load_spec
    from packager.steps.environment import create_environment

    if not create_environment(
        load_spec(file), prefix, target=target, platform=platform, force=force, reporter=reporter
    ):
        reporter.step("it is there already, as locked; --force makes it anew")
    common.emit(str(prefix))


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@common.file_option
@common.spec_workspace_option
@common.insecure_option
@common.target_option
@click.option(
    "--prefix",
    type=click.Path(path_type=Path),
    metavar="PREFIX",
    help="Folder of the environment (default: one for each lock, in packager's cache).",
)
@click.option("-p", "old_prefix", type=click.Path(path_type=Path), hidden=True)
@common.standard_options
@click.argument("words", metavar="-- CMD [ARG]...", nargs=-1, required=True, type=click.UNPROCESSED)
def run_command(
    file: Path,
    target: str | None,
    prefix: Path | None,
    old_prefix: Path | None,
    words: tuple[str, ...],
    reporter: common.Reporter,
) -> None:
    """Run a program in the locked environment on this machine; its exit code is ours.

    The environment is made where it is not there yet. PATH, CONDA_PREFIX or VIRTUAL_ENV, and the environment's own
    variables are set.
    """
    from packager.spec.load import load_spec
    from packager.steps.environment import run_in_environment

    if old_prefix is not None:
        reporter.warn("-p is --publish, and its use for --prefix will end: write --prefix")
    prefix = prefix or old_prefix
    run_in_environment(load_spec(file), words, target=target, prefix=prefix, reporter=reporter)
