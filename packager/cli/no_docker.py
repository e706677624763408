"""What `run`, `service deploy` and `test` do with `--no-docker`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli.common import Reporter, count, one_target

if TYPE_CHECKING:
    from packager.serving.gate import Report
    from packager.serving.status import Status
    from packager.spec.load import SpecFile


def run_here(
    reference: str | None,
    file: Path,
    target: str | None,
    output_format: str,
    reporter: Reporter,
    options: dict[str, Any],
) -> None:
    """Do what `packager run --no-docker` does."""
    from packager.cli.run import read_keys, say_waiting, show_service, variables, warn_of_strangers
    from packager.interruption import terminated_as_interrupted
    from packager.serving.hosts.process.package import package_here
    from packager.serving.hosts.process.places import differences
    from packager.serving.serve import follow, serve_here
    from packager.serving.service import parse_publish
    from packager.spec.load import load_spec

    refuse_dockers(reference, options, ("memory", "name", "detach"))
    spec_file = load_spec(file)
    target = one_target(spec_file, target)
    publish = parse_publish(options["publish"], spec_file.spec.server.port)
    env = variables(options["env"])
    packaged = package_here(spec_file, target, devices=not options["no_devices"], say=reporter.step)
    keys = packaged.keys_for(read_keys(options["key_file"]), os.environ, env)
    warn_of_strangers(packaged.title, publish.address, keys is not None, reporter)
    reporter.step(f"starting {packaged.title}; {differences(packaged.plan)}")
    started = serve_here(
        packaged, publish, env=env, keys=keys, timeout=options["timeout"], waiting=say_waiting(reporter)
    )
    with terminated_as_interrupted(), started as (service, backend):
        try:
            reporter.step(f"healthy after {service.seconds:.1f} s, process {service.container_id}")
            if keys is not None:
                reporter.step(f"requests need a key: {backend.keys / 'primary'} holds one")
            show_service(service, output_format)
            reporter.step("Ctrl-C stops it")
            follow(backend, lambda chunk: click.echo(chunk, nl=False, err=True))
        except KeyboardInterrupt:
            reporter.step("stopping")


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


def deploy_here(
    name: str,
    reference: str | None,
    file: Path,
    target: str | None,
    reporter: Reporter,
    options: dict[str, Any],
) -> Status:
    """Do what `packager service deploy --no-docker` does, and return the service."""
    from packager.cli.run import read_keys, say_waiting, variables, warn_of_strangers
    from packager.serving.hosts.process.package import package_here
    from packager.serving.hosts.process.places import differences
    from packager.serving.service import parse_publish
    from packager.serving.services import deploy_here as deploy_step
    from packager.serving.services import require_free
    from packager.spec.load import load_spec

    refuse_dockers(reference, options, ("memory", "cpus"))
    require_free(name)
    spec_file = load_spec(file)
    publish = parse_publish(options["publish"], spec_file.spec.server.port)
    env = variables(options["env"])
    packaged = package_here(spec_file, one_target(spec_file, target), say=reporter.step)
    keys = packaged.keys_for(read_keys(options["key_file"]), os.environ, env)
    warn_of_strangers(name, publish.address, keys is not None, reporter)
    reporter.step(differences(packaged.plan))
    return deploy_step(
        name, packaged, publish, spec=spec_file.document.path.absolute(), env=env, keys=keys,
        timeout=options["timeout"], say=reporter.step, waiting=say_waiting(reporter),
    )  # fmt: skip


def reports_here(
    spec_file: SpecFile, target: str | None, reporter: Reporter, timeout: float, env: dict[str, str]
) -> list[Report]:
    """Do what `packager test --no-docker` does: test the targets of a spec, one after the other."""
    from packager.cli.run import say_waiting
    from packager.interruption import terminated_as_interrupted
    from packager.pipeline import select_targets
    from packager.serving.cases import prepare
    from packager.serving.gate import Report, check
    from packager.serving.hosts.process.package import package_here
    from packager.serving.hosts.process.places import differences
    from packager.serving.serve import serve_here
    from packager.serving.service import Publish

    cases = prepare(spec_file)
    packages = [package_here(spec_file, name, say=reporter.step) for name in select_targets(spec_file, target)]
    reports = []
    for index, packaged in enumerate(packages):
        how = "" if index else f"; {differences(packaged.plan)}"
        reporter.step(f"testing {packaged.title} ({count(len(cases), 'test')}){how}")
        free = Publish(container_port=1, port=0)
        plan, keys = packaged.plan, packaged.keys_for(None, {}, env)
        with terminated_as_interrupted():
            serving = serve_here(packaged, free, env=env, keys=keys, timeout=timeout, waiting=say_waiting(reporter))
            report = Report(image=packaged.title, target=plan.target, platform=plan.platform)
            reports.append(check(serving, report, cases, keys=keys))
    return reports
