"""The step `run`: an image of the engine, or the spec's package without Docker, started as in production."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from packager.builders.builder import BuildWish
from packager.contract import DEFAULT_PORT
from packager.engine.api import require_local
from packager.errors import UsageError
from packager.serving.host import Host
from packager.serving.hosts.choose import request_of
from packager.serving.hosts.docker.image import ImagePackage, image_devices, packaged_image
from packager.serving.keys import keys_for
from packager.serving.ports import parse_publish, require_port
from packager.serving.serve import follow, serve
from packager.serving.service import (
    Package,
    Publish,
    Request,
    Server,
    Service,
    container_name,
)
from packager.spec.load import SpecFile
from packager.steps.package import package_on_machine
from packager.steps.reporting import SILENT, Reporter
from packager.steps.selection import one_target, spec_references
from packager.steps.stale import build_first, warn_of_stale
from packager.steps.volumes import with_mounts
from packager.steps.wishes import Granted, grant

#: Docker's form of sizes (`docker run --memory`).
_MEMORY = re.compile(r"\d+[bkmg]?", re.IGNORECASE)


__all__ = ["RunWish", "follow", "run", "start"]


class RunWish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be started, and how.

    Attributes:
        reference: of an image that the engine has; the spec's first where None.
        target: one of the spec's targets.
        docker: False runs the spec's package in its locked environment on this machine, without Docker.
        publish: `[[ADDR:]PORT:]CPORT` as `docker run -p`; None publishes the image's port under its own number, `free`
            under a free one.
        env: variables beside the image's own.
        keys: text of a key file; keys of this machine's variables, or new ones, where None.
        name: of the container.
        detach: leave it running.
        memory: limit in Docker's form (`512m`), or in bytes; the spec's `service:` says it where None.
        cpus: limit in processors; the spec's where None.
        devices: give it the GPUs and devices that its target asks for.
        timeout: seconds until it must be healthy; 120, or what the spec's probes let it take, where None.
        build: build the image first, so.
    """

    reference: str | None = None
    target: str | None = None
    docker: bool = True
    publish: str | None = None
    env: dict[str, str] = {}
    keys: str | None = None
    name: str | None = None
    detach: bool = False
    memory: str | int | None = None
    cpus: float | None = None
    devices: bool = True
    timeout: float | None = None
    build: BuildWish | None = None


@contextmanager
def run(
    reference: str | None = None, *, spec_file: SpecFile | None = None, reporter: Reporter = SILENT, **wishes: Any
) -> Iterator[Service]:
    """Run an image as in production, and give the service (`url`, `scoring_url` …) once it is healthy.

        with packager.run("diabetes:1") as service:
            print(packager.score(service.scoring_url, b'{"data": [[1, 2]]}').body)

    Args:
        reference: of an image that the engine has; the spec's first where None.
        spec_file: the spec, where there is no reference.
        reporter: is told what is done.
        **wishes: other fields of `RunWish`; it is published on a free port of 127.0.0.1 unless `publish` says another.

    Raises:
        UsageError: something cannot be meant so.
        EngineError: no engine, or no such image.
        ServiceError: it ended, or did not answer in time; with the last lines of its log.
    """
    wish = RunWish(**{"reference": reference, "publish": "free", **wishes})
    with start(wish, spec_file, reporter=reporter) as (service, _server):
        yield service


@contextmanager
def start(
    wish: RunWish,
    spec_file: SpecFile | None = None,
    *,
    reporter: Reporter = SILENT,
) -> Iterator[tuple[Service, Server]]:
    """Start what is wished for, and give the service and its server once it is healthy; it ends with the `with`.

    Args:
        wish: what, and how.
        spec_file: the spec; needed where no image is named, and without Docker.
        reporter: is told what is done.

    Raises:
        UsageError, EngineError, ServiceError: see `run`.
        LockError, ContextError, TemporaryError: without Docker, its environment or files cannot be had.
    """
    if wish.docker:
        check_memory(wish.memory)
    else:
        refuse_without_docker(wish, ("memory", "cpus", "name", "detach", "build"))
    package = find_package(wish, spec_file, devices=wish.devices, reporter=reporter)
    granted = grant(spec_file, package, wish.env, reporter, cpus=wish.cpus is None)
    name = wish.name if wish.docker else package.title
    if name is None:
        name = container_name(re.split("[:@]", package.title.rpartition("/")[2])[0])
    host, request = request_for(wish, granted, name, devices=wish.devices, detach=wish.detach, reporter=reporter)
    reporter.step(f"starting {package.title}" + (f"; {package.note}" if package.note else ""))
    with serve(host, request, timeout=ready_in(wish, granted)) as running:
        yield running


def find_package(wish: RunWish, spec_file: SpecFile | None, *, devices: bool = False, reporter: Reporter) -> Package:
    """Return what is served: an image of the engine, or without Docker the spec's package.

    Raises:
        UsageError: `publish` is wrong, or without Docker a device is missing.
        EngineError: no engine, or no such image.
        LockError, ContextError, TemporaryError: without Docker, its environment or files cannot be had.
    """
    if wish.publish != "free":
        parse_publish(wish.publish, DEFAULT_PORT)  # a wrong one is told before anything is done
    if wish.docker and wish.build is not None:
        build_first(spec_file, wish.build, wish.reference or (), reporter)
    if wish.docker and wish.reference is not None:
        return _image_package(wish.reference, spec_file, reporter)
    assert spec_file is not None, "without an image there is a spec"
    if wish.docker:
        return _image_package(spec_references(spec_file, wish.target)[0], spec_file, reporter)
    return package_on_machine(spec_file, one_target(spec_file, wish.target), devices=devices, say=reporter.step)


def _image_package(reference: str, spec_file: SpecFile | None, reporter: Reporter) -> Package:
    package = with_mounts(packaged_image(reference), spec_file, say=reporter.step)
    warn_of_stale(spec_file, {reference: require_local(reference)}, reporter)
    return package


def request_for(
    wish: RunWish,
    granted: Granted,
    name: str,
    *,
    devices: bool = False,
    reporter: Reporter,
    **engine_options: Any,
) -> tuple[Host[Any], Request]:
    """Return where a package is to be served, and how; whoever may use it beyond this machine is told.

    Args:
        wish: what was asked for; it goes before what the spec asks for.
        granted: the package, and what it gets of what the spec asks for.
        name: of the container, or of the service.
        devices: give it the devices that its target asks for.
        reporter: is told.
        engine_options: the attributes of `ImageRequest` that a process does not have.

    Raises:
        UsageError: a key cannot be one, none is asked for, or a device is missing.
    """
    package, env = granted.package, {**granted.env, **wish.env}
    options = {**granted.engine_options, **engine_options}
    if not wish.devices:
        options["gpus"] = 0
    if devices and isinstance(package, ImagePackage):
        every, options["devices"] = image_devices(package)
        options["gpus"] = options["gpus"] or every
    options |= {"memory": wish.memory} if wish.memory is not None else {}
    options |= {"cpus": wish.cpus} if wish.cpus is not None else {}
    keys = keys_for(package, wish.keys, os.environ, env)
    free = Publish(container_port=package.port, port=0)
    publish = free if wish.publish == "free" else parse_publish(wish.publish, package.port)
    if isinstance(package, ImagePackage):
        require_port(publish, package.title, package.ports)
    _warn_of_strangers(name, publish.address, keys is not None, reporter)
    return request_of(package, name, publish, env=env, keys=keys, **options)


def refuse_without_docker(wish: RunWish, names: Sequence[str]) -> None:
    """Refuse without Docker what only a container has.

    Raises:
        UsageError: one of these fields, or an image, is given.
    """
    refuse_dockers(wish.reference, msgspec.structs.asdict(wish), names)


def refuse_dockers(reference: str | None, options: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse with `--no-docker` what only a container has.

    Raises:
        UsageError: one of these options, or an image, is given.
    """
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


def ready_in(wish: RunWish, granted: Granted) -> float:
    """Return the seconds until a service must be healthy."""
    return granted.ready_in if wish.timeout is None else wish.timeout


def check_memory(text: str | int | None) -> None:
    """Refuse a limit that is no size.

    Raises:
        UsageError: it is none.
    """
    if isinstance(text, str) and not _MEMORY.fullmatch(text):
        raise UsageError(f"--memory {text!r} is not a size", remedy="such as 512m or 2g")


def _warn_of_strangers(name: str, address: str | None, keys: bool, reporter: Reporter) -> None:
    """Say who can use what is published beyond this machine."""
    if address in (None, "127.0.0.1", "::1"):
        return
    who = "has a key" if keys else "reaches that address"
    more = "" if keys else "; requests need no key (`server: {auth: key}` in the spec)"
    reporter.warn(f"{name} is published on {address}: whoever {who} can use it{more}, and nothing is encrypted")
