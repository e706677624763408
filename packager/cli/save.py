"""`packager save`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from packager.cli.common import (
    Reporter,
    count,
    dialect_option,
    emit,
    emit_json,
    format_option,
    human_size,
    image_options,
    standard_options,
)

if TYPE_CHECKING:
    from packager.plan.plan import Dialect


@click.command("save")
@image_options
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Folder for the build context.")
@click.option(
    "--archive", type=click.Path(path_type=Path), metavar="FILE", help="Archive instead: .tar, .tar.gz or .tar.zst."
)
@click.option(
    "--for",
    "platforms",
    multiple=True,
    metavar="PLATFORM,…",
    help="Files of these platforms, too, with a chapter in HANDOFF.md: kubernetes, compose, aci, quadlet, iot-edge.",
)
@click.option("--force", is_flag=True, help="Replace a saved context that was changed by hand.")
@dialect_option
@format_option
@standard_options
def command(
    file: Path,
    output: Path | None,
    archive: Path | None,
    target: str | None,
    platform: str | None,
    base: str | None,
    dialect: Dialect | None,
    platforms: tuple[str, ...],
    force: bool,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Write the build context: Dockerfile, locked requirements, layers, packager.json with every digest, HANDOFF.md.

    Prints its path. The same inputs give the same bytes, on any day, machine and folder. A folder that packager did not
    make is never overwritten. With several targets, DIR gets a folder for each.
    """
    from packager.spec.load import load_spec
    from packager.steps.save import save_targets

    results = []
    for saved in save_targets(
        load_spec(file),
        output=output,
        archive=archive,
        target=target,
        platform=platform,
        base=base,
        dialect=dialect,
        force=force,
        platforms=[name.strip() for each in platforms for name in each.split(",")],
        reporter=reporter,
    ):
        reporter.step(f"{saved.target}: {count(saved.files, 'file')}, {human_size(saved.size)}, {saved.digest}")
        results.append(
            {
                "target": saved.target,
                "platform": saved.platform,
                "dialect": saved.dialect,
                "path": str(saved.path),
                "digest": saved.digest,
                "files": saved.files,
                "size": saved.size,
            }
        )
    if output_format == "json":
        emit_json(results)
    else:
        emit("\n".join(str(each["path"]) for each in results))
