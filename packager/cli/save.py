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
    planned_image,
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
    force: bool,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Write the build context: Dockerfile, locked requirements, layers, packager.json with every digest, HANDOFF.md.

    Prints its path. The same inputs give the same bytes, on any day, machine and folder. A folder that packager did not
    make is never overwritten. With several targets, DIR gets a folder for each.
    """
    from packager.errors import UsageError
    from packager.pipeline import build_context, in_dialect, require_entry_script, select_targets
    from packager.spec.load import load_spec
    from packager.storage.models import Store

    if (output is None) == (archive is None):
        raise UsageError("save needs one destination", remedy="-o DIR, or --archive FILE")
    spec_file = load_spec(file)
    names = select_targets(spec_file, target)
    if archive is not None and len(names) > 1:
        raise UsageError("an archive holds one target", remedy=f"choose one: --target {names[0]}")
    for finding in require_entry_script(spec_file):
        reporter.warn(str(finding))
    results = []
    for name in names:
        planned = planned_image(spec_file, name, platform, base, reporter, digest_model=Store().add)
        context = build_context(in_dialect(planned, dialect))
        if archive is not None:
            from packager.context.archive import archive as write_archive

            path = write_archive(context, spec_file.root, archive, Store(), force=force)
        else:
            from packager.context.save import save

            assert output is not None
            folder = output / name if len(names) > 1 else output
            path = save(context, spec_file.root, folder, Store(), force=force)
        size = sum(each.size for each in context.files)
        reporter.step(f"{name}: {count(len(context.files), 'file')}, {human_size(size)}, {context.digest}")
        results.append(
            {
                "target": name,
                "platform": planned.plan.platform,
                "dialect": dialect or planned.plan.dialect,
                "path": str(path),
                "digest": context.digest,
                "files": len(context.files),
                "size": size,
            }
        )
    if output_format == "json":
        emit_json(results)
    else:
        emit("\n".join(str(each["path"]) for each in results))
