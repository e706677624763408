"""`packager run`."""

from __future__ import annotations

import os
from collections.abc import Mapping
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

if TYPE_CHECKING:
    from packager.serving.service import Service
    from packager.steps.run import RunWish

keys_option = click.option(
    "--key-file",
    type=click.File("r"),
    metavar="FILE|-",
    help="Keys that requests need, where the spec has `server: {auth: key}`: the primary one, and in a second line the "
    "secondary one. Else PACKAGER_PRIMARY_KEY and PACKAGER_SECONDARY_KEY of this machine; those not given are made.",
)


def one_port(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> str | None:
    """Return the one port that is published.

    Raises:
        UsageError: several are given, and a package serves on one.
    """
    from packager.errors import UsageError

    if len(given) > 1:
        raise UsageError(f"-p is given {len(given)} times, and one port serves", remedy=f"keep one: -p {given[-1]}")
    return given[0] if given else None


@click.command("run")
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
    help="Port of this machine and of the container, such as 6789:5001; port 0 is any free one. Default: the image's "
    "port under its own number. On 127.0.0.1 unless an address is given.",
)
@click.option(
    "-e", "--env", "env", multiple=True, metavar="NAME[=VALUE]", help="Variable of the container (repeatable)."
)
@click.option("--name", metavar="NAME", help="Name of the container.")
@click.option("-d", "--detach", is_flag=True, help="Leave it running and return as soon as it is healthy.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds until it must be healthy (default: 120, or what the spec's probes let a start take).",
)
@click.option("--memory", metavar="SIZE", help="Memory limit, such as 512m or 2g (default: of the spec's `service:`).")
@click.option(
    "--cpus",
    type=click.FloatRange(min=0.01),
    metavar="N",
    help="Processors, such as 0.5 (default: of the spec's `service:`).",
)
@no_docker_option
@build_option
@base_option
@keys_option
@click.option("--no-devices", is_flag=True, help="Start it without the GPUs and devices that its target asks for.")
@format_option
@standard_options
def command(
    reference: str | None, file: Path, target: str | None, output_format: str, reporter: Reporter, **options: Any
) -> None:
    """Start an image, wait until it is healthy, and print the URL to post requests to.

    Without REF it is the first reference of the spec. It runs as in production: read-only, without capabilities, with
    a /tmp in memory, and with the GPUs and devices that its target asks for. Its log goes to standard error until
    Ctrl-C stops and removes it; with -d it stays. With --no-docker no image is needed: the app and the models are laid
    out as in the image, and served by the locked environment.
    """
    from packager.interruption import terminated_as_interrupted
    from packager.steps.example import Caller, example_lines, spec_of
    from packager.steps.run import follow, start

    wish, detach = run_wish(reference, target, options, detach=options["detach"]), options["detach"]
    spec_file = spec_beside(file, needed=wish.reference is None or not wish.docker)
    with terminated_as_interrupted(), start(wish, spec_file, reporter=reporter) as (service, server):
        try:
            reporter.step(f"healthy after {service.seconds:.1f} s, {service.unit}")
            if service.keys is not None:
                reporter.step(f"requests need a key: {service.key_hint}")
            hint = f"to stop it: docker rm --force --volumes {service.name}" if detach else "Ctrl-C stops it"
            show_service(service, output_format)
            if reporter.verbosity >= 0:
                caller = Caller(url=service.scoring_url, key_command=service.key_hint if service.keys else "")
                for line in example_lines(caller, spec_of(spec_file, wish.reference), service.swagger_url, service.key):
                    reporter.step(line)
            reporter.step(hint)
            if not detach:
                follow(server, lambda chunk: click.echo(chunk, nl=False, err=True))
        except KeyboardInterrupt:
            if detach:
                raise
            reporter.step("stopping")


def run_wish(reference: str | None, target: str | None, options: Mapping[str, Any], **more: Any) -> RunWish:
    """Return what the options of `run` and `service deploy` ask for."""
    from packager.steps.run import RunWish

    key_file = options["key_file"]
    return RunWish(
        reference=reference,
        target=target,
        docker=not options["no_docker"],
        publish=options["publish"],
        env=variables(options["env"]),
        keys=key_file.read(1 << 16) if key_file is not None else None,
        name=options.get("name"),
        memory=options["memory"],
        cpus=options.get("cpus"),
        devices=not options.get("no_devices", False),
        timeout=options["timeout"],
        build=build_wish(options["build_first"], options["base"], target),
        **more,
    )


def variables(values: tuple[str, ...]) -> dict[str, str]:
    """Return the variables that `-e` gives; a name alone takes this machine's value, where it has one."""
    from packager.errors import UsageError

    env = {}
    for each in values:
        name, equals, value = each.partition("=")
        if not name:
            raise UsageError(f"-e {each!r} is not NAME=VALUE")
        if equals or name in os.environ:
            env[name] = value if equals else os.environ[name]
    return env


def show_service(service: Service, output_format: str) -> None:
    """Print where a service is reached."""
    if output_format == "text":
        emit(service.scoring_url)
        return
    urls = {"root": service.url, "score": service.scoring_url, "swagger": service.swagger_url}
    emit_json({"container": service.container_id, "name": service.name, "urls": urls})
