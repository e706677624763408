"""`packager model profile`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from packager.cli import complete
from packager.cli.common import (
    Command,
    Reporter,
    emit,
    emit_json,
    file_option,
    format_option,
    no_docker_option,
    refuse_spec,
    spec_beside,
    standard_options,
    target_option,
)
from packager.cli.deployed import FILE, asked_for, inference_option, models_option
from packager.cli.registered import of_workspace, open_workspace
from packager.cli.run import variables
from packager.cli.terminal import table

_SAMPLES = (
    click.option(
        "--data",
        "data",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A request body (repeatable; they are sent in turn). Default: the requests of the spec's `test:`.",
    ),
    click.option(
        "--idi",
        "--input-dataset-id",
        "dataset",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A file of which each row is a request body: JSON lines, or CSV with one column.",
    ),
    click.option("--binary", is_flag=True, help="Send what --data names as application/octet-stream."),
)
_FILES = (
    models_option,
    inference_option,
    click.option(
        "--dc",
        "--deploy-config-file",
        "deployment",
        type=FILE,
        metavar="FILE",
        help="deploymentconfig.json: its limits are those that are tried first.",
    ),
    of_workspace,
)
_LIMITS = (
    click.option(
        "--cc",
        "--cpu-cores",
        "cpu",
        type=click.FloatRange(min=0.01),
        metavar="N",
        help="Processors that are tried first (default: the spec's, else 3.5, at most what there is).",
    ),
    click.option(
        "--gb",
        "--memory-gb",
        "memory",
        type=click.FloatRange(min=0, min_open=True),
        metavar="GIB",
        help="Memory that is tried first (default: the spec's, else 15, at most what there is).",
    ),
    click.option(
        "--latency",
        type=click.FloatRange(min=0, min_open=True),
        metavar="MS",
        help="Milliseconds that 95 of 100 answers must keep (default: an average within 10 % of the best; 25 % where "
        "the spread leaves it open).",
    ),
    click.option(
        "--duration",
        type=click.FloatRange(min=0, min_open=True),
        default=5.0,
        show_default=True,
        metavar="S",
        help="Seconds of measuring under each limits, at most; less where more would tell nothing new.",
    ),
    click.option(
        "--at-most",
        type=click.FloatRange(min=0, min_open=True),
        metavar="S",
        help="Seconds for all of it: no more limits are tried than there is time for (default: as many as it takes).",
    ),
    click.option(
        "--requests",
        type=click.IntRange(min=1),
        default=1000,
        show_default=True,
        metavar="N",
        help="Requests under each limits, at most.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        help="Seconds until it must be healthy (default: 120, or what the spec's probes let it take).",
    ),
)


def _of(options: tuple[Any, ...]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.command("profile")
@click.argument("reference", required=False, metavar="[IMAGE]", shell_complete=complete.references)
@file_option
@target_option
@click.option("-n", "--name", metavar="NAME", help="Of the profile (default: the image's).")
@click.option("-d", "--description", default="", metavar="TEXT", help="Of the profile.")
@_of(_FILES)
@_of(_SAMPLES)
@_of(_LIMITS)
@click.option(
    "-e", "--env", "env", multiple=True, metavar="NAME[=VALUE]", help="Variable of the container (repeatable)."
)
@no_docker_option
@click.option("--no-devices", is_flag=True, help="Start it without the GPUs and devices that its target asks for.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.svg|png",
    help="Draw latency and throughput against processors and memory; PNG needs packager[plot].",
)
@format_option
@standard_options
def profile_command(
    reference: str | None, file: Path, plot: Path | None, output_format: str, reporter: Reporter, **options: Any
) -> None:
    """Measure a service under several limits of processors and memory, and recommend the least that is enough.

    Without IMAGE it is the first reference of the spec; with -m, models of the workspace are packaged with the script
    of --ic, as by `packager model deploy`. It runs as in production, first under the limits that are asked
    for, then under larger and smaller ones; a request is sent when the one before it is answered. Figures have the
    names of `az ml model profile`; what goes wrong under some limits (out of memory, no start, no answer) is said in
    their row.
    """
    from packager.steps.profile import check_plot, profile, require_profiled, write_plot

    if plot is not None:
        check_plot(plot)
    wish = _wish(reference, options)
    if options["models"] or options["inference"] or options["deployment"]:
        from packager.steps.v1_profile import profile_files

        refuse_spec("models and files are packaged without a spec")
        asked = asked_for(options["models"], options["inference"], (), options["deployment"])
        opened = open_workspace(options["workspace"], reporter)
        found = profile_files(opened, options["name"], asked, wish, reporter=reporter)
    else:
        spec_file = spec_beside(file, needed=reference is None or not wish.docker)
        found = profile(wish, spec_file, reporter=reporter)
    if plot is not None:
        write_plot(found, plot)
    if output_format == "json":
        from packager.steps.profile_outputs import as_data

        emit_json(as_data(found))
    else:
        from packager.steps.profile import advice_line, remark_lines, rows_of

        for line in (*table(rows_of(found)), *remark_lines(found), advice_line(found)):
            emit(line)
    require_profiled(found)


def _wish(reference: str | None, options: dict[str, Any]) -> Any:
    from packager.steps.profile import GB, ProfileWish

    memory, latency = options["memory"], options["latency"]
    return ProfileWish(
        reference=reference,
        target=options["target"],
        docker=not options["no_docker"],
        name=options["name"],
        description=options["description"],
        data=options["data"],
        dataset=options["dataset"],
        binary=options["binary"],
        cpu=options["cpu"],
        memory=None if memory is None else round(memory * GB),
        latency=None if latency is None else latency / 1000,
        seconds=options["duration"],
        requests=options["requests"],
        at_most=options["at_most"],
        timeout=options["timeout"],
        env=variables(options["env"]),
        devices=not options["no_devices"],
    )
