"""`packager config`."""

from __future__ import annotations

import os

import click

from packager.cli.common import Reporter, emit, emit_json, format_option


@click.command("config")
@format_option
def command(output_format: str) -> None:
    """Show your defaults for this machine: each value, and where it comes from.

    They are in ~/.config/packager/config.yaml ($XDG_CONFIG_HOME), as `registry: registry.example.com/team`. A variable
    goes before the file, an option before both; for base, compression and the repository the spec goes before the file
    and the variable. They are for what is built and run here: a lock, a saved context and a bake file follow from the
    spec alone. `packager schema config` describes each.
    """
    from packager.steps.settings import settings_file, show_settings

    shown = show_settings(os.environ)
    if output_format == "json":
        import msgspec

        emit_json([msgspec.to_builtins(each) for each in shown])
        return
    width = max(len(each.name) for each in shown)
    for each in shown:
        value = each.value
        if isinstance(value, dict):
            value = ", ".join(f"{name}={host}" for name, host in value.items())
        text = "-" if value in (None, "") else str(value)
        emit(f"{each.name:<{width}}  {text}  ({each.origin}; variable {each.variable})")
    path = settings_file(os.environ)
    # Not a verb's usual reporter: it would set the file's mirrors before they are shown.
    Reporter().step(f"file: {path}{'' if path.exists() else ' (not there)'}")
