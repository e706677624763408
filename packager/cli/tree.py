"""`packager tree`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli.common import (
    Reporter,
    count,
    emit,
    emit_json,
    file_option,
    format_option,
    human_size,
    insecure_option,
    platform_option,
    spec_workspace_option,
    standard_options,
    target_option,
)

if TYPE_CHECKING:
    from packager.steps.dependencies import Dependencies, Package

#: What stands for a package whose needs are shown above.
_AGAIN = " (above)"


@click.command("tree")
@file_option
@spec_workspace_option
@insecure_option
@target_option
@platform_option
@click.option("--depth", type=click.IntRange(min=0), metavar="N", help="Show so many levels below what is asked for.")
@click.option("--flat", is_flag=True, help="List the packages, the largest first, in place of a tree.")
@click.option(
    "--offline", is_flag=True, help="Fetch no package to look into it: its size and needs are not known then."
)
@format_option
@standard_options
def command(
    file: Path,
    target: str | None,
    platform: str | None,
    depth: int | None,
    flat: bool,
    offline: bool,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Show the locked packages as a tree: what is asked for, what that needs, and how large each is.

    Both managers are in it. Sizes are of the unpacked files. The largest stands first; beside what is asked for stands
    its size with all that it needs. What needs no second telling is marked `(above)`. Packages are looked into once on
    a machine, and fetched for it where uv's cache lacks them: without, size and needs are not known. `packager why
    PACKAGE` asks the other way round.
    """
    from packager.spec.load import load_spec
    from packager.steps.dependencies import tree

    found = tree(load_spec(file), target=target, platform=platform, offline=offline, reporter=reporter)
    if output_format == "json":
        emit_json([as_data(each) for each in found])
        return
    emit("\n\n".join("\n".join(_lines(each, depth, flat=flat)) for each in found))


def as_data(found: Dependencies) -> dict[str, Any]:
    """Return an environment as JSON data: its packages, the largest first, each with what it needs."""
    return {
        "target": found.target,
        "platform": found.platform,
        "size": found.size,
        "packages": [
            {
                "name": each.name,
                "version": each.version,
                "manager": each.manager,
                "size": each.size,
                "total_size": found.total(each.key),
                "license": each.license,
                "asked": each.asked or None,
                "needs": None
                if each.needs is None
                else [{"name": found.packages[need.key].name, "as": need.text} for need in each.needs],
            }
            for each in found.by_size()
        ],
    }


def _lines(found: Dependencies, depth: int | None, *, flat: bool) -> Iterator[str]:
    unknown = f", {count(len(found.unknown), 'package')} of unknown size" if found.unknown else ""
    number = count(len(found.packages), "package")
    yield f"target {found.target}, {found.platform}: {number}, {human_size(found.size)}{unknown}"
    if flat:
        width = max((len(each.title) for each in found.packages.values()), default=0)
        for each in found.by_size():
            manager = "  conda" if each.manager == "conda" else ""
            yield f"{_size(each):>9}  {each.title:<{width}}  {each.license}{manager}".rstrip()
        return
    seen: set[str] = set()
    for root in found.roots():
        total = found.total(root.key)
        more = f", {human_size(total)} with what it needs" if total > (root.size or 0) else ""
        asked = "" if root.asked else "  (nobody is known to need it)"
        yield f"{_named(root)}  {_size(root)}{more}{asked}{_again(root, seen)}"
        if root.key not in seen:
            yield from _below(found, root, depth, "", seen)


def _below(found: Dependencies, package: Package, depth: int | None, indent: str, seen: set[str]) -> Iterator[str]:
    seen.add(package.key)
    if depth == 0:
        return
    keys = {need.key for need in package.needs or ()}
    needs = [found.packages[key] for key in sorted(keys, key=lambda key: (-found.total(key), key))]
    for number, each in enumerate(needs, 1):
        last = number == len(needs)
        again = _again(each, seen)
        yield f"{indent}{'└── ' if last else '├── '}{_named(each)}  {_size(each)}{again}"
        if each.key not in seen:
            deeper = None if depth is None else depth - 1
            yield from _below(found, each, deeper, f"{indent}{'    ' if last else '│   '}", seen)


def _again(package: Package, seen: set[str]) -> str:
    return _AGAIN if package.key in seen and package.needs else ""


def _named(package: Package) -> str:
    return f"{package.title} (conda)" if package.manager == "conda" else package.title


def _size(package: Package) -> str:
    return "size unknown" if package.size is None else human_size(package.size)
