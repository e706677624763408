"""`packager diff`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from packager.cli.common import (
    Reporter,
    count,
    emit,
    emit_json,
    format_option,
    human_size,
    insecure_option,
    platform_option,
    spec_workspace_option,
    standard_options,
    target_option,
)

if TYPE_CHECKING:
    from packager.steps.diff import Difference, File


@click.command("diff")
@click.argument("old", metavar="IMAGE|SPEC|LOCK")
@click.argument("new", metavar="IMAGE|SPEC|LOCK")
@target_option
@platform_option
@click.option("--files", "all_files", is_flag=True, help="Name the files of packages, too.")
@click.option("--exit-code", "exit_code", is_flag=True, help="Exit with 1 when anything differs.")
@insecure_option
@spec_workspace_option
@format_option
@standard_options
def command(
    old: str,
    new: str,
    target: str | None,
    platform: str | None,
    all_files: bool,
    exit_code: bool,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Say what differs between two of images, specs and locks: packages, files, configuration and sizes.

    An image is a name in the engine or at a registry, oci:DIR, or a file, as for `packager inspect`; a spec is a YAML
    file or its folder; a lock is a packager.lock, *.conda-lock.yml or *.requirements.txt, or one of these in git as
    REV:PATH. What only one side can tell of is not compared: a lock has packages alone, and a spec says nothing of its
    base. No engine is needed. Layers that two images share are not looked into.
    """
    import msgspec

    from packager.steps.diff import diff

    found = diff(old, new, target=target, platform=platform, all_files=all_files, reporter=reporter)
    if output_format == "json":
        emit_json(msgspec.to_builtins(found))
    else:
        for line in _lines(found):
            emit(line)
    if not found:
        reporter.step(f"nothing differs in {', '.join(found.compared)}")
    elif exit_code:
        raise click.exceptions.Exit(1)


def _lines(found: Difference) -> Iterator[str]:
    if found.packages:
        yield "packages:"
    conda = any(each.name.startswith("conda ") for each in found.packages)
    for each in found.packages:
        name = each.name if conda else each.name.partition(" ")[2]
        yield _moved(name, each.before, each.after, " ")
    if found.files or found.package_files:
        yield "files:"
    for file in found.files:
        yield _file(file.path, file.before, file.after)
    if found.package_files:
        yield f"    {count(found.package_files, 'file')} of packages (--files names them)"
    if found.config:
        yield "configuration:"
    for each in found.config:
        yield _moved(each.name, each.before, each.after, ": ")
    if found.sizes:
        yield "sizes:"
    for size in found.sizes:
        yield _moved(size.layer, *_shown(size.before, size.after), ": ")


def _moved(name: str, before: str | None, after: str | None, between: str) -> str:
    if before is None:
        return f"  + {name}{between}{after}"
    if after is None:
        return f"  - {name}{between}{before}"
    return f"    {name}{between}{before} -> {after}"


def _shown(before: int | None, after: int | None) -> tuple[str | None, str | None]:
    """Return two sizes for people, in bytes where that alone tells them apart."""
    texts = tuple(None if each is None else human_size(each) for each in (before, after))
    if texts[0] == texts[1] and before != after:
        return f"{before} B", f"{after} B"
    return texts[0], texts[1]


def _file(path: str, before: File | None, after: File | None) -> str:
    if before is None or after is None:
        there = before or after
        assert there is not None
        return f"  {'+' if before is None else '-'} {path}  {human_size(there.size)}"
    shown = dict.fromkeys(map(str, _shown(before.size, after.size)))
    what = ["other content"] if before.content != after.content and before.size == after.size else []
    what += [f"permissions {before.mode} -> {after.mode}"] if before.mode != after.mode else []
    return f"    {path}  {', '.join([' -> '.join(shown), *what])}"
