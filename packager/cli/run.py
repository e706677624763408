"""`packager run`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli.common import (
    Reporter,
    emit,
    emit_json,
    file_option,
    format_option,
    no_docker_option,
    standard_options,
    target_option,
)

if TYPE_CHECKING:
    from typing import TextIO

    from packager.serving.service import KeyPair, RunRequest, Service

#: Docker's form of sizes (`docker run --memory`).
MEMORY = r"\d+[bkmg]?"

keys_option = click.option(
    "--key-file",
    type=click.File("r"),
    metavar="FILE|-",
    help="Keys that requests need, where the spec has `server: {auth: key}`: the primary one, and in a second line the "
    "secondary one. Else PACKAGER_PRIMARY_KEY and PACKAGER_SECONDARY_KEY of this machine; those not given are made.",
)


@click.command("run")
@click.argument("reference", required=False, metavar="[REF]")
@file_option
@target_option
@click.option(
    "-p",
    "--publish",
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
    default=120.0,
    show_default=True,
    help="Seconds until it must be healthy.",
)
@click.option("--memory", metavar="SIZE", help="Memory limit, such as 512m or 2g.")
@no_docker_option
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
    from packager.programs.image.keys import DEFAULT_PATH
    from packager.serving.hosts.docker.container import follow, serve

    if options["no_docker"]:
        from packager.cli.no_docker import run_here

        run_here(reference, file, target, output_format, reporter, options)
        return
    request = _request(reference, file, target, options)
    detach = options["detach"]
    warn_of_strangers(request.name, request.publish.address, request.keys is not None, reporter)
    reporter.step(f"starting {request.reference}")
    started = serve(request, timeout=options["timeout"], keep=detach, waiting=say_waiting(reporter))
    with terminated_as_interrupted(), started as (service, container):
        try:
            reporter.step(f"healthy after {service.seconds:.1f} s, container {service.name}")
            if request.keys is not None:
                reporter.step(f"requests need a key: docker exec {service.name} cat {DEFAULT_PATH}/primary")
            hint = f"to stop it: docker rm --force --volumes {service.name}" if detach else "Ctrl-C stops it"
            show_service(service, output_format)
            reporter.step(hint)
            if not detach:
                follow(container, lambda chunk: click.echo(chunk, nl=False, err=True))
        except KeyboardInterrupt:
            if detach:
                raise
            reporter.step("stopping")


def _request(reference: str | None, file: Path, target: str | None, options: dict[str, Any]) -> RunRequest:
    from packager.cli.push import spec_references
    from packager.errors import UsageError
    from packager.serving.service import DEFAULT_PORT, RunRequest, container_name, parse_publish

    memory = options["memory"]
    if memory is not None and not re.fullmatch(MEMORY, memory, re.IGNORECASE):
        raise UsageError(f"--memory {memory!r} is not a size", remedy="such as 512m or 2g")
    env = variables(options["env"])
    parse_publish(options["publish"], DEFAULT_PORT)  # a wrong one is told before the engine is asked
    if reference is None:
        reference = spec_references(file, target)[0]
    gpus, devices = (False, ()) if options["no_devices"] else image_devices(reference)
    return RunRequest(
        reference=reference,
        gpus=gpus,
        devices=devices,
        name=options["name"] or container_name(re.split("[:@]", reference.rpartition("/")[2])[0]),
        publish=parse_publish(options["publish"], image_port(reference)),
        env=env,
        memory=memory,
        keys=container_keys(reference, options["key_file"], env),
    )


def container_keys(reference: str, file: TextIO | None, env: dict[str, str]) -> KeyPair | None:
    """Return the keys for a container of an image: given, or made here; None where its requests need none.

    Raises:
        UsageError: one that is given cannot be a key, or the image asks for none.
        EngineError: no engine, or no such image.
    """
    from packager.serving.keys import keys_for

    return keys_for(reference, read_keys(file), os.environ, env)


def read_keys(file: TextIO | None) -> str | None:
    """Return the text of a key file; None where none is given."""
    return file.read(1 << 16) if file is not None else None


def warn_of_strangers(name: str, address: str | None, keys: bool, reporter: Reporter) -> None:
    """Say who can use what is published beyond this machine."""
    if address in (None, "127.0.0.1", "::1"):
        return
    who = "has a key" if keys else "reaches that address"
    more = "" if keys else "; requests need no key (`server: {auth: key}` in the spec)"
    reporter.warn(f"{name} is published on {address}: whoever {who} can use it{more}, and nothing is encrypted")


def image_port(reference: str) -> int:
    """Return the port of an image that the engine has: it knows its own, whichever spec made it.

    Raises:
        EngineError: no engine, or no such image.
    """
    from packager.engine.api import require_local
    from packager.serving.service import DEFAULT_PORT

    ports = require_local(reference).ports
    return ports[0] if len(ports) == 1 else DEFAULT_PORT


def image_devices(reference: str) -> tuple[bool, tuple[str, ...]]:
    """Return whether an image that the engine has asks for GPUs, and the device files of this machine that it asks for.

    Raises:
        EngineError: no engine, or no such image.
        UsageError: this machine lacks a device.
    """
    from glob import glob

    from packager.engine.api import require_local
    from packager.errors import UsageError
    from packager.plan.plan import DEVICES_LABEL, GPUS_LABEL

    labels = require_local(reference).labels
    found: list[str] = []
    for pattern in filter(None, labels.get(DEVICES_LABEL, "").split(",")):
        here = sorted(glob(pattern))
        if not here:
            raise UsageError(
                f"{reference} asks for the device {pattern}, and this machine has none",
                remedy="run it where the device is, or start it without: --no-devices",
            )
        found += here
    return GPUS_LABEL in labels, tuple(found)


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


def say_waiting(reporter: Reporter) -> Callable[[float], None]:
    """Say every ten seconds that it still goes on."""
    said = 0.0

    def say(seconds: float) -> None:
        nonlocal said
        if seconds - said >= 10:
            said = seconds
            reporter.step(f"not healthy yet after {seconds:.0f} s")

    return say
