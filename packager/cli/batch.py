"""`packager batch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli import complete
from packager.cli.common import (
    Reporter,
    count,
    emit,
    emit_json,
    file_option,
    format_option,
    insecure_option,
    spec_beside,
    spec_workspace_option,
    standard_options,
    target_option,
)
from packager.cli.run import variables

if TYPE_CHECKING:
    from packager.steps.batch import Summary

_WHAT = (
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="DIR|GLOB|FILE|URL",
        help="What is run: a folder, a pattern in quotes, a file, or such a URL as s3://bucket/folder (repeatable).",
    ),
    click.option("-o", "--output", required=True, metavar="DIR|URL", help="Folder of the results."),
    click.option(
        "--entry-script",
        metavar="FILE",
        help="Another script than the spec's, relative to `source_dir`: init(), run(mini_batch), perhaps shutdown().",
    ),
    click.option(
        "--input-format",
        type=click.Choice(["auto", "files", "table", "requests"]),
        default="auto",
        show_default=True,
        help="files: run() gets a list of paths; table: a DataFrame; requests: each line of JSON lines, or each file, "
        "as a service's run(data) does. auto: table for .csv, .tsv and .parquet, requests for .jsonl, else files.",
    ),
    click.option(
        "--mini-batch-size",
        metavar="N|SIZE",
        help="Items, such as 10, or bytes of them, such as 1MB (default: 10 files or requests, 1MB of a table).",
    ),
    click.option(
        "--append-row/--summary-only",
        "append_row",
        default=True,
        help="Keep the results in OUTPUT/parallel_run_step.txt (default), or only count them.",
    ),
)
_HOW = (
    click.option(
        "--processes", type=click.IntRange(min=1), metavar="N", help="Workers at a time (default: one a processor)."
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=60.0,
        show_default=True,
        help="Seconds that one run() may take; then its worker is replaced.",
    ),
    click.option(
        "--init-timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=600.0,
        show_default=True,
        help="Seconds that init() may take.",
    ),
    click.option(
        "--tries",
        type=click.IntRange(min=1),
        default=3,
        show_default=True,
        metavar="N",
        help="How often a mini-batch is tried that fails, hangs or ends its worker.",
    ),
    click.option(
        "--error-threshold",
        type=click.IntRange(min=-1),
        metavar="N",
        help="End as soon as more than N items failed; -1 ignores failures. Default: all are tried, and none may fail.",
    ),
    click.option("--resume", is_flag=True, help="Go on with a run that did not end, or had failures."),
    click.option("--overwrite", is_flag=True, help="Begin anew, where results are already."),
)
_WHERE = (
    click.option(
        "--docker", is_flag=True, help="Run in containers of the spec's image, not in its locked environment here."
    ),
    click.option(
        "--inside",
        is_flag=True,
        help="Run in the image that this is, to which packager was added: a task of a job in a cluster.",
    ),
    click.option(
        "-e", "--env", "env", multiple=True, metavar="NAME[=VALUE]", help="Variable of the script (repeatable)."
    ),
    click.option("--no-devices", is_flag=True, help="Do without the GPUs and devices that the target asks for."),
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Where workers run: on this machine, or on the nodes of a Ray cluster.",
    ),
    click.option("--address", metavar="HOST:PORT", help="The Ray cluster (default: that of RAY_ADDRESS)."),
    click.option(
        "--shard",
        metavar="I/N|auto|auto/N",
        help="Run one of N equal parts, I from 0; auto asks the job of an array: Kubernetes, AWS Batch, Slurm.",
    ),
    click.option("--merge", "merge", is_flag=True, help="Run nothing; join the results of all shards below --output."),
)


def _batch_options(command: Any) -> Any:
    for option in reversed((*_WHAT, *_HOW, *_WHERE)):
        command = option(command)
    return command


@click.command("batch")
@click.argument("reference", required=False, metavar="[REF]", shell_complete=complete.references)
@file_option
@spec_workspace_option
@insecure_option
@target_option
@_batch_options
@format_option
@standard_options
def command(
    reference: str | None, file: Path, output: str, merge: bool, output_format: str, reporter: Reporter, **options: Any
) -> None:
    """Run the entry script over many inputs, and print the path of the results.

    It is Azure ML's ParallelRunStep: run(mini_batch) gets a list of paths or a DataFrame, and returns a list or a
    DataFrame with an element for each item that succeeded. A service's run(data) gets one request after the other.
    Results are in the order of the inputs, whatever the number of workers. Items that failed are in failures.jsonl.
    Without REF and --docker it runs in the locked environment on this machine, without Docker.
    """
    from packager.errors import UsageError
    from packager.steps.batch import batch, require_within
    from packager.steps.batch import merge as merge_shards

    if merge:
        given = [name for name in ("inputs", "shard", "resume") if options[name]]
        if given or reference is not None:
            raise UsageError("--merge runs nothing", remedy=f"packager batch --output {output} --merge")
        summary = merge_shards(output, overwrite=options["overwrite"])
    else:
        options["env"], options["devices"] = variables(options["env"]), not options.pop("no_devices")
        inputs = options.pop("inputs")
        spec_file = None if options["inside"] else spec_beside(file, needed=reference is None)
        try:
            summary = batch(inputs, output, spec_file=spec_file, reporter=reporter, reference=reference, **options)
        except KeyboardInterrupt:
            reporter.step("what is done is kept: the same command with --resume goes on")
            raise
    _show(summary, output_format, reporter)
    require_within(summary, options["error_threshold"])


def _show(summary: Summary, output_format: str, reporter: Reporter) -> None:
    from packager.steps.batch import as_data

    if output_format == "json":
        emit_json(as_data(summary))
        return
    rate = f", {summary.items_per_second:g} items/s" if summary.items_per_second else ""
    done = f"; {summary.taken_over} of {summary.mini_batches} mini-batches done before" if summary.taken_over else ""
    reporter.step(
        f"{count(summary.items, 'item')} in {summary.seconds:.1f} s{rate}: {summary.succeeded} succeeded, "
        f"{summary.failed} failed{done}"
    )
    if summary.failures:
        reporter.step(f"what failed, and why: {summary.output}/{summary.failures}")
    emit(f"{summary.output}/{summary.results}" if summary.results else summary.output)
