"""`packager schema`."""

from __future__ import annotations

import click

from packager.cli.common import emit_json


@click.command("schema")
def command() -> None:
    """Print the JSON Schema (2020-12) of the spec, for editors and for validation elsewhere."""
    from packager.spec.schema import json_schema

    emit_json(json_schema())
