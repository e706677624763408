"""The command line: one module a verb, imported only when that verb runs (`packager --help` stays fast)."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

import click

from packager import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from packager.cli.common import Answer

#: verb → its line in `--help`. The module of the same name has the function `command`.
VERBS = {
    "init": "Look at a folder and write a commented spec for it.",
    "lock": "Solve the environment and write the lock.",
    "environment": "List curated environments, compare locks, lay a locked environment down here.",
    "target": "List and show targets, and start one of your own.",
    "export": "Print the lock in a format of other tools.",
    "check": "Find what is wrong with spec, lock, entry script, models and Dockerfile.",
    "plan": "Show what each layer of the image will hold.",
    "render": "Print the Dockerfile.",
    "save": "Write the build context to a folder or an archive.",
    "verify": "Recompute every digest of a saved build context.",
    "build": "Build the image, without an engine where nothing has to run in a container.",
    "bake": "Write a docker-bake.json for many images at once.",
    "push": "Push image references that the engine has to their registries.",
    "pull": "Fetch an image into a folder or file, without an engine.",
    "inspect": "Show what is in an image, without an engine.",
    "run": "Start the image and wait until it is healthy.",
    "test": "Start the image, and hold its answers against the spec's tests.",
    "service": "Deploy, update and delete named services.",
    "score": "Post a request to a running service and print the answer.",
    "store": "Show, check and clean what is kept on this machine.",
    "completion": "Print the script by which bash, zsh or fish completes verbs, options and names.",
    "config": "Show your defaults for this machine, and where each comes from.",
    "schema": "Print the JSON Schema of the spec, of your defaults, or of a verb's JSON.",
    "doctor": "Say which tools are there, and what to do about what is not.",
}


class _Verbs(click.Group):
    """A group that knows its verbs' names and help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = import_module(f"packager.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], VERBS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else f" Verbs: {', '.join(VERBS)}."
            raise click.UsageError(f"No such verb {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a verb without importing all of them."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        from click.shell_completion import CompletionItem

        return [CompletionItem(verb, help=text) for verb, text in VERBS.items() if verb.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="packager", message="%(prog)s %(version)s")
def cli() -> None:
    """Turn a model, an entry script and an environment file into a locked, reproducible container image."""


def main() -> None:
    """Run the command line; the exit code is that of the error's class (see `packager.errors`)."""
    import gc

    from packager.cli.common import Answer
    from packager.errors import PackagerError
    from packager.units import visible

    answer = Answer()

    # Imports make tens of thousands of objects and no garbage: looking for some all the while takes a tenth of the time
    # of a short command.
    gc.set_threshold(50_000)
    try:
        code = cli.main(standalone_mode=False, obj=answer)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        _show_failure(answer, error)
        _end(_say("interrupted", 130))
    except click.ClickException as error:
        _show_failure(answer, error)
        # Its message holds words of the command line, and of names that were found.
        error.show(file=(shown := io.StringIO()))
        click.echo(visible(shown.getvalue()), err=True, nl=False)
        sys.exit(2 if isinstance(error, click.UsageError) else error.exit_code)
    except PackagerError as error:
        _show_failure(answer, error)
        sys.exit(_say(f"error: {error}", error.exit_code))
    except BrokenPipeError:
        # The reader of our standard output went away (`packager plan | head`): nobody is left to tell.
        sys.stderr.close()
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _show_failure(answer: Answer, error: BaseException) -> None:
    """Write an error to standard output as JSON, where that was asked for and no result stands there."""
    from packager.cli.failure import as_data, json_is_asked

    if not answer.given and json_is_asked(sys.argv[1:]):
        from packager.cli.common import emit_json

        # Its reader may be gone; people are still told.
        with suppress(BrokenPipeError):
            emit_json(as_data(error))


def _end(code: int) -> NoReturn:
    """End at once, whatever other threads are still waiting for (a registry that does not answer)."""
    import threading

    waiting = [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]
    if waiting:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        # `sys.exit` waits for them. What they would leave undone was made undone where the interruption was caught.
        os._exit(code)
    sys.exit(code)


def _say(text: str, code: int) -> int:
    from packager.units import visible

    click.echo(visible(text), err=True)
    return code
