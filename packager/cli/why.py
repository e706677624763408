"""`packager why`."""

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


@click.command("why")
@click.argument("package", metavar="PACKAGE")
@file_option
@spec_workspace_option
@insecure_option
@target_option
@platform_option
@click.option("--offline", is_flag=True, help="Fetch no package to look into it: who needs it may not be known then.")
@format_option
@standard_options
def command(
    package: str,
    file: Path,
    target: str | None,
    platform: str | None,
    offline: bool,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Say why a package is in the locked environment: who asks for it, who needs it, and what would go with it.

    PACKAGE is a package's name, or that of its import (`sklearn`). Packages of pip and of conda are known.
    """
    from packager.spec.load import load_spec
    from packager.steps.dependencies import why

    spec_file = load_spec(file)
    found = why(spec_file, package, target=target, platform=platform, offline=offline, reporter=reporter)
    if output_format == "json":
        emit_json([_data(*each) for each in found])
        return
    emit("\n\n".join("\n".join(_lines(*each)) for each in found))


def _data(environment: Dependencies, package: Package) -> dict[str, Any]:
    freed = environment.freed(package.key)
    return {
        "target": environment.target,
        "platform": environment.platform,
        "name": package.name,
        "version": package.version,
        "manager": package.manager,
        "size": package.size,
        "asked": package.asked or None,
        "needed_by": [
            {"name": each.name, "version": each.version, "as": text}
            for each, text in environment.needed_by(package.key)
        ],
        "ways": [[each.name for each in way] for way in environment.ways(package.key)],
        "alone": {"size": sum(each.size or 0 for each in freed), "packages": [each.name for each in freed]},
    }


def _lines(environment: Dependencies, package: Package) -> Iterator[str]:
    size = "size unknown" if package.size is None else human_size(package.size)
    facts = ", ".join(filter(None, (package.manager, size, package.license)))
    yield f"{package.title} ({facts}), target {environment.target}, {environment.platform}"
    if package.asked:
        yield f"  asked for by the environment: {package.asked}"
    needed = environment.needed_by(package.key)
    for each, text in needed:
        yield f"  needed by {each.title}: {text}"
    if not package.asked and not needed:
        unknown = [each.name for each in environment.packages.values() if each.needs is None]
        yield "  nobody is known to need it" + (
            f" ({count(len(unknown), 'package')} not looked into)" if unknown else ""
        )
    for way in environment.ways(package.key):
        if len(way) > 2:
            yield f"  {' -> '.join(each.name for each in way)}"
    freed = environment.freed(package.key)
    if len(freed) > 1:
        others = [each for each in freed if each.key != package.key]
        names = ", ".join(each.name for each in others[:3]) + (
            f" and {len(others) - 3} more" if len(others) > 3 else ""
        )
        yield f"  without it {names} would not be there: {human_size(sum(each.size or 0 for each in freed))} in all"
