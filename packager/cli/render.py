"""`packager render`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from packager.cli.common import (
    Reporter,
    dialect_option,
    emit,
    image_options,
    one_target,
    planned_image,
    standard_options,
)

if TYPE_CHECKING:
    from packager.plan.plan import Dialect


@click.command("render")
@image_options
@dialect_option
@standard_options
def command(
    file: Path,
    target: str | None,
    platform: str | None,
    base: str | None,
    dialect: Dialect | None,
    reporter: Reporter,
) -> None:
    """Print the Dockerfile that `save` and `build` would use."""
    from packager.builders.base_option import require_no_archive
    from packager.pipeline import dockerfile, in_dialect
    from packager.spec.load import load_spec

    spec_file = load_spec(file)
    planned = planned_image(spec_file, one_target(spec_file, target), platform, base, reporter)
    require_no_archive(planned.plan.base)
    emit(dockerfile(in_dialect(planned, dialect)).removesuffix("\n"))
