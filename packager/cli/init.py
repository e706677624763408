"""`packager init`."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli.common import Reporter, count, emit, standard_options


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@click.option(
    "--entry-script", metavar="FILE", help="The entry script, relative to FOLDER (default: found by its syntax)."
)
@click.option("--force", is_flag=True, help="Replace an existing packager.yaml.")
@standard_options
def command(folder: Path, entry_script: str | None, force: bool, reporter: Reporter) -> None:
    """Look at FOLDER (default: this one) without running anything in it, and write a commented packager.yaml."""
    from packager.spec.load import SCHEMA_NAME
    from packager.steps.init import init

    path, found = init(folder, entry_script=entry_script, force=force)
    spec_folder = "" if folder == Path() else f" -f {folder}"
    python = f"Python {found.python}" if found.python else f"Python of {found.environment or 'conda'}"
    if found.framework is not None:
        reporter.step(f"no entry script: {found.models[0]} is served as {found.framework}")
    else:
        reporter.step(f"entry script {found.entry_scripts[0]}, {count(len(found.models), 'model')}, {python}")
    for each in found.hints.read:
        reporter.step(f"read {each}")
    for note in found.notes:
        reporter.step(note)
    reporter.step(f"wrote {SCHEMA_NAME}, too, which editors read: commit it with the spec")
    reporter.step(f"next: packager lock{spec_folder}")
    emit(str(path))
