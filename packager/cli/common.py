"""What every verb shares: standard options, what goes to which stream, and how an error ends the process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from packager.cli import complete
from packager.cli.answer import Answer
from packager.cli.terminal import is_coloured, painted, styled
from packager.cli.this_run import insecure_option as insecure_option
from packager.cli.this_run import set_for_this_run
from packager.cli.this_run import spec_workspace_option as spec_workspace_option
from packager.cli.this_run import workspace_option as workspace_option
from packager.interruption import terminated_as_interrupted
from packager.units import human_size as human_size
from packager.units import visible

if TYPE_CHECKING:
    from packager.cli.watching import Watch

Command = TypeVar("Command", bound=Callable[..., Any])


class Reporter:
    """Progress, notes and warnings, on standard error; standard output is for results alone.

    Args:
        verbosity: -1 quiet (warnings only), 0 normal, 1 verbose.
        progress: how work that takes long is shown: `auto`, `tty`, `plain` or `quiet`.
    """

    def __init__(self, verbosity: int = 0, progress: str = "auto") -> None:
        self.verbosity = verbosity
        self.progress = "quiet" if verbosity < 0 and progress == "auto" else progress
        self._watch: Watch | None = None
        self.color = is_coloured(sys.stderr)

    def _write(self, text: str, color: str | None = None) -> None:
        text = visible(text)
        if self.color:
            text = styled(text, color) if color else painted(text)
        if self._watch is None or not self._watch.write(text):
            click.echo(text, err=True, color=self.color)

    @contextmanager
    def shows_progress(self) -> Iterator[None]:
        """Show how far the work of the block is (`packager.progress`), unless it is to be silent."""
        from packager.cli.watching import watch
        from packager.progress import listening

        self._watch = watch(cast(Any, self.progress), self._write)
        try:
            with listening(self._watch):
                yield
        finally:
            if self._watch is not None:
                self._watch.close()

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
        self._write(f"warning: {text}")


def standard_options(command: Command) -> Command:
    """Add `-q`, `-v` and `--progress`; the verb gets a `reporter`, and leaves nothing behind when it is told to end."""
    return _with_standard(command, ("-v", "--verbose"))


def standard_options_without_v(command: Command) -> Command:
    """Add what `standard_options` adds, to a verb whose `-v` is something else: a version, as `az ml` has it."""
    return _with_standard(command, ("--verbose",))


def _with_standard(command: Command, verbose_flags: tuple[str, ...]) -> Command:

    def wrap(*args: Any, quiet: bool, verbose: bool, progress: str, **kwargs: Any) -> Any:
        reporter = Reporter(-1 if quiet else int(verbose), progress)
        if "file" in kwargs:
            kwargs = _with_spec(kwargs, reporter)
        with terminated_as_interrupted(), reporter.shows_progress():
            _set_mirrors()
            return command(*args, reporter=reporter, **kwargs)

    wrap.__name__, wrap.__doc__ = command.__name__, command.__doc__
    wrap.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    verbose = click.option(*verbose_flags, "verbose", is_flag=True, help="Say more, on standard error.")
    quiet = click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings and errors.")
    shown = click.option(
        "--progress",
        type=click.Choice(["auto", "tty", "plain", "quiet"]),
        default="auto",
        show_default=True,
        help="Progress on standard error: bars (tty), lines (plain) or none (quiet); auto draws bars on a terminal.",
    )
    decorated: Any = quiet(verbose(shown(wrap)))
    return cast(Command, decorated)


def _with_spec(options: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Make one path of `-f`, of the argument SPEC, of a spec in the place of another argument, and of a search."""
    from packager.spec.find import chosen_spec, looks_like_spec

    options = dict(options)
    named = options.pop("spec", None)
    if named == Path("help") and not named.exists():
        context = click.get_current_context()
        click.echo(context.get_help())
        context.exit()
    for name in ("reference", "references", "names"):
        given = options.get(name)
        words = given if isinstance(given, tuple) else (given,)
        spec = next((each for each in words if each and looks_like_spec(each)), None)
        if spec is not None:
            named = Path(spec)
            options[name] = tuple(each for each in given if each != spec) if isinstance(given, tuple) else None
    click.get_current_context().meta[_NAMED] = options["file"] is not None or named is not None
    options["file"] = chosen_spec(options["file"], named, reporter.step, reporter.warn)
    return options


#: Where a command keeps whether its spec is one that somebody named.
_NAMED = "packager.spec_named"

file_option = click.option(
    "-f",
    "--file",
    "file",
    type=click.Path(path_type=Path),
    help="The spec, or its folder (default: packager.yaml or packager.yml here, else in the nearest folder above).",
)

#: For verbs that take no other arguments; `standard_options` makes one path of it and `-f`.
spec_argument = click.argument("spec", required=False, type=click.Path(path_type=Path), metavar="[SPEC]")

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

no_test_option = click.option("--no-test", is_flag=True, help="Push without running the spec's tests, and say so.")

target_option = click.option(
    "--target",
    "target",
    metavar="NAME",
    shell_complete=complete.targets,
    help="One target of the spec (default: all).",
)

platform_option = click.option(
    "--platform", "platform", metavar="OS/ARCH", help="One platform of the target (default: its first)."
)

build_option = click.option(
    "--build", "build_first", is_flag=True, help="Build the image first, so that it is of the files as they are now."
)

base_option = click.option(
    "--base",
    "base",
    metavar="REF",
    help="Another base for this run: at a registry, in the engine, oci:DIR, oci-archive:FILE, docker-archive:FILE.",
)


def build_wish(build_first: bool, base: str | None, target: str | None, platform: str | None = None) -> Any:
    """Return how `--build` builds, as a `BuildWish`; None without it.

    Raises:
        UsageError: `--base` without it.
    """
    from packager.errors import UsageError

    if not build_first:
        if base is not None:
            raise UsageError("--base says on what to build, and nothing is built", remedy="add --build")
        return None
    from packager.steps.build import BuildWish

    builder = user_settings().builder
    return BuildWish(target=target, base=base, builder=builder, platforms=(platform,) if platform else ())


def user_settings() -> Any:
    """Return the `Settings` of this user.

    Raises:
        SpecError, UsageError: the file, or a variable, is wrong.
    """
    from packager.steps.settings import current_settings

    return current_settings(os.environ)


def _set_mirrors() -> None:
    """Put the mirrors of the user's file under those of the variable, at which all that asks registries looks."""
    # Most people have no such file, and a short command imports little.
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    folder = folder if folder.startswith("/") else os.path.expanduser("~/.config")
    if not os.path.exists(os.path.join(folder, "packager/config.yaml")):
        return
    if mirrors := user_settings().mirrors:
        set_for_this_run("PACKAGER_REGISTRY_MIRROR", ",".join(f"{each}={host}" for each, host in mirrors.items()))


def load_spec(file: Path) -> Any:
    """Return a spec with the user's defaults where it says nothing, for what is built and run on this machine.

    Raises:
        SpecError, UsageError: the spec, the user's file or a variable is wrong.
    """
    from packager.spec.load import load_spec as load
    from packager.steps.settings import with_settings

    return with_settings(load(file), user_settings())


def spec_beside(file: Path, *, needed: bool) -> Any:
    """Return the spec; None where none is needed, and there is none that is whole under the name that nobody chose.

    Raises:
        SpecError: it is not valid.
    """
    from packager.errors import PackagerError

    if needed or was_named():
        return load_spec(file)
    try:
        return load_spec(file)
    except PackagerError:
        return None


def was_named() -> bool:
    """Whether the spec is one that somebody named; else it was found, and may be there by chance."""
    return bool(click.get_current_context().meta.get(_NAMED))


def refuse_spec(why: str) -> None:
    """Refuse a spec that somebody named.

    Args:
        why: there is none, in words.

    Raises:
        UsageError: one is named.
    """
    from packager.errors import UsageError

    if was_named():
        raise UsageError(f"a spec is named, and {why}", remedy="leave -f out")


dialect_option = click.option(
    "--dialect",
    type=click.Choice(["plain", "buildkit"]),
    help="plain leaves out what only BuildKit reads: for older engines, podman, buildah, kaniko (default: the spec's).",
)


def image_options(command: Command) -> Command:
    """Add what says which image of which spec, with which base: SPEC, `--file`, `--target`, `--platform` …."""
    for option in (
        spec_workspace_option,
        insecure_option,
        base_option,
        platform_option,
        target_option,
        file_option,
        spec_argument,
    ):
        command = option(command)
    return command


def emit(text: str, *, paint: bool = False) -> None:
    """Write a result to standard output; of control characters it shows the names.

    Args:
        text: the result.
        paint: its lines are findings or tests, which are coloured on a terminal.
    """
    coloured = paint and is_coloured(sys.stdout)
    click.echo(painted(visible(text)) if coloured else visible(text), color=coloured)


def emit_json(value: Mapping[str, Any] | list[Any]) -> None:
    """Write a result to standard output as indented JSON."""
    import json

    context = click.get_current_context(silent=True)
    if context is not None and isinstance(context.obj, Answer):
        context.obj.given = True
    # In JSON's own form, so that the value stays the same.
    click.echo(visible(json.dumps(value, indent=2, ensure_ascii=False), lambda each: json.dumps(each)[1:-1]))


def emit_json_line(value: Mapping[str, Any]) -> None:
    """Write one of several results to standard output as a line of JSON, at once."""
    import json

    context = click.get_current_context(silent=True)
    if context is not None and isinstance(context.obj, Answer):
        context.obj.given = True
    click.echo(visible(json.dumps(value, ensure_ascii=False), lambda each: json.dumps(each)[1:-1]))


def count(number: int, noun: str) -> str:
    """Return `1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def pairs(option: str, values: tuple[str, ...]) -> dict[str, str]:
    """Return `NAME=VALUE` options as a mapping; of a build argument, the name alone is one.

    Raises:
        UsageError: one is not of that form.
    """
    from packager.errors import UsageError

    found = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not name or (not equals and option != "--build-arg"):
            raise UsageError(f"{option} {value!r} is not NAME=VALUE")
        found[name] = text
    return found
