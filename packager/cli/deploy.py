"""`packager deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli import complete
from packager.cli.batch_job import BATCH_OPTIONS, batch_options, batch_wish
from packager.cli.common import (
    Reporter,
    count,
    emit,
    emit_json,
    file_option,
    format_option,
    insecure_option,
    load_spec,
    pairs,
    spec_beside,
    spec_workspace_option,
    standard_options,
    target_option,
)

if TYPE_CHECKING:
    from packager.cli.common import Command
    from packager.steps.deploy import Deployed

_PLATFORMS = ("kubernetes", "compose", "aci", "quadlet", "iot-edge", "aws-batch", "slurm")
#: Those that run jobs alone.
_JOBS_ALONE = ("aws-batch", "slurm")

#: Options that are fields of `Wishes`, of the same name.
_WISHES = (
    click.option("--namespace", metavar="NAME", help="Kubernetes: namespace (default: the spec's, or `default`)."),
    click.option(
        "--flavor",
        type=click.Choice(["kserve", "none"]),
        help="Kubernetes: kserve writes an InferenceService in place of a Deployment.",
    ),
    click.option(
        "--kubernetes-version",
        "kubernetes",
        metavar="1.N",
        help="Kubernetes: the cluster's version; before 1.36 an init container fetches models that are mounted.",
    ),
    click.option(
        "--route",
        type=click.Choice(["ingress", "gateway", "none"]),
        help="Kubernetes: a way in from outside, with TLS where the spec has `service: {tls: …}`.",
    ),
    click.option("--host", metavar="NAME", help="Kubernetes, aci: public name (default: the spec's tls.cname)."),
    click.option("--ingress-class", metavar="NAME", help="Kubernetes: class of the Ingress (default: the cluster's)."),
    click.option("--gateway", metavar="NAMESPACE/NAME", help="Kubernetes: the Gateway of --route gateway."),
    click.option("--pull-secret", metavar="NAME", help="Kubernetes: Secret by which the image is pulled."),
    click.option("--canary", metavar="REF", help="Kubernetes: another image that gets a part of the requests."),
    click.option("--canary-percent", type=click.IntRange(1, 99), help="Kubernetes: percent of them (default: 10)."),
    click.option("--location", metavar="REGION", help="Azure Container Instances: region."),
    click.option(
        "-p", "--publish", type=click.IntRange(1, 65535), help="compose, quadlet, iot-edge: port of the machine."
    ),
)


def _wish_options(command: Command) -> Command:
    for option in reversed(_WISHES):
        command = option(command)
    return command


@click.command("deploy")
@click.option(
    "--to",
    type=click.Choice(_PLATFORMS),
    default="kubernetes",
    show_default=True,
    help="The platform; aws-batch and slurm run --batch alone.",
)
@file_option
@spec_workspace_option
@target_option
@click.option(
    "--image",
    metavar="REF",
    shell_complete=complete.references,
    help="The image (default: the spec's first reference).",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for the files (default: deploy/PLATFORM beside the spec).",
)
@click.option("--name", metavar="NAME", help="Name of the service (default: the package's).")
@_wish_options
@click.option("--device-resource", metavar="NAME", help="Kubernetes: what its device plugin calls GPUs or devices.")
@click.option(
    "--model-image",
    "model_images",
    multiple=True,
    metavar="NAME=REF",
    help="Image with the files of a model that is mounted (repeatable).",
)
@click.option("--apply", "apply_", is_flag=True, help="Put the files into force, by the platform's own client.")
@click.option("--wait", is_flag=True, help="With --apply: wait until it is healthy, and go back where it is not.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="How long --wait waits."
)
@click.option("--rollback", is_flag=True, help="Let the files name the image of before again; --apply does it there.")
@click.option("--diff", "dry_run", is_flag=True, help="Write nothing, and print what would be written as a diff.")
@click.option("--exit-code", "exit_code", is_flag=True, help="With --diff: exit with 1 when anything differs.")
@click.option("--force", is_flag=True, help="Write files anew, too, that somebody edited.")
@batch_options
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[WORD]…")
@insecure_option
@format_option
@standard_options
def command(
    file: Path,
    dry_run: bool,
    exit_code: bool,
    batch: bool,
    words: tuple[str, ...],
    output_format: str,
    reporter: Reporter,
    **options: Any,
) -> None:
    """Write the files by which a platform runs the image, and print the folder.

    The files are made of the image, by its digest, and of `service:` in the spec. They are yours: commit and edit them.
    One that was edited keeps its edits when the image changes, and is never written over without --force. What is asked
    for by options holds for the folder until others are given; `--canary ""` takes one back. Nothing outside of the
    folder is touched without --apply, and no key is in any file.

    With --batch they are the files of a job that runs a batch in shards, on Kubernetes, AWS Batch or Slurm: what
    follows `--` is what `packager batch` is given, as a task sees it.
    """
    from packager.errors import UsageError
    from packager.steps.deploy import deploy

    if exit_code and not dry_run:
        raise UsageError("--exit-code is of --diff", remedy="add --diff")
    if batch:
        from packager.steps.deploy_batch import deploy_batch

        job = batch_wish(words, dry_run, options)
        deployed = deploy_batch(job, load_spec(file), reporter=reporter)
    else:
        _refuse_batch(words, options)
        wish = _wish(dry_run, options)
        spec_file = spec_beside(file, needed=wish.image is None and not wish.rollback)
        deployed = deploy(wish, spec_file, reporter=reporter)
    if output_format == "json":
        emit_json(_as_data(deployed))
    elif dry_run:
        if deployed.difference:
            emit(deployed.difference.removesuffix("\n"))
    else:
        emit(deployed.url or str(deployed.folder))
    _say(deployed, dry_run, reporter)
    if exit_code and deployed.difference:
        raise click.exceptions.Exit(1)


def _refuse_batch(words: tuple[str, ...], options: dict[str, Any]) -> None:
    """Refuse what is said of a batch where none is asked for."""
    from packager.errors import UsageError

    if words:
        named = f"--to {words[0]}" if words[0] in _PLATFORMS else "options begin with --"
        raise UsageError(f"{words[0]!r} is nothing that a service is deployed with", remedy=named)
    given = [f"--{name.replace('_', '-')}" for name in BATCH_OPTIONS if options.pop(name) is not None]
    alone = [f"--to {options['to']}"] if options["to"] in _JOBS_ALONE else []
    if given or alone:
        raise UsageError(f"{(given + alone)[0]} is of --batch", remedy="add --batch, or leave it out")


def _wish(dry_run: bool, options: dict[str, Any]) -> Any:
    from packager.steps.deploy import DeployWish, Wishes

    given = {name: options[name] for name in Wishes.__struct_fields__ if options[name] is not None}
    given |= {name: "" for name in ("flavor", "route") if given.get(name) == "none"}
    return DeployWish(
        to=options["to"],
        output=options["output"],
        image=options["image"],
        target=options["target"],
        name=options["name"],
        wishes=Wishes(**given),
        given=tuple(given),
        device_resource=options["device_resource"] or "",
        model_images=pairs("--model-image", options["model_images"]),
        apply=options["apply_"],
        wait=options["wait"],
        timeout=options["timeout"],
        rollback=options["rollback"],
        dry_run=dry_run,
        force=options["force"],
    )


def _say(deployed: Deployed, dry_run: bool, reporter: Reporter) -> None:
    """Tell what became of the files, and what comes next."""
    for file in deployed.files:
        if file.kind != "same":
            reporter.detail(f"{file.path}: {file.kind}")
    kept = [each.path for each in deployed.files if each.kind in ("edited", "renewed", "left")]
    if kept:
        reporter.step(f"as somebody edited {'it' if len(kept) == 1 else 'them'}: {', '.join(kept)}")
    conflicts = [each.path for each in deployed.files if each.kind == "conflict"]
    if conflicts:
        reporter.warn(f"somebody edited {', '.join(conflicts)}: without --force it is not written")
    if dry_run:
        if not deployed.difference:
            reporter.step("nothing differs")
        return
    written = sum(each.kind not in ("same", "edited", "left") for each in deployed.files)
    reporter.step(f"{deployed.name} {deployed.version} for {deployed.platform}: {count(written, 'file')} written")
    if not deployed.applied:
        for each in deployed.secrets:
            reporter.step(f"once, before it is applied: {each}")
        if deployed.merge:
            reporter.step(f"to submit it, in that folder: {deployed.apply}")
            reporter.step(f"and when all tasks have ended, where they see their files: {deployed.merge}")
        elif deployed.apply:
            reporter.step(f"to apply: the same with --apply --wait; or in that folder: {deployed.apply}")
    for each in deployed.leftovers:
        reporter.step(f"not made any more; where it was applied, it stays until: {each}")
    if deployed.rollback:
        reporter.step(f"to go back: {deployed.rollback}")


def _as_data(deployed: Deployed) -> dict[str, Any]:
    import msgspec

    return {**msgspec.to_builtins(deployed, enc_hook=str)}
