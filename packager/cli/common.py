"""What every verb shares: standard options, what goes to which stream, and how an error ends the process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from packager.interruption import terminated_as_interrupted
from packager.units import human_size as human_size

if TYPE_CHECKING:
    from packager.context.sources import DigestModel
    from packager.pipeline import Planned
    from packager.plan.plan import Base
    from packager.spec.load import SpecFile

Command = TypeVar("Command", bound=Callable[..., Any])


class Reporter:
    """Progress, notes and warnings, on standard error; standard output is for results alone.

    Args:
        verbosity: -1 quiet (warnings only), 0 normal, 1 verbose.
    """

    def __init__(self, verbosity: int = 0) -> None:
        self.verbosity = verbosity
        self.color = sys.stderr.isatty() and not os.environ.get("NO_COLOR")

    def _write(self, text: str, color: str | None = None) -> None:
        click.echo(click.style(text, fg=color) if color and self.color else text, err=True, color=self.color)

    def step(self, text: str) -> None:
        """Say what is being done now, or was done."""
        if self.verbosity >= 0:
            self._write(text)

    def detail(self, text: str) -> None:
        """Say what only matters when looking closely (`-v`)."""
        if self.verbosity >= 1:
            self._write(text, "bright_black")

    def warn(self, text: str) -> None:
        """Say what may be wrong; never silenced."""
        self._write(f"warning: {text}", "yellow")


def standard_options(command: Command) -> Command:
    """Add `-q` and `-v`; the verb gets a `reporter`, and leaves nothing behind when it is told to end."""

    def wrap(*args: Any, quiet: bool, verbose: bool, **kwargs: Any) -> Any:
        with terminated_as_interrupted():
            return command(*args, reporter=Reporter(-1 if quiet else int(verbose)), **kwargs)

    wrap.__name__, wrap.__doc__ = command.__name__, command.__doc__
    wrap.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    verbose = click.option("-v", "--verbose", is_flag=True, help="Say more, on standard error.")
    quiet = click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings and errors.")
    decorated: Any = quiet(verbose(wrap))
    return cast(Command, decorated)


file_option = click.option(
    "-f",
    "--file",
    "file",
    type=click.Path(path_type=Path),
    default=Path("packager.yaml"),
    show_default=True,
    help="The spec, or the folder that holds it.",
)

format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Form of the result on standard output.",
)

no_docker_option = click.option(
    "--no-docker",
    is_flag=True,
    help="Run the spec's package in its locked environment on this machine, without Docker.",
)

target_option = click.option("--target", "target", metavar="NAME", help="One target of the spec (default: all).")

platform_option = click.option(
    "--platform", "platform", metavar="OS/ARCH", help="One platform of the target (default: its first)."
)

base_option = click.option(
    "--base",
    "base",
    metavar="REF",
    help="Another base for this run: at a registry, in the engine, oci:DIR, oci-archive:FILE, docker-archive:FILE.",
)


dialect_option = click.option(
    "--dialect",
    type=click.Choice(["plain", "buildkit"]),
    help="plain leaves out what only BuildKit reads: for older engines, podman, buildah, kaniko (default: the spec's).",
)


def image_options(command: Command) -> Command:
    """Add the options that say which image of which spec: `--file`, `--target`, `--platform`, `--base`."""
    for option in (base_option, platform_option, target_option, file_option):
        command = option(command)
    return command


def emit(text: str) -> None:
    """Write a result to standard output."""
    click.echo(text)


def emit_json(value: Mapping[str, Any] | list[Any]) -> None:
    """Write a result to standard output as indented JSON."""
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def count(number: int, noun: str) -> str:
    """Return `1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def one_target(spec_file: SpecFile, target: str | None) -> str:
    """Return the one target that a verb works on which can do no more than one.

    Raises:
        UsageError: the spec has several and none was named.
    """
    from packager.errors import UsageError
    from packager.pipeline import select_targets

    names = select_targets(spec_file, target)
    if len(names) > 1:
        raise UsageError("the spec has several targets", remedy=f"choose one: --target {names[0]}")
    return names[0]


def resolved_base(spec_file: SpecFile, base: str | None, reporter: Reporter) -> Base | None:
    """Return the base that `--base` names; None where it was not given."""
    if base is None:
        return None
    from packager.builders.base_option import resolve_base
    from packager.pipeline import machine_mirrors

    found = resolve_base(base, {**spec_file.spec.registry_mirrors, **machine_mirrors()})
    reporter.detail(f"base {found.reference} is {found.digest}")
    return found


def planned_image(
    spec_file: SpecFile,
    target: str,
    platform: str | None,
    base: str | Base | None,
    reporter: Reporter,
    *,
    digest_model: DigestModel | None = None,
) -> Planned:
    """Plan one image as the verbs do: with this machine's mirrors and store, and another base where one is given.

    Args:
        spec_file: the spec.
        target: one of its targets.
        platform: OCI os/arch, or None for the target's first.
        base: `--base`, as it was given or as it was resolved.
        reporter: says which base was found.
        digest_model: reads models; the store's `digest` where None.
    """
    from packager.pipeline import machine_mirrors, plan_image
    from packager.storage.models import Store

    resolved = resolved_base(spec_file, base, reporter) if isinstance(base, str) else base
    return plan_image(
        spec_file,
        target,
        platform,
        digest_model=digest_model or Store().digest,
        base=resolved,
        mirrors=machine_mirrors(),
    )
