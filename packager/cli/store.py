"""`packager store`."""

from __future__ import annotations

import click

from packager.cli.common import Reporter, count, emit, emit_json, format_option, human_size, standard_options


@click.group("store")
def command() -> None:
    """Show, check and clean what packager keeps on this machine, in $XDG_CACHE_HOME/packager.

    Models enter the store once, and every saved context links to them there. All else makes the next build fast.

    `build` keeps all of it below a limit by itself where one is set: PACKAGER_CACHE_LIMIT=20GB, or `cache_limit: 20GB`
    in ~/.config/packager/config.yaml. What is cheap to make again goes before what is not, and of the same cost what
    was not used for longest.
    """


@command.command("info")
@format_option
@standard_options
def info(output_format: str, reporter: Reporter) -> None:
    """Show what is kept, kind by kind, and how much of it `gc` would free; nothing is read.

    A file with several names is counted once. What is shared is also somebody else's (a saved context, a service, uv's
    cache), so that removing it here frees nothing.
    """
    import msgspec

    from packager.steps import store

    kinds = store.info()
    size, frees = sum(kind.size for kind in kinds), sum(kind.frees for kind in kinds)
    if output_format == "json":
        emit_json({"size": size, "frees": frees, "kinds": [msgspec.to_builtins(kind) for kind in kinds]})
        return
    for kind in kinds:
        more = f", {kind.held} in use" if kind.held else ""
        more += f", {human_size(kind.shared)} shared" if kind.shared else ""
        more += f", {human_size(kind.frees)} unneeded" if kind.unneeded else ""
        emit(f"{kind.name + 's':<24}{kind.entries}, {human_size(kind.size)}{more}")
    emit(f"{'all':<24}{sum(kind.entries for kind in kinds)}, {human_size(size)}")
    if any(kind.unneeded for kind in kinds):
        reporter.step(f"`packager store gc` frees {human_size(frees)}")


@command.command("verify")
@format_option
@standard_options
def verify(output_format: str, reporter: Reporter) -> None:
    """Read every file of the store and compare its digest; exits with 6 when one is damaged.

    Damaged files are removed: models are added again by the next save, layers are pulled or made again. Contexts that
    were saved before may still hold them; `packager verify` tells.
    """
    import msgspec

    from packager.errors import ContextError
    from packager.steps import store

    reporter.step("reading every file of the store")
    models, layers = store.verify()
    damaged = [*(f"sha256:{digest}" for digest in models.damaged), *layers.damaged]
    checked = models.checked + layers.checked
    if output_format == "json":
        images = {"checked": layers.checked, "damaged": list(layers.damaged)}
        emit_json({**msgspec.to_builtins(models), "images": images})
    else:
        for digest in damaged:
            emit(f"damaged: {digest}")
        emit(f"{count(checked, 'file')}, {human_size(models.size + layers.size)}, {len(damaged)} damaged")
    if damaged:
        raise ContextError(
            f"{len(damaged)} of {checked} files were damaged, and are removed",
            remedy="`packager verify DIR` on contexts that were saved before, and save again what differs",
        )


@command.command("gc")
@click.option("--older-than", metavar="TIME", help="What was not used for so long: 12h, 7d, 2w (default: 30d).")
@click.option("--max-size", metavar="SIZE", help="Then more, until what is left takes at most this: 10GB.")
@click.option("--all", "everything", is_flag=True, help="Everything that is not in use.")
@click.option("--dry-run", is_flag=True, help="Remove nothing, only say what would be.")
@format_option
@standard_options
def gc(
    older_than: str | None,
    max_size: str | None,
    everything: bool,
    dry_run: bool,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Remove what is of no use any more.

    Always: build contexts that were staged for BuildKit, and models that no context, service or run on this filesystem
    links to; and what killed processes left. After 30 days without use: layers, environments (those of `environment
    run`, too), unpacked conda packages, and notes of what was found out.

    What is in use stays, whatever the options: what a build under way has staged or may read, the environment of a
    program that runs, services. With --max-size, what is cheap to make again goes before what is not, and of the same
    cost what was not used for longest.
    """
    from packager.errors import UsageError
    from packager.steps import store
    from packager.units import parse_age, parse_size

    if everything and (older_than or max_size):
        raise UsageError("--all leaves nothing for --older-than or --max-size", remedy="leave one of them out")
    age = 0.0 if everything else parse_age(older_than, "--older-than") if older_than else store.UNUSED
    limit = parse_size(max_size, "--max-size") if max_size else None
    collected = store.gc(store.Policy(older_than=age, max_size=limit), dry_run=dry_run)
    result = [kind for kind in store.summaries(store.kinds(), collected) if kind.unneeded]
    if output_format == "json":
        removed = {kind.name: {"removed": kind.unneeded, "freed": kind.frees} for kind in result}
        emit_json({"freed": collected.freed, "dry_run": dry_run, "kinds": removed})
        return
    would = "would be " if dry_run else ""
    for kind in result:
        emit(f"{count(kind.unneeded, kind.name)} {would}removed, {human_size(kind.frees)} {would}freed")
    emit(f"{human_size(collected.freed)} {would}freed in all")
    reporter.detail(f"{len(collected.inventory.entries) - len(collected.gone)} things stay")
