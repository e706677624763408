"""`packager plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli.common import (
    Reporter,
    count,
    emit,
    emit_json,
    format_option,
    human_size,
    image_options,
    load_spec,
    standard_options,
)
from packager.cli.terminal import table

if TYPE_CHECKING:
    from packager.plan.plan import Plan


@click.command("plan")
@image_options
@click.option("--files", is_flag=True, help="List every file and package, too.")
@format_option
@standard_options
def command(
    file: Path,
    target: str | None,
    platform: str | None,
    base: str | None,
    files: bool,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Show what each layer of the image will hold, how large it is, and where each thing comes from.

    Nothing is written. `--format json` gives the whole plan, every file and package included.
    """
    from packager.steps.plan import find_base, plan_image
    from packager.steps.selection import select_targets

    spec_file = load_spec(file)
    names, other = select_targets(spec_file, target), find_base(spec_file, base, reporter)
    plans = [plan_image(spec_file, name, platform, base=other).plan for name in names]
    if output_format == "json":
        emit_json([plan_data(plan) for plan in plans])
        return
    emit("\n\n".join("\n".join(_lines(plan, spec_file.spec.environment, files)) for plan in plans))


def plan_data(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON data: its fields, and digest, folder and size of each layer."""
    import msgspec

    data: dict[str, Any] = msgspec.to_builtins(plan)
    shown = zip((data["server"], *data["models"], data["app"]), plan.layers, strict=True)
    data["environment"] = _environment(data["environment"], plan)
    for layer, value in shown:
        layer.update(digest=f"sha256:{value.tree.digest}", folder=value.folder, size=value.tree.size)
    return data


def _environment(environment: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Return the environment with what is locked in it, in the words that it has always had."""
    locked = environment.pop("locked")
    names = {"python": "python", "digest": "requirements_digest", "wheels": "tags"}
    names |= {name: name for name in ("packages", "from_source", "variables")}
    values = {name: locked[source] for name, source in names.items()}
    if locked["conda"] is not None:
        half = {name: locked["conda"][name] for name in ("digest", "packages", "channels")}
        environment["conda"] |= {**half, "subdir": plan.environment.locked.subdir}
    return {**environment, **values}


def _lines(plan: Plan, environment: object, files: bool) -> list[str]:
    declared = environment if isinstance(environment, str) else "the model" if environment is None else "the spec"
    base_size = "in the engine" if plan.base.local else "at its registry"
    rows = [("base", plan.base.reference, base_size, plan.base.digest[:19])]
    if plan.system_packages:
        number = count(len(plan.system_packages), "Debian package")
        rows.append(("system", ", ".join(plan.system_packages), number, "the base's Debian sources"))
    content = f"Python {plan.environment.python} in {plan.environment.prefix}"
    locks = f"locks/{plan.target}.requirements.txt (from {declared})"
    if plan.environment.conda:
        locks = f"locks/{plan.target}.conda-lock.yml, {locks}"
    rows.append(("environment", content, plan.environment.title.removeprefix("environment of "), locks))
    for layer in plan.layers:
        size = human_size(layer.tree.size)
        rows.append(
            (layer.name.split("-")[0], layer.title, f"{count(len(layer.tree.files), 'file')}, {size}", _origin(layer))
        )
    lines = [f"{plan.name} {plan.version}, target {plan.target}, {plan.platform}"]
    for index, (row, line) in enumerate(zip(rows, table(rows, indent="  "), strict=True)):
        lines.append(line)
        if files:
            lines += _details(plan, index - (len(rows) - len(plan.layers)), row[0])
    config = plan.config
    lines.append(f"  runs as {config.user}, port {config.port}: {' '.join(config.entrypoint)}")
    return lines + [f"  image {reference}" for reference in plan.references]


def _details(plan: Plan, layer: int, kind: str) -> list[str]:
    if kind == "environment":
        conda = plan.environment.conda_packages
        shown = [f"      {package.name} {package.version} {package.build}  {package.channel}" for package in conda]
        return shown + [f"      {package.name} {package.version}" for package in plan.environment.packages]
    if layer < 0:
        return []
    return [
        f"      {file.mode:04o} {human_size(file.size):>9}  /{file.path}  {file.origin or '(made by packager)'}"
        for file in plan.layers[layer].tree.files
    ]


def _origin(layer: Any) -> str:
    origins = [file.origin for file in layer.tree.files if file.text is None]
    if not origins:
        return "made by packager"
    if len(origins) == 1:
        return str(origins[0])
    import os.path

    common = os.path.commonpath(origins) if origins else ""
    return f"{common or '.'}/"
