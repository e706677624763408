"""`packager push`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from packager.cli import complete
from packager.cli.common import (
    Reporter,
    base_option,
    build_option,
    build_wish,
    emit,
    emit_json,
    file_option,
    format_option,
    insecure_option,
    load_spec,
    no_test_option,
    platform_option,
    spec_workspace_option,
    standard_options,
    target_option,
    was_named,
)

if TYPE_CHECKING:
    from packager.spec.load import SpecFile


@click.command("push")
@click.argument("references", nargs=-1, metavar="[REF]...", shell_complete=complete.references)
@file_option
@spec_workspace_option
@target_option
@platform_option
@no_test_option
@build_option
@base_option
@click.option("--stale", is_flag=True, help="Push an image, too, that is not of the files as they are now.")
@insecure_option
@format_option
@standard_options
def command(
    references: tuple[str, ...],
    file: Path,
    target: str | None,
    platform: str | None,
    no_test: bool,
    build_first: bool,
    base: str | None,
    stale: bool,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Push images to their registries and print each reference with its digest.

    Without REF, the references of the spec are pushed, for all of its targets. The credentials are Docker's:
    `docker login` is all the set-up. What packager wrote is pushed as it was written; else the engine pushes, but for a
    registry of --insecure-registry. Images of a spec with tests are tested before the first is pushed. An image that is
    not of the spec's files as they are now is refused.
    """
    from packager.steps.push import push

    results = push(
        references,
        spec_file=_spec(file, references),
        target=target,
        platform=platform,
        test=not no_test,
        build=build_wish(build_first, base, target, platform),
        stale=stale,
        reporter=reporter,
    )
    if output_format == "json":
        emit_json(
            [
                {
                    "reference": each.reference,
                    "digest": each.digest,
                    "image": each.pinned,
                    "uploaded": each.uploaded,
                    "present": each.present,
                }
                for each in results
            ]
        )
    else:
        emit("\n".join(each.pinned for each in results))


def _spec(file: Path, references: tuple[str, ...]) -> SpecFile | None:
    """Return the spec; None where references are given, and there is none under the name that nobody chose."""
    if references and not was_named() and not file.exists():
        return None
    spec_file: SpecFile = load_spec(file)
    return spec_file
