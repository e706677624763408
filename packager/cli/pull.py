"""`packager pull`."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli.common import Reporter, emit, emit_json, format_option, human_size, standard_options


@click.command("pull")
@click.argument("reference", metavar="REF")
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

    from packager.pipeline import machine_mirrors
    from packager.reference import Reference
    from packager.registry.pull import pull_image, write_layout
    from packager.storage.content import ContentStore

    content = ContentStore()
    pulled = pull_image(Reference.parse(reference), content, machine_mirrors(), platform, reporter.step)
    write_layout(pulled, content, output, force=force)
    if "docker" in pulled.top.media_type:
        # Converted, it would be an image with another digest.
        reporter.warn("the image has Docker's media types; skopeo and podman read only OCI's from a layout")
    reporter.step(f"{output}: {len(pulled.blobs)} blobs, {human_size(pulled.size)}")
    if output_format == "json":
        emit_json({**msgspec.to_builtins(pulled), "output": str(output)})
    else:
        emit(pulled.top.digest)
