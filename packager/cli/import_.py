"""`packager import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli.common import Reporter, count, emit, emit_json, format_option, standard_options

if TYPE_CHECKING:
    from packager.steps.taking_over import TakenOver


@click.command("import")
@click.argument("paths", nargs=-1, required=True, metavar="PATH…", type=click.Path(path_type=Path, exists=False))
@click.option(
    "-o",
    "--output",
    metavar="FILE|-",
    help="The spec to write; - prints it and writes nothing (default: packager.yaml in the one folder that is named, "
    "else in this one).",
)
@click.option("--entry-script", metavar="FILE", help="The entry script, where no file names it.")
@click.option("--force", is_flag=True, help="Replace an existing spec.")
@format_option
@standard_options
def command(
    paths: tuple[Path, ...],
    output: str | None,
    entry_script: str | None,
    force: bool,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Turn files of Azure ML into a commented packager.yaml, and say what became of each of their keys.

    v1: inferenceconfig.json, deploymentconfig.json, azureml_environment.json, conda_dependencies.yml,
    .azureml/config.json, .amlignore; v2: online deployments, endpoints and environments. Of a folder those in it are
    read. They are known by what is in them; nothing of them is run, and nothing is fetched.
    """
    from packager.steps.taking_over import take_over

    result = take_over(paths, output, entry_script=entry_script, force=force)
    if output_format == "json":
        emit_json(_data(result))
        return
    _tell(result, reporter)
    if result.path is None:
        emit(result.text.rstrip("\n"))
        return
    reporter.step(
        f"next: packager lock -f {result.path}" if result.path != Path("packager.yaml") else "next: packager lock"
    )
    emit(str(result.path))


def _tell(result: TakenOver, reporter: Reporter) -> None:
    taken = [each for each in result.entries if each.outcome == "taken"]
    left = [each for each in result.entries if each.outcome == "left"]
    empty = [each for each in result.entries if each.outcome == "empty"]
    for each in taken:
        reporter.step(f"{each}")
    for each in left:
        reporter.step(f"{each}")
    for each in result.entries:
        if each.outcome == "unknown":
            reporter.warn(f"{each}")
    for each in empty:
        reporter.detail(f"{each.place} says nothing")
    for name in result.written[1:]:
        reporter.step(f"wrote {name}")
    said = f"; {count(len(empty), 'key')} said nothing" if empty else ""
    reporter.step(f"{count(len(taken), 'key')} taken over, {len(result.entries) - len(taken) - len(empty)} not{said}")


def _data(result: TakenOver) -> dict[str, Any]:
    taken, left = [], []
    for each in result.entries:
        if each.outcome == "taken":
            taken.append({"file": each.file, "key": each.key, "field": each.field, "note": each.reason})
        else:
            entry = {"file": each.file, "key": each.key, "kind": each.outcome, "reason": each.reason}
            left.append({**entry, "instead": each.instead})
    return {
        "spec": str(result.path) if result.path is not None else None,
        "text": result.text,
        "read": list(result.read),
        "written": list(result.written),
        "taken": taken,
        "left": left,
    }
