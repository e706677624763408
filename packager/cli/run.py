"""`packager run`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
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
    one_target,
    standard_options,
    target_option,
)

if TYPE_CHECKING:
    from packager.serving.host import Host
    from packager.serving.service import Package, Request, Service

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
    from packager.serving.serve import follow, serve
    from packager.serving.service import container_name

    if options["no_docker"]:
        refuse_dockers(reference, options, ("memory", "name", "detach"))
    else:
        memory_limit(options["memory"])
    package = served_package(reference, file, target, options, reporter, devices=not options["no_devices"])
    detach, name = options["detach"], options["name"]
    if options["no_docker"]:
        name = package.title
    elif name is None:
        name = container_name(re.split("[:@]", package.title.rpartition("/")[2])[0])
    host, request = served_request(package, name, options, reporter, devices=not options["no_devices"], detach=detach)
    reporter.step(f"starting {package.title}" + (f"; {package.note}" if package.note else ""))
    started = serve(host, request, timeout=options["timeout"], waiting=say_waiting(reporter))
    with terminated_as_interrupted(), started as (service, server):
        try:
            reporter.step(f"healthy after {service.seconds:.1f} s, {service.unit}")
            if request.keys is not None:
                reporter.step(f"requests need a key: {service.key_hint}")
            hint = f"to stop it: docker rm --force --volumes {service.name}" if detach else "Ctrl-C stops it"
            show_service(service, output_format)
            reporter.step(hint)
            if not detach:
                follow(server, lambda chunk: click.echo(chunk, nl=False, err=True))
        except KeyboardInterrupt:
            if detach:
                raise
            reporter.step("stopping")


def served_package(
    reference: str | None,
    file: Path,
    target: str | None,
    options: dict[str, Any],
    reporter: Reporter,
    *,
    devices: bool = False,
) -> Package:
    """Return what `run` and `service deploy` serve: an image of the engine, or with `--no-docker` the spec's package.

    Raises:
        UsageError: `-p` is wrong, or with `--no-docker` a device is missing.
        EngineError: no engine, or no such image.
        PackagerError: the package cannot be made.
    """
    from packager.cli.push import spec_references
    from packager.serving.hosts.docker.image import packaged_image
    from packager.serving.hosts.process.package import package_here
    from packager.serving.service import DEFAULT_PORT, parse_publish
    from packager.spec.load import load_spec

    parse_publish(options["publish"], DEFAULT_PORT)  # a wrong one is told before anything is done
    variables(options["env"])
    if not options["no_docker"]:
        return packaged_image(reference or spec_references(file, target)[0])
    spec_file = load_spec(file)
    return package_here(spec_file, one_target(spec_file, target), devices=devices, say=reporter.step)


def served_request(
    package: Package,
    name: str,
    options: dict[str, Any],
    reporter: Reporter,
    *,
    devices: bool = False,
    **engine_options: Any,
) -> tuple[Host[Any], Request]:
    """Return where a package is to be served, and how; whoever may use it beyond this machine is told.

    Raises:
        UsageError: a key cannot be one, none is asked for, or a device is missing.
    """
    from packager.serving.hosts.choose import request_of
    from packager.serving.hosts.docker.image import ImagePackage, image_devices
    from packager.serving.keys import keys_for
    from packager.serving.service import parse_publish

    if devices and isinstance(package, ImagePackage):
        engine_options["gpus"], engine_options["devices"] = image_devices(package)
    key_file, env = options["key_file"], variables(options["env"])
    keys = keys_for(package, key_file.read(1 << 16) if key_file is not None else None, os.environ, env)
    publish = parse_publish(options["publish"], package.port)
    warn_of_strangers(name, publish.address, keys is not None, reporter)
    return request_of(package, name, publish, env=env, keys=keys, memory=options["memory"], **engine_options)


def refuse_dockers(reference: str | None, options: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse with --no-docker what only a container has.

    Raises:
        UsageError: one of these options, or an image, is given.
    """
    from packager.errors import UsageError

    if reference is not None:
        raise UsageError(
            f"{reference} is an image, and --no-docker runs the package of the spec", remedy="leave one of them out"
        )
    for name in names:
        if options[name]:
            service = "; `packager service deploy NAME --no-docker` leaves it running"
            raise UsageError(
                f"--{name} has no meaning with --no-docker, which starts no container",
                remedy=f"leave one of them out{service if name in ('detach', 'name') else ''}",
            )


def memory_limit(text: str | None) -> str | None:
    """Return what `--memory` gives.

    Raises:
        UsageError: it is no size.
    """
    from packager.errors import UsageError

    if text is not None and not re.fullmatch(MEMORY, text, re.IGNORECASE):
        raise UsageError(f"--memory {text!r} is not a size", remedy="such as 512m or 2g")
    return text


def warn_of_strangers(name: str, address: str | None, keys: bool, reporter: Reporter) -> None:
    """Say who can use what is published beyond this machine."""
    if address in (None, "127.0.0.1", "::1"):
        return
    who = "has a key" if keys else "reaches that address"
    more = "" if keys else "; requests need no key (`server: {auth: key}` in the spec)"
    reporter.warn(f"{name} is published on {address}: whoever {who} can use it{more}, and nothing is encrypted")


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
