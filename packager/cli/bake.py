"""`packager bake`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli import complete
from packager.cli.common import (
    Reporter,
    base_option,
    emit,
    emit_json,
    format_option,
    insecure_option,
    pairs,
    spec_workspace_option,
    standard_options,
)

if TYPE_CHECKING:
    from packager.handoff.bake import Baked


@click.command("bake")
@click.argument("specs", nargs=-1, type=click.Path(path_type=Path), metavar="[SPEC]...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("docker-bake.json"),
    show_default=True,
    metavar="FILE",
    help="The file; its build contexts are in a folder of its name beside it.",
)
@click.option(
    "--target",
    metavar="NAME",
    shell_complete=complete.targets,
    help="This target of every spec that has it (default: all).",
)
@click.option("--platform", metavar="OS/ARCH,…", help="These platforms of every target (default: all that it has).")
@base_option
@insecure_option
@spec_workspace_option
@click.option("--push", is_flag=True, help="The file pushes every image to the registry of its references.")
@click.option("--no-cache", is_flag=True, help="The file builds every step anew.")
@click.option("--pull", is_flag=True, help="The file asks the registry for the bases, even where the builder has them.")
@click.option("--secret", "secrets", multiple=True, metavar="id=ID[,src=FILE|,env=NAME]", help="Secret for RUN steps.")
@click.option("--build-arg", "build_args", multiple=True, metavar="NAME=VALUE", help="Build argument (repeatable).")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Label (repeatable).")
@click.option("--force", is_flag=True, help="Replace saved contexts that were changed by hand, and a file of others.")
@format_option
@standard_options
def command(
    specs: tuple[Path, ...], output: Path, base: str | None, output_format: str, reporter: Reporter, **options: Any
) -> None:
    """Write a docker-bake.json that builds every target of every SPEC, for `docker buildx bake`.

    SPEC is a spec or its folder (default: packager.yaml here or above). The file's groups are `default`, one for each
    package and one for each target. Environments with the same lock, base and platform are built once. A target of
    several platforms gets one tag, an index of all of them, which wants a builder that can hold it. File and folder can
    be moved together; run buildx where they are.
    """
    from packager.spec.find import chosen_spec
    from packager.spec.load import load_spec
    from packager.steps.bake import bake

    baked = bake(
        [load_spec(path) for path in specs or (chosen_spec(None, None, reporter.step, reporter.warn),)],
        output,
        target=options["target"],
        platforms=options["platform"].split(",") if options["platform"] else None,
        base=base,
        push=options["push"],
        no_cache=options["no_cache"],
        pull=options["pull"],
        secrets=options["secrets"],
        build_args=pairs("--build-arg", options["build_args"]),
        labels=pairs("--label", options["labels"]),
        force=options["force"],
        reporter=reporter,
    )
    if output_format == "json":
        emit_json(_data(baked))
    else:
        emit(str(baked.path))


def _data(baked: Baked) -> dict[str, Any]:
    return {
        "path": str(baked.path),
        "images": [
            {
                "name": image.name,
                "package": image.package,
                "target": image.target,
                "platforms": [each.platform for each in image.platforms],
                "references": list(image.tags),
                "contexts": {
                    each.context: baked.contexts[image.platform_name(each.platform)] for each in image.platforms
                },
                "environments": sorted({each.environment for each in image.platforms if each.environment}),
            }
            for image in baked.images
        ],
    }
