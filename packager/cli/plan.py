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
    from packager.steps.plan import KnownSizes


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

    No image or context is written. Sizes of base and packages are told where this machine knows them (`packager tree`
    finds those of packages out); the largest stand first. `--format json` gives the whole plan, every file included.
    """
    from packager.steps.plan import find_base, known_sizes, plan_image
    from packager.steps.selection import select_targets

    spec_file = load_spec(file)
    names, other = select_targets(spec_file, target), find_base(spec_file, base, reporter)
    planned = [plan_image(spec_file, name, platform, base=other, reporter=reporter) for name in names]
    shown = [(each.plan, known_sizes(each)) for each in planned]
    if output_format == "json":
        emit_json([plan_data(plan, sizes) for plan, sizes in shown])
        return
    emit("\n\n".join("\n".join(_lines(plan, sizes, spec_file.spec.environment, files)) for plan, sizes in shown))


def plan_data(plan: Plan, sizes: KnownSizes) -> dict[str, Any]:
    """Return a plan as JSON data: its fields, digest, folder and size of each layer, and sizes that are known."""
    import msgspec

    data: dict[str, Any] = msgspec.to_builtins(plan)
    shown = zip((data["server"], *data["models"], data["app"]), plan.layers, strict=True)
    data["environment"] = _environment(data["environment"], plan)
    data["base"]["size"] = sizes.base
    conda = data["environment"]["conda"]
    for packages, known in (
        (data["environment"]["packages"], sizes.packages),
        (conda and conda["packages"], sizes.conda),
    ):
        for package in packages or ():
            package["size"] = known.get(package["name"])
    for layer, value in shown:
        layer.update(digest=f"sha256:{value.tree.digest}", folder=value.folder, size=value.tree.size)
    for layer, value in zip(data["volumes"], plan.volumes, strict=True):
        layer.update(digest=f"sha256:{value.tree.digest}", size=value.tree.size)
    for name in ("volumes", "registered"):
        if not data[name]:
            del data[name]
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


def _lines(plan: Plan, sizes: KnownSizes, environment: object, files: bool) -> list[str]:
    declared = environment if isinstance(environment, str) else "the model" if environment is None else "the spec"
    place = "in the engine" if plan.base.local else "in the archive" if plan.base.archived else "at its registry"
    base_size = (
        place if sizes.base is None else human_size(sizes.base) + (" to pull" if place == "at its registry" else "")
    )
    rows = [("base", plan.base.reference, base_size, plan.base.digest[:19])]
    if plan.system_packages:
        number = count(len(plan.system_packages), "Debian package")
        rows.append(("system", ", ".join(plan.system_packages), number, "the base's Debian sources"))
    content = f"Python {plan.environment.python} in {plan.environment.prefix}"
    locks = f"locks/{plan.target}.requirements.txt (from {declared})"
    if plan.environment.conda:
        locks = f"locks/{plan.target}.conda-lock.yml, {locks}"
    rows.append(("environment", content, _environment_size(plan, sizes), locks))
    for layer in plan.layers:
        size = human_size(layer.tree.size)
        rows.append(
            (layer.name.split("-")[0], layer.title, f"{count(len(layer.tree.files), 'file')}, {size}", _origin(layer))
        )
    for layer in plan.volumes:
        size = f"{count(len(layer.tree.files), 'file')}, {human_size(layer.tree.size)}, not in the image"
        rows.append(("volume", layer.title, size, _origin(layer)))
    layers = (*plan.layers, *plan.volumes)
    lines = [f"{plan.name} {plan.version}, target {plan.target}, {plan.platform}"]
    for index, (row, line) in enumerate(zip(rows, table(rows, indent="  "), strict=True)):
        lines.append(line)
        if files:
            lines += _details(plan, sizes, index - (len(rows) - len(layers)), row[0])
        elif row[0] == "environment" and (largest := _by_size(plan, sizes)):
            indent = " " * (max(len(other[0]) for other in rows) + 4)
            word = "largest" if len(largest) == _package_count(plan) else "largest of those that are known"
            lines.append(f"{indent}{word}: {', '.join(f'{title} {human_size(size)}' for size, title in largest[:4])}")
    for each in plan.registered:
        how = "in the image" if each.delivery == "image" else "mounted"
        lines.append(f"  registered {each.id} {each.digest}, {how} at {each.path}")
    config = plan.config
    lines.append(f"  runs as {config.user}, port {config.port}: {' '.join(config.entrypoint)}")
    return lines + [f"  image {reference}" for reference in plan.references]


def _environment_size(plan: Plan, sizes: KnownSizes) -> str:
    """Return `25 packages, 234.7 MB`; without a size where that of some is not known."""
    title = plan.environment.title.removeprefix("environment of ")
    known = [*sizes.packages.values(), *sizes.conda.values()]
    return f"{title}, {human_size(sum(known))}" if len(known) == _package_count(plan) else title


def _package_count(plan: Plan) -> int:
    return len(plan.environment.packages) + len(plan.environment.conda_packages)


def _by_size(plan: Plan, sizes: KnownSizes) -> list[tuple[int, str]]:
    """Return size and name of the packages whose size is known, the largest first."""
    halves = ((plan.environment.conda_packages, sizes.conda), (plan.environment.packages, sizes.packages))
    found = [
        (known[each.name], f"{each.name} {each.version}")
        for some, known in halves
        for each in some
        if each.name in known
    ]
    return sorted(found, key=lambda each: (-each[0], each[1]))


def _details(plan: Plan, sizes: KnownSizes, layer: int, kind: str) -> list[str]:
    if kind == "environment":
        rows = [
            (sizes.conda.get(each.name), f"{each.name} {each.version} {each.build}  {each.channel}")
            for each in plan.environment.conda_packages
        ]
        rows += [(sizes.packages.get(each.name), f"{each.name} {each.version}") for each in plan.environment.packages]
        rows.sort(key=lambda row: (-(row[0] or 0), row[1]))
        return [f"      {'' if size is None else human_size(size):>9}  {title}" for size, title in rows]
    if layer < 0:
        return []
    chosen = (*plan.layers, *plan.volumes)[layer]
    return [
        f"      {file.mode:04o} {human_size(file.size):>9}  /{file.path}  "
        f"{chosen.registered or file.origin or '(made by packager)'}"
        for file in chosen.tree.files
    ]


def _origin(layer: Any) -> str:
    if layer.registered:
        return f"{layer.registered} {layer.content[:19]}"
    origins = [file.origin for file in layer.tree.files if file.text is None]
    if not origins:
        return "made by packager"
    if len(origins) == 1:
        return str(origins[0])
    import os.path

    common = os.path.commonpath(origins) if origins else ""
    return f"{common or '.'}/"
