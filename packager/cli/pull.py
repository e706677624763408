"""`packager pull`."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli import complete
from packager.cli.common import Reporter, emit, emit_json, format_option, insecure_option, standard_options


@click.command("pull")
@click.argument("reference", metavar="REF", shell_complete=complete.references)
@click.option(
    "-o",
    "--output",
    "output",
    metavar="DIR|FILE.tar",
    required=True,
    type=click.Path(path_type=Path),
    help="Where to write: an OCI layout in a new folder, or as a tar.",
)
@click.option("--platform", "platform", metavar="OS/ARCH", help="One platform of the image (default: all there are).")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@insecure_option
@format_option
@standard_options
def command(
    reference: str, output: Path, platform: str | None, force: bool, output_format: str, reporter: Reporter
) -> None:
    """Pull an image from its registry into an OCI layout, without an engine.

    The image stays byte for byte what the registry has. Prints its digest. `docker login` and PACKAGER_REGISTRY_MIRROR
    apply; what was pulled before is not pulled again.
    """
    import msgspec

    from packager.steps.pull import pull

    pulled = pull(reference, output, platform=platform, force=force, reporter=reporter)
    if output_format == "json":
        emit_json({**msgspec.to_builtins(pulled), "output": str(output)})
    else:
        emit(pulled.top.digest)
