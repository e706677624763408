"""`packager schema`."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli import complete
from packager.cli.common import emit, emit_json


@click.command("schema")
@click.argument("name", metavar="[NAME]", default="spec", shell_complete=complete.schemas)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it to a file."
)
def command(name: str, output: Path | None) -> None:
    """Print a JSON Schema (2020-12), for editors and for validation elsewhere.

    NAME is `spec` (the default: packager.yaml), `config` (your defaults), or the verb whose JSON it describes: `build`,
    `service-show`; a wrong one shows all. `packager schema -o packager.schema.json`
    renews the file that `packager init` writes beside a spec, and that the spec's first line names for editors.
    """
    from packager.spec.schema import schema_text
    from packager.steps.schema import schema

    found = schema(name)
    if output is None:
        emit_json(found)
        return
    from packager.errors import UsageError

    try:
        output.write_text(schema_text(found), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}", remedy="name a file in a folder") from None
    emit(str(output))
