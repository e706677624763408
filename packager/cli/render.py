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
    from packager.spec.load import load_spec
    from packager.steps.plan import find_base, plan_image
    from packager.steps.save import render
    from packager.steps.selection import one_target

    spec_file = load_spec(file)
    name = one_target(spec_file, target)
    planned = plan_image(spec_file, name, platform, base=find_base(spec_file, base, reporter))
    emit(render(planned, dialect=dialect).removesuffix("\n"))
