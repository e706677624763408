"""`packager inspect`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from packager.cli import complete
from packager.cli.common import (
    Reporter,
    emit,
    emit_json,
    format_option,
    human_size,
    insecure_option,
    standard_options,
)

if TYPE_CHECKING:
    from packager.builders.inspect import FileView, ImageView, Inspected, LayerView


@click.command("inspect")
@click.argument("image", metavar="REF|oci:DIR|FILE", shell_complete=complete.references)
@click.option("--platform", "platform", metavar="OS/ARCH", help="One platform of the image (default: all there are).")
@click.option("--files", "files", is_flag=True, help="Say what is in each layer, too (pulls the layers).")
@click.option("--packages", is_flag=True, help="List its packages, the largest first (pulls the layers).")
@insecure_option
@format_option
@standard_options
def command(
    image: str, platform: str | None, files: bool, packages: bool, output_format: str, reporter: Reporter
) -> None:
    """Show platforms, configuration, labels and layers of an image; no engine is needed.

    A name is looked for in the engine, where one answers, and at its registry where the engine has none of that name;
    the answer says which of the two it is of. A name with a digest is asked of its registry. Or the image is in an OCI
    layout (oci:DIR, oci-archive:FILE) or a `docker save` archive (docker-archive:FILE); a folder or file is recognised
    by itself.
    """
    import msgspec

    from packager.steps.inspect import inspect

    found = inspect(image, platform=platform, files=files, packages=packages, reporter=reporter)
    if output_format == "json":
        emit_json(msgspec.to_builtins(found))
        return
    for line in _lines(found):
        emit(line)


_ORIGINS = {"engine": "the engine (NAME@sha256:… asks the registry)", "registry": "its registry"}


def _lines(found: Inspected) -> Iterator[str]:
    yield found.name
    if found.origin != "file":
        yield f"of          {_ORIGINS[found.origin]}"
    yield f"digest      {found.digest}" if found.digest else f"image id    {found.images[0].digest}"
    yield f"platforms   {', '.join(image.platform for image in found.images)}"
    for image in found.images:
        yield ""
        yield from _image(image, alone=image.digest == found.digest)


def _image(image: ImageView, *, alone: bool) -> Iterator[str]:
    from packager.steps.inspect import registered_in

    yield image.platform + ("" if alone else f"  {image.digest}")
    fields = {
        "created": image.created,
        "user": image.user,
        "folder": image.working_dir,
        "entry": " ".join(image.entrypoint),
        "command": " ".join(image.command),
        "ports": ", ".join(image.ports),
        "health": " ".join(image.health),
    }
    for name, value in fields.items():
        if value:
            yield f"  {name:<9} {_line(value)}"
    for line in registered_in(image):
        yield f"  model     {_line(line)}"
    for name, value in image.labels.items():
        yield f"  label     {_line(name)}={_line(value)}"
    yield f"  layers    {len(image.layers)}, {human_size(image.size)}"
    if parts := _parts(image):
        yield f"  parts     {', '.join(f'{name} {human_size(size)}' for name, size in parts)}"
    for layer in image.layers:
        yield from _layer(layer)
    if image.packages is not None:
        yield f"  packages  {len(image.packages)}"
    for package in image.packages or ():
        size = "" if package.size is None else human_size(package.size)
        conda = "  conda" if package.manager == "conda" else ""
        yield f"    {size:>9}  {_line(package.name)} {_line(package.version)}{conda}"


def _parts(image: ImageView) -> list[tuple[str, int]]:
    """Return base, environment, models and app with their bytes, largest first; nothing where layers do not say it."""
    names = {"environment of ": "environment", "model ": "models", "app ": "app", "packager's files ": "server"}
    found: dict[str, int] = {}
    for layer in image.layers:
        name = next((part for start, part in names.items() if layer.title.startswith(start)), "base")
        found[name] = found.get(name, 0) + layer.size
    return sorted(found.items(), key=lambda each: -each[1]) if "environment" in found else []


def _layer(layer: LayerView) -> Iterator[str]:
    packing = layer.media_type.rpartition("+")[2] if "+" in layer.media_type else "tar"
    yield f"    {layer.digest}  {human_size(layer.size):>9}  {packing}  {_line(layer.title)}"
    for file in layer.files or ():
        yield f"      {_file(file)}"


def _file(file: FileView) -> str:
    arrow = f" -> {file.link}" if file.link else ""
    return f"{file.mode:>4} {file.owner:>9} {file.size:>11} {_line(file.path + arrow)}"


def _line(text: str) -> str:
    """Return a text that others wrote as one line: what would move the cursor is shown as its escape."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
