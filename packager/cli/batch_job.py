"""What `deploy --batch` is told: options of its own, and the words of `packager batch` that each task gets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from packager.cli.common import Command
    from packager.steps.deploy_batch import BatchJobWish

#: Options of `packager batch` that are a job's own: which part it is, where it runs and how its results are told.
_THE_JOBS = (
    *("reference", "shard", "merge", "inside", "resume", "overwrite", "processes", "docker", "engine", "address"),
    *("no_devices", "file", "output_format", "target", "quiet", "verbose", "progress"),
)
#: Options of `deploy` that a job has, too.
_SHARED = ("to", "output", "image", "target", "name", "namespace", "force")

_OPTIONS = (
    click.option("--shards", type=click.IntRange(min=1), metavar="N", help="--batch: how many tasks there are."),
    click.option(
        "--parallel", type=click.IntRange(min=1), metavar="N", help="--batch: tasks at a time (default: all)."
    ),
    click.option("--share", metavar="CLAIM:PATH", help="--batch, Kubernetes: volume that all tasks have, at PATH."),
    click.option("--env-secret", metavar="NAME", help="--batch, Kubernetes: Secret whose entries are variables."),
    click.option("--tries", type=click.IntRange(1, 10), metavar="N", help="--batch: starts of a task (default: 3)."),
    click.option(
        "--task-timeout", type=click.IntRange(min=1), metavar="SECONDS", help="--batch: that a task may take."
    ),
)
#: Their names, as parameters.
BATCH_OPTIONS = ("shards", "parallel", "share", "env_secret", "tries", "task_timeout")


def batch_options(command: Command) -> Command:
    """Give a command the options of a job."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return click.option("--batch", is_flag=True, help="Files of a job that runs a batch, in place of a service.")(
        command
    )


def batch_wish(words: tuple[str, ...], dry_run: bool, options: Mapping[str, Any]) -> BatchJobWish:
    """Return options and words as what is asked for.

    Raises:
        UsageError: one is missing, is not of a batch, or is what the job says by itself.
    """
    from packager.errors import UsageError
    from packager.steps.deploy_batch import BatchJobWish

    _require_of_a_job(options)
    if options["to"] not in ("kubernetes", "aws-batch", "slurm"):
        raise UsageError(f"{options['to']} runs no jobs", remedy="--to kubernetes, aws-batch or slurm")
    if options["shards"] is None:
        raise UsageError("a job wants a number of tasks", remedy="--shards N")
    inputs, results, others = _words(words)
    given = {name: options[name] for name in ("parallel", "env_secret", "tries", "task_timeout") if options[name]}
    return BatchJobWish(
        to=options["to"],
        inputs=inputs,
        results=results,
        shards=options["shards"],
        options=tuple(others),
        output=options["output"],
        image=options["image"],
        target=options["target"],
        name=options["name"],
        namespace=options["namespace"] or "",
        share=_share(options["share"]),
        dry_run=dry_run,
        force=options["force"],
        **given,
    )


def _require_of_a_job(options: Mapping[str, Any]) -> None:
    from packager.errors import UsageError

    for name, value in options.items():
        if value and name not in (*_SHARED, *BATCH_OPTIONS):
            option = {"apply_": "--apply"}.get(name, f"--{name.replace('_', '-')}")
            raise UsageError(f"{option} is of services, not of --batch", remedy="leave it out")


def _share(text: str | None) -> Any:
    from packager.errors import UsageError
    from packager.steps.deploy_batch import Share

    if text is None:
        return None
    claim, _, path = text.partition(":")
    if not claim or not path.startswith("/"):
        raise UsageError(f"--share {text} names no volume", remedy="--share CLAIM:/PATH, PATH being where tasks see it")
    return Share(claim=claim, path=path)


def _words(words: tuple[str, ...]) -> tuple[tuple[str, ...], str, Iterator[str]]:
    """Return inputs, output and the other words of `packager batch`, each as it takes them.

    Raises:
        UsageError: one is what the job says by itself.
    """
    from packager.cli.batch import command
    from packager.errors import UsageError

    context = command.make_context("packager deploy --batch … --", list(words))
    source = context.get_parameter_source
    given = [
        each
        for each in command.params
        if each.name is not None and source(each.name) is click.core.ParameterSource.COMMANDLINE
    ]
    for each in given:
        if each.name in _THE_JOBS and context.params.get(each.name) not in (None, ()):
            raise UsageError(f"{each.opts[-1]} is what a job says by itself", remedy="leave it out behind `--`")
    inputs = context.params["inputs"]
    if not inputs:
        raise UsageError("a batch wants inputs", remedy="-- --input /share/images --output /share/labels")
    others = (each for each in given if each.name not in ("inputs", "output"))
    return tuple(inputs), context.params["output"], _as_words(others, context.params)


def _as_words(options: Any, values: Mapping[str, Any]) -> Iterator[str]:
    for each in options:
        value, flag = values[each.name], getattr(each, "is_flag", False)
        if flag:
            yield (each.opts if value else each.secondary_opts)[-1]
            continue
        for one in value if each.multiple else (value,):
            yield from (each.opts[-1], str(one))
