"""The command line: one module a verb, imported only when that verb runs (`packager --help` stays fast)."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from importlib import import_module
from keyword import iskeyword
from typing import TYPE_CHECKING, NoReturn

import click

from packager import __version__
from packager.cli.examples import FIRST_STEPS, WORDS, explain

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from packager.cli.answer import Answer

#: verb → its line in `--help`. The module of the same name has the function `command`.
VERBS = {
    "init": "Look at a folder and write a commented spec for it.",
    "import": "Turn files of Azure ML, v1 and v2, into a commented spec.",
    "lock": "Solve the environment and write the lock.",
    "model": "Register models by name and version; list, show, tag, download, compare, delete, profile them.",
    "environment": "Register and list environments, compare locks, lay a locked environment down here.",
    "workspace": "Make, list, choose and copy the places where models and environments are registered.",
    "image": "List the images that were made of what is registered.",
    "target": "List and show targets, and start one of your own.",
    "export": "Print the lock in a format of other tools.",
    "check": "Find what is wrong with spec, lock, entry script, models and Dockerfile.",
    "plan": "Show what each layer of the image will hold.",
    "tree": "Show the locked packages, what they need, and how large they are.",
    "why": "Say who needs a package.",
    "render": "Print the Dockerfile.",
    "save": "Write the build context to a folder or an archive.",
    "verify": "Recompute every digest of a saved build context.",
    "build": "Build the image, without an engine where nothing has to run in a container.",
    "bake": "Write a docker-bake.json for many images at once.",
    "push": "Push image references that the engine has to their registries.",
    "pull": "Fetch an image into a folder or file, without an engine.",
    "inspect": "Show what is in an image, without an engine.",
    "diff": "Say what differs between two of images, specs and locks.",
    "run": "Start the image and wait until it is healthy.",
    "test": "Start the image, and hold its answers against the spec's tests.",
    "batch": "Run the entry script over many files, rows or requests, and write one file of results.",
    "report": "Write a page about the package: what is in it, findings, tests, how to run it.",
    "deploy": "Write the files by which Kubernetes, Compose and others run the image, and apply them.",
    "service": "Deploy, update, roll back, stop and delete named services.",
    "ci": "Print a pipeline for GitHub, GitLab, Azure or Tekton.",
    "watch": "Deliver each newer version of a registered model, tested.",
    "score": "Post a request to a running service and print the answer.",
    "store": "Show, check and clean what is kept on this machine.",
    "completion": "Print the script by which bash, zsh or fish completes verbs, options and names.",
    "config": "Show your defaults for this machine, and where each comes from.",
    "schema": "Print the JSON Schema of the spec, of your defaults, or of a verb's JSON.",
    "doctor": "Say which tools are there, and what to do about what is not.",
}

#: What people type who come from elsewhere → what does that here.
ELSEWHERE = {
    "undeploy": "packager service delete NAME",
    "update": "packager service update NAME",
    "rollback": "packager service rollback NAME",
    "start": "packager service start NAME",
    "stop": "packager service stop NAME",
    "logs": "packager service logs NAME",
    "ps": "packager service list",
    "ls": "packager service list",
    "list": "packager service list",
    "delete": "packager service delete NAME",
    "rm": "packager service delete NAME",
    "login": "docker login REGISTRY (packager reads the credentials that it keeps)",
    "logout": "docker logout REGISTRY (packager reads the credentials that it keeps)",
    "serve": "packager run",
    "up": "packager run",
    "predict": "packager score --data FILE",
    "invoke": "packager score --data FILE",
    "curl": "packager score --data FILE",
    "publish": "packager push",
    "upload": "packager push",
    "package": "packager build",
    "validate": "packager check",
    "lint": "packager check",
    "new": "packager init",
    "create": "packager init",
    "solve": "packager lock",
    "upgrade": "packager lock --upgrade",
    "add": "`environment:` in packager.yaml, then packager lock",
    "install": "packager environment create PREFIX",
    "sync": "packager environment create PREFIX",
    "shell": "packager environment run -- bash",
    "exec": "packager environment run -- CMD",
    "prune": "packager store gc",
    "clean": "packager store gc",
    "gc": "packager store gc",
    "cache": "packager store info",
    "dockerfile": "packager render",
    "containerize": "packager build",
    "containerise": "packager build",
    "download": "packager pull REF -o DIR, or packager model download NAME -t DIR",
    "register": "packager model register -n NAME -p PATH",
    "models": "packager model list",
    "profile": "packager model profile IMAGE --data FILE",
    "benchmark": "packager model profile IMAGE --data FILE",
    "images": "packager image list",
    "environments": "packager environment list",
    "workspaces": "packager workspace list",
    "show": "packager inspect REF",
    "pipeline": "packager ci github",
    "workflow": "packager ci github",
}


#: Verb and option that it does not have → what is so in its place.
OPTIONS_ELSEWHERE = {
    ("lock", "--target"): "the lock is that of all targets; `targets:` in packager.yaml names them",
    ("lock", "--platform"): "the lock is that of all platforms; `targets: {NAME: {platforms: […]}}` names them",
}


class _Verbs(click.Group):
    """A group that knows its verbs' names and help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        # A word of Python cannot be the name of a module.
        module = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command = import_module(f"packager.cli.{module}").command
        assert isinstance(command, click.Command)
        return explain(command, cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # As git, docker and uv have them: `help`, `help VERB` and `version`.
        if args[:1] == ["help"]:
            args = [*(each for each in args[1:] if each not in ("-h", "--help")), "--help"]
        elif args == ["version"]:
            args = ["--version"]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            meant = ELSEWHERE.get(args[0].lower())
            if meant is not None:
                raise click.UsageError(f"No such verb {args[0]!r}. Here it is: {meant}", ctx)
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

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("First steps"):
            formatter.write_text("\b\n" + "\n".join(FIRST_STEPS))
        with formatter.section("Words"):
            formatter.write_dl(list(WORDS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="packager", message="%(prog)s %(version)s")
def cli() -> None:
    """Turn a model, an entry script and an environment file into a locked, reproducible container image."""
    try:
        os.getcwd()
    except OSError as error:
        from packager.errors import UsageError

        raise UsageError(
            f"the current folder is not there any more ({error.strerror})", remedy="go to another"
        ) from None


def main() -> None:
    """Run the command line; the exit code is that of the error's class (see `packager.errors`)."""
    import gc

    # Imports make tens of thousands of objects and no garbage: looking for some all the while takes a tenth of the time
    # of a short command, and looking at all of them once more at its end a sixth.
    gc.set_threshold(50_000)
    try:
        _run()
    finally:
        gc.freeze()


def _run() -> None:
    from packager.cli.answer import Answer
    from packager.errors import PackagerError

    answer = Answer()
    try:
        code = cli.main(standalone_mode=False, obj=answer)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        _show_failure(answer, error)
        _end(_say("interrupted", 130))
    except click.ClickException as error:
        error = _said_instead(error)
        _show_failure(answer, error)
        # Its message holds words of the command line, and of names that were found.
        error.show(file=(shown := io.StringIO()))
        _say(shown.getvalue().rstrip("\n"), 2)
        sys.exit(2 if isinstance(error, click.UsageError) else error.exit_code)
    except PackagerError as error:
        _show_failure(answer, error)
        sys.exit(_say(f"error: {error}", error.exit_code))
    except BrokenPipeError:
        # The reader of our standard output went away (`packager plan | head`): nobody is left to tell.
        sys.stderr.close()
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _said_instead(error: click.ClickException) -> click.ClickException:
    """Say what does here what an option does on other verbs, in place of an option whose letters are alike."""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None and error.ctx.command.name is not None:
        said = OPTIONS_ELSEWHERE.get((error.ctx.command.name, error.option_name))
        if said is not None:
            return click.UsageError(f"{error.message}: {said}", error.ctx)
    return error


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
    from packager.cli.terminal import is_coloured, painted
    from packager.units import visible

    text, coloured = visible(text), is_coloured(sys.stderr)
    click.echo(painted(text) if coloured else text, err=True, color=coloured)
    return code
