"""`packager export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from packager.cli import common, complete

if TYPE_CHECKING:
    pass

FORMATS = ("conda-lock", "explicit", "requirements", "pylock", "environment-yml")


@click.command("export")
@common.spec_argument
@common.file_option
@common.spec_workspace_option
@common.insecure_option
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="Which format.")
@click.option(
    "--target",
    "target",
    metavar="NAME",
    shell_complete=complete.targets,
    help="One target of the spec (default: its only one).",
)
@click.option("--platform", "platform", metavar="OS/ARCH", help="One platform of the target (default: its first).")
@click.option("-o", "--output", "output", type=click.Path(path_type=Path), help="Write it to this file.")
@click.option("--offline", is_flag=True, help="For pylock: ask no index; take what uv's cache has.")
@common.standard_options
def command(
    file: Path,
    form: str,
    target: str | None,
    platform: str | None,
    output: Path | None,
    offline: bool,
    reporter: common.Reporter,
) -> None:
    """Print the lock in a format of other tools.

    \b
    conda-lock       conda's half, all platforms: conda-lock install, micromamba create -f
    explicit         conda's half with sha256, pip's as comments: conda create --file (24.9 or newer), micromamba
    requirements     pip's half with sha256: pip install --require-hashes --no-deps -r, uv pip sync
    pylock           pip's half as pylock.toml (PEP 751), with the places of this machine's index, which is asked
    environment-yml  both halves as exact versions, without digests: conda env create -f

    The lock must fit the spec; nothing is solved.
    """  # noqa: D301 - click reads the backspace character, not the two letters
    from packager.spec.load import load_spec
    from packager.steps.export import export, write_text
    from packager.steps.selection import one_target
    from packager.units import visible

    spec_file = load_spec(file)
    text = export(spec_file, form, one_target(spec_file, target), platform, offline=offline)
    if output is None:
        click.echo(visible(text), nl=False)
        return
    write_text(output, text)
    reporter.detail(f"{len(text.splitlines())} lines")
    common.emit(str(output))
