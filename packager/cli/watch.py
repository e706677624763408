"""`packager watch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli import common, complete
from packager.cli.run import one_port, variables

if TYPE_CHECKING:
    from packager.steps.watch import Event


@click.command("watch")
@click.option("--model", "model", metavar="NAME", help="The registered model (default: the spec's, where it is one).")
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="KEY[=VALUE]",
    help="Tag that a version must have, such as stage=production (repeatable).",
)
@click.option(
    "--service",
    metavar="NAME",
    shell_complete=complete.services,
    help="Update this service; it is deployed where it is not there.",
)
@click.option(
    "--deploy",
    "deploy",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Make the files in this folder, which `packager deploy` wrote, for the new image.",
)
@click.option("--apply", is_flag=True, help="With --deploy: put them into force, and wait until it is healthy.")
@click.option(
    "--exec", "command", metavar="CMD", help="Run this command of a shell, with PACKAGER_IMAGE and PACKAGER_MODEL_*."
)
@click.option("--push", is_flag=True, help="Push the image, once it passed its tests.")
@click.option("--once", is_flag=True, help="Look once; exit with 1 where nothing is newer.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Between two looks (default: 1 for a folder, 5 for a registry).",
)
@click.option(
    "--retry",
    multiple=True,
    type=click.IntRange(min=1),
    metavar="VERSION",
    help="Try a bad version again (repeatable).",
)
@click.option(
    "-p",
    "--publish",
    multiple=True,
    callback=one_port,
    metavar="[[ADDR:]PORT:]CPORT",
    help="Of a service that is deployed; see `packager service deploy`.",
)
@click.option("-e", "--env", "env", multiple=True, metavar="NAME[=VALUE]", help="Variable (repeatable).")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds until it must be healthy (default: 120, or what the spec's probes let a start take).",
)
@common.file_option
@common.spec_workspace_option
@common.target_option
@common.base_option
@common.no_docker_option
@common.insecure_option
@common.format_option
@common.standard_options
def command(
    file: Path,
    env: tuple[str, ...],
    no_docker: bool,
    output_format: str,
    reporter: common.Reporter,
    **wishes: Any,
) -> None:
    """Deliver each newer version of a registered model: lock, build, test, push, update, in this order.

    The model is one that the spec names without a version. Whenever its workspace, a folder or a registry, has a newer
    version (with the tags of --tag), the lock takes it, the image is built, the spec's tests are run, and the service
    is updated, which loses no request. Of several newer versions the newest is delivered.

    A version that fails is kept out, said once, and not tried again until --retry names it; the lock is put back, and
    what runs, runs on. A registry or an engine that does not answer is said once, and waited for in growing pauses. It
    may be ended at any time, also by kill -9: what was under way is put back at the next start, and tried again.

    It goes on until Ctrl-C. With --once the exit code says what happened: 0 something was delivered, 1 nothing was
    newer, else why the newest version is bad, or what does not answer.

    --deploy makes the files of a platform anew, in the folder where `packager deploy` wrote them, for whoever commits
    them; --apply puts them into force.

    --exec runs where there is no service of packager's: PACKAGER_IMAGE is the image (with its digest, after --push),
    PACKAGER_MODEL_NAME and PACKAGER_MODEL_VERSION the model. One that ends with 75 is tried again; with any other code
    but 0 the version is bad.

    --format json prints a line for each event.
    """
    import msgspec

    from packager.steps.watch import WatchWish, watch

    said = False

    def tell(event: Event) -> None:
        nonlocal said
        if output_format == "json":
            common.emit_json_line(msgspec.to_builtins(event))
            return
        match event.event:
            case "bad" if wish.once and not said:
                # The error that ends the verb is this one's, and tells all of it.
                said = True
                first, *_, last = event.message.splitlines()
                reporter.warn(f"{first.partition(': ')[0]}\n{last}")
            case "bad" | "away":
                reporter.warn(event.message)
            case "delivered":
                common.emit(" ".join(filter(None, (event.message, event.url or event.image))))
            case "step":
                reporter.detail(f"{event.step}: {event.seconds:.1f} s")
            case _:
                reporter.step(event.message)

    wish = WatchWish(env=variables(env), docker=not no_docker, **wishes)
    done = watch(common.load_spec(file), wish, on_event=tell, reporter=reporter)
    if wish.once and done is None:
        raise click.exceptions.Exit(1)
