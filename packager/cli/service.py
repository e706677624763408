"""`packager service`: what deploys, replaces, pauses and removes named services."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli import complete
from packager.cli.common import (
    Reporter,
    base_option,
    build_option,
    build_wish,
    emit,
    emit_json,
    file_option,
    format_option,
    insecure_option,
    no_docker_option,
    spec_beside,
    spec_workspace_option,
    standard_options,
    target_option,
)
from packager.cli.deployed import asked_for, inference_option, models_option, service_data, show_deployed
from packager.cli.registered import open_workspace
from packager.cli.run import keys_option, one_port, run_wish, variables
from packager.cli.service_shown import (
    keys_command,
    list_command,
    logs_command,
    named,
    score_command,
    show_command,
    version_option,
)
from packager.cli.service_v1 import (
    get_access_token_command,
    get_keys_command,
    get_logs_command,
    regen_key_command,
    run_command,
)

if TYPE_CHECKING:
    from packager.serving.status import Status

_limits = (
    click.option("-e", "--env", "env", multiple=True, metavar="NAME[=VALUE]", help="Variable (repeatable)."),
    click.option(
        "--memory", metavar="SIZE", help="Memory limit, such as 512m or 2g (default: of the spec's `service:`)."
    ),
    click.option(
        "--cpus",
        type=click.FloatRange(min=0.01),
        metavar="N",
        help="Processors, such as 0.5 (default: of the spec's `service:`).",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        help="Seconds until it must be healthy (default: 120, or what the spec's probes let a start take).",
    ),
)


def _limit_options(command: Any) -> Any:
    for option in reversed(_limits):
        command = option(command)
    return command


@click.group("service")
def command() -> None:
    """Services by name: they outlive this program and restarts of the engine, and are replaced without losing requests.

    A service is two containers and a network: the image, and a small one that owns the port and passes requests on.
    With --no-docker it is two processes of this machine, and ends with it.

    It may have several versions behind its one address, each with a share of the requests.
    """


for _each in (
    *(list_command, show_command, logs_command, score_command, keys_command),
    *(run_command, get_logs_command, get_keys_command, regen_key_command, get_access_token_command),
):
    command.add_command(_each)


@command.command("deploy")
@click.argument("name", shell_complete=complete.services)
@click.argument("reference", required=False, metavar="[REF]", shell_complete=complete.references)
@file_option
@spec_workspace_option
@insecure_option
@target_option
@click.option(
    "-p",
    "--publish",
    multiple=True,
    callback=one_port,
    metavar="[[ADDR:]PORT:]CPORT",
    help="As of `packager run`; port 0 takes a free one and keeps it. On 127.0.0.1 unless an address is given.",
)
@click.option(
    "--version",
    "version",
    metavar="VERSION",
    help="Name of the version: in a service that is there, it is added beside the others, at the service's address.",
)
@click.option(
    "--traffic",
    type=click.IntRange(0, 100),
    metavar="PERCENT",
    help="Share of the requests that the version gets; the others keep their proportions.  [default: 0, alone 100]",
)
@keys_option
@_limit_options
@no_docker_option
@build_option
@base_option
@click.option("--no-devices", is_flag=True, help="Start it without the GPUs that the spec's `service:` asks for.")
@format_option
@standard_options
def deploy(
    name: str,
    reference: str | None,
    file: Path,
    target: str | None,
    version: str | None,
    traffic: int | None,
    output_format: str,
    reporter: Reporter,
    **options: Any,
) -> None:
    """Start the image as service NAME, wait until it is healthy, and print the URL to post requests to.

    Without REF it is the first reference of the spec. With --version it is one of several versions behind one address.
    What ran in NAME before is the version `default`. A version that gets no share answers requests that ask for it.
    """
    from packager.steps import service as services
    from packager.steps.example import Caller, example_lines, spec_of

    wish = run_wish(reference, target, options)
    spec_file = spec_beside(file, needed=wish.reference is None or not wish.docker)
    status = services.deploy(name, wish, spec_file, version=version, traffic=traffic, reporter=reporter)
    _show(status, output_format, reporter)
    if reporter.verbosity < 0:
        return
    key = services.show_keys(name).primary if status.auth == "key" else None
    # The second word of its first line, whatever shell it is.
    command = f"packager service keys {name} | awk 'NR==1 {{print $2}}'" if key is not None else ""
    caller = Caller(url=status.scoring_url, service=name, key_command=command)
    for line in example_lines(caller, spec_of(spec_file, wish.reference), status.swagger_url, key):
        reporter.step(line)


@command.command("update")
@click.argument("name", shell_complete=complete.services)
@click.argument("reference", required=False, metavar="[REF]", shell_complete=complete.references)
@models_option
@inference_option
@version_option
@insecure_option
@file_option
@spec_workspace_option
@_limit_options
@build_option
@base_option
@format_option
@standard_options
def update(
    name: str,
    reference: str | None,
    models: tuple[str, ...],
    inference: Path | None,
    file: Path,
    output_format: str,
    reporter: Reporter,
    **options: Any,
) -> None:
    """Replace what service NAME runs, without losing a request.

    Without REF it is the image of the same reference as before, as it is now. Nothing is built without --build; where
    the image is not of the files as they are now, that is said. Limits and variables stay unless others are given, here
    or by the `service:` section of the spec, where that is of the image. When the new one does not become healthy, the
    old one has never stopped serving, and goes on.

    With -m or --ic it is one of `packager model deploy`: its image is made again with other models, or another script.
    """
    from packager.errors import UsageError
    from packager.steps import service as services

    env, memory, cpus = variables(options["env"]), options["memory"], options["cpus"]
    change = services.Change(reference=reference, env=env, memory=memory, cpus=cpus)
    version, timeout = options["version"], options["timeout"]
    build = build_wish(options["build_first"], options["base"], None)
    if models or inference is not None:
        from packager.steps import v1_deploy

        if reference is not None or build is not None:
            given = f"{reference} is an image" if reference is not None else "--build builds that of a spec"
            raise UsageError(f"{given}, and -m and --ic make one", remedy="leave one of them out")
        asked, opened = asked_for(models, inference), open_workspace(None, reporter)
        done = v1_deploy.update(opened, name, asked, change, version=version, timeout=timeout, reporter=reporter)
        show_deployed(done, output_format, reporter, whole=False)
        return
    spec_file = spec_beside(file, needed=False)
    status = services.update(name, change, spec_file, version=version, timeout=timeout, build=build, reporter=reporter)
    _show(status, output_format, reporter)


@command.command("traffic")
@click.argument("name", shell_complete=complete.services)
@click.argument("shares", nargs=-1, metavar="[VERSION=PERCENT]...", shell_complete=complete.service_shares)
@format_option
@standard_options
def traffic(name: str, shares: tuple[str, ...], output_format: str, reporter: Reporter) -> None:
    """Share the requests to service NAME among its versions, and print the shares; without any, print them alone.

    The shares sum to 100, and a version that is not named gets nothing. They hold from the next request on, and none is
    lost. Which version a request goes to is by chance; `azureml-model-deployment: VERSION` in it asks for one, and each
    answer has that header.
    """
    from packager.steps import service as services

    status = services.set_traffic(named(name), shares) if shares else services.look(named(name))
    if output_format == "json":
        emit_json(service_data(status))
        return
    for version, share in services.traffic_of(status).items():
        emit(f"{version}={share}")
    if not status.versions:
        reporter.step(f"{name} has no versions: `packager service deploy {name} REF --version VERSION` adds one")


_again_options = (
    click.option(
        "-e",
        "--env",
        "env",
        multiple=True,
        metavar="NAME[=VALUE]",
        help="Variable of a service without Docker whose value went with its process (repeatable).",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=120.0,
        show_default=True,
        help="Seconds until it must be healthy.",
    ),
)


def _again(command: Any) -> Any:
    for option in reversed(_again_options):
        command = option(command)
    return command


@command.command("rollback")
@click.argument("name", shell_complete=complete.services)
@version_option
@_again
@format_option
@standard_options
def rollback(
    name: str, version: str | None, env: tuple[str, ...], timeout: float, output_format: str, reporter: Reporter
) -> None:
    """Let service NAME run again what it ran before its last update, without losing a request.

    What it ran is kept, ended, with its limits and variables, until the next update; so is what it runs now, and a
    second rollback undoes the first. When it does not become healthy, what runs has never stopped serving.
    """
    from packager.steps import service as services

    status = services.rollback(name, variables(env), version=version, timeout=timeout, reporter=reporter)
    _show(status, output_format, reporter)


@command.command("stop")
@click.argument("name")
@standard_options
def stop(name: str, reporter: Reporter) -> None:
    """End service NAME for a while; requests in flight are finished first.

    Its name, its keys and what it runs stay; its port is free meanwhile. A restart of the engine does not start it.
    """
    from packager.steps import service as services

    services.stop(name)
    reporter.step(f"{name} is stopped; packager service start {name} starts it again")


@command.command("start")
@click.argument("name")
@version_option
@_again
@format_option
@standard_options
def start(
    name: str, version: str | None, env: tuple[str, ...], timeout: float, output_format: str, reporter: Reporter
) -> None:
    """Start service NAME again, which was stopped or ended by itself, at its port, and wait until it is healthy.

    With --version it is that version alone, which ended while the others go on.
    """
    from packager.steps import service as services

    status = services.start(name, variables(env), version=version, timeout=timeout, reporter=reporter)
    _show(status, output_format, reporter)


@command.command("delete")
@click.argument("name", shell_complete=complete.services)
@version_option
@standard_options
def delete(name: str, version: str | None, reporter: Reporter) -> None:
    """Remove service NAME, or a version of it that gets no requests; those in flight are finished first."""
    from packager.steps.service import delete as delete_step

    delete_step(named(name), version=version, reporter=reporter)
    reporter.step(f"version {version} of {name} is removed" if version else f"{name} is removed")


def _show(status: Status, output_format: str, reporter: Reporter) -> None:
    reporter.step(f"{status.state}: {status.name} runs {status.shown}")
    if output_format == "json":
        emit_json(service_data(status))
        return
    reporter.step(f"swagger: {status.swagger_url}")
    if status.auth == "key":
        reporter.step(f"requests need a key: packager service keys {status.name}")
    emit(status.scoring_url)
