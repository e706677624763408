"""`packager build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli.common import (
    Reporter,
    emit,
    emit_json,
    format_option,
    image_options,
    load_spec,
    no_test_option,
    pairs,
    standard_options,
    user_settings,
)

if TYPE_CHECKING:
    from packager.builders.builder import BuildWish, BuiltImage
    from packager.spec.load import SpecFile


@click.command("build")
@image_options
@click.option(
    "-t", "--tag", "tags", multiple=True, metavar="REF", help="Image reference instead of the spec's (repeatable)."
)
@click.option("--push", is_flag=True, help="Push every reference after the build.")
@no_test_option
@click.option("--no-check", is_flag=True, help="Push although `packager check` has errors.")
@click.option("--load", is_flag=True, help="Load the image into the engine (the default without --push and -o).")
@click.option("--no-cache", is_flag=True, help="Build every step anew.")
@click.option("--pull", is_flag=True, help="Ask the registry for the base, even if the engine has it.")
@click.option("--secret", "secrets", multiple=True, metavar="id=ID[,src=FILE|,env=NAME]", help="Secret for RUN steps.")
@click.option("--build-arg", "build_args", multiple=True, metavar="NAME=VALUE", help="Build argument (repeatable).")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Label (repeatable).")
@click.option("--cache-from", multiple=True, metavar="CACHE", help="As docker buildx build.")
@click.option("--cache-to", multiple=True, metavar="CACHE", help="As docker buildx build.")
@click.option("--network", metavar="default|host|none", help="Network of the build's steps, as docker buildx build.")
@click.option(
    "--builder",
    metavar="auto|oci|engine|NAME",
    help="oci needs no engine; engine is BuildKit; NAME is a buildx builder (default: yours, else auto).",
)
@click.option(
    "--compression",
    type=click.Choice(["gzip", "zstd", "none"]),
    help="Of the layers that the builder oci writes. Default: the spec's, which is gzip where it names none.",
)
@click.option(
    "--compile/--no-compile",
    "compile",
    default=None,
    help="Byte-compile the environment, or not, whatever the spec says (`compile`).",
)
@click.option(
    "--allow-missing",
    multiple=True,
    metavar="LIB",
    help="Build though this library, such as libGL.so.1, is in neither the base nor the environment (repeatable).",
)
@click.option("--verify", metavar="REF", help="Build nothing: say whether REF is exactly what these inputs give.")
@click.option("--timings", is_flag=True, help="Builder oci: say how long each step took.")
@click.option(
    "--metadata-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write BuildKit's metadata (JSON); that of several images by target.",
)
@click.option("--iidfile", type=click.Path(path_type=Path), metavar="FILE", help="Write the image's id.")
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="DIR|FILE.tar|type=…,dest=…",
    help="Where to write: an OCI layout in a folder, or as a tar; type=docker for `docker load`; with BuildKit "
    "its other types, too.",
)
@format_option
@standard_options
def command(
    file: Path,
    target: str | None,
    platform: str | None,
    verify: str | None,
    timings: bool,
    no_test: bool,
    no_check: bool,
    labels: tuple[str, ...],
    build_args: tuple[str, ...],
    output_format: str,
    reporter: Reporter,
    **wishes: Any,
) -> None:
    """Build the image of every target and print its references with digest.

    Where nothing has to run inside a container, no engine is needed: packager writes the image itself, for any
    platform. Else, and with `--builder engine`, BuildKit builds it (`docker buildx build`). The digest is that of the
    manifest, or with BuildKit of the image's configuration where it was only loaded. --platform takes several, with
    commas: they get one tag, an index, as do several platforms of the spec with --push. BuildKit builds several images
    at once (`docker buildx bake`), and an environment that they share once.
    """
    from packager.steps.build import BuildWish, build

    wishes["builder"] = wishes["builder"] or user_settings().builder
    pairs("--build-arg", build_args)
    wish = BuildWish(
        target=target,
        platforms=tuple(platform.split(",")) if platform else (),
        test=not no_test,
        check=not no_check,
        labels=pairs("--label", labels),
        build_args=build_args,
        progress=reporter.progress,
        **wishes,
    )
    spec_file = load_spec(file)
    if verify is not None:
        _verify(spec_file, verify, wish, reporter, output_format, timings)
        return
    built = build(spec_file, wish, reporter=reporter)
    for image in built if timings else ():
        for each, seconds in zip(image.platforms, image.timings, strict=False):
            _show_timings(each, seconds, reporter)
    if output_format == "json":
        emit_json([_data(image) for image in built])
    else:
        for line in (line for image in built for line in image.pinned):
            emit(line)


def _data(image: BuiltImage) -> dict[str, Any]:
    data: dict[str, Any] = {
        "target": image.target,
        "builder": image.builder,
        "platforms": list(image.platforms),
        "manifests": image.manifests,
        "digest": image.digest,
        "id": image.id,
        "images": list(image.pinned),
        "pushed": image.pushed,
    }
    if image.builder == "oci":
        data |= {"timings": list(image.timings), "loaded": image.loaded, "bytes_sent": image.bytes_sent}
    return data


def _verify(
    spec_file: SpecFile, reference: str, wish: BuildWish, reporter: Reporter, output_format: str, timings: bool
) -> None:
    from packager.errors import ContextError
    from packager.steps.build import compare

    found = compare(spec_file, reference, wish, reporter=reporter)
    if timings:
        _show_timings(found.platform, found.timings, reporter)
    if output_format == "json":
        shown = {"target": found.target, "builder": "oci", "platforms": [found.platform], "timings": [found.timings]}
        more = {"digest": found.digest, "reference": found.reference, "differences": list(found.differences)}
        emit_json(shown | more)
    else:
        same = f"{reference} is exactly what these inputs give: {found.digest}"
        emit("\n".join(found.differences) or same)
    if found.differences:
        raise ContextError(f"{reference} is not what these inputs give")


def _show_timings(platform: str, seconds: dict[str, float], reporter: Reporter) -> None:
    steps = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())
    reporter.step(f"{platform}: {steps}")
