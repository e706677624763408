"""`packager test`, and the gate of `push` and `build --push`."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli.common import (
    Reporter,
    count,
    emit,
    emit_json,
    file_option,
    format_option,
    no_docker_option,
    platform_option,
    standard_options,
    target_option,
)
from packager.cli.run import refuse_dockers, say_waiting, variables

if TYPE_CHECKING:
    from packager.oci.values import Content, Image
    from packager.serving.cases import Prepared
    from packager.serving.gate import Report
    from packager.serving.service import Package
    from packager.spec.load import SpecFile

no_test_option = click.option("--no-test", is_flag=True, help="Push without running the spec's tests, and say so.")


@click.command("test")
@file_option
@target_option
@platform_option
@no_docker_option
@click.option("--image", "image", metavar="REF", help="Test this image instead of the spec's own.")
@click.option(
    "-e", "--env", "env", multiple=True, metavar="NAME[=VALUE]", help="Variable of the container (repeatable)."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    help="Seconds until it must be healthy.",
)
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write JUnit XML, too.")
@format_option
@standard_options
def command(
    file: Path,
    target: str | None,
    platform: str | None,
    no_docker: bool,
    image: str | None,
    env: tuple[str, ...],
    timeout: float,
    junit: Path | None,
    output_format: str,
    reporter: Reporter,
) -> None:
    """Start each image, send it the requests of the spec's `test:` section, and compare the answers.

    Nothing is built: what is tested is the image that the engine has, which is what `packager push` would push. It
    runs as in production, on a free port of this machine, and is removed whatever happens. With --no-docker no image is
    needed: the spec's package runs in its locked environment on this machine.
    """
    from packager.errors import SpecError
    from packager.pipeline import select_targets
    from packager.serving import reports as forms
    from packager.serving.cases import prepare
    from packager.serving.hosts.process.package import package_here
    from packager.spec import load_spec
    from packager.storage.files import write_text

    spec_file = load_spec(file)
    if not spec_file.spec.test:
        raise SpecError("the spec has no tests", where=spec_file.at("test"), remedy="add a `test:` section")
    cases = prepare(spec_file)
    packages: Sequence[Package]
    if no_docker:
        refuse_dockers(image, {"platform": platform}, ("platform",))
        packages = [package_here(spec_file, name, say=reporter.step) for name in select_targets(spec_file, target)]
    else:
        images = [(image, target or "")] if image else _images(spec_file, target, platform)
        packages = _packages(images, platform)
    reports = _reports(cases, packages, reporter, timeout=timeout, env=variables(env))
    if junit is not None:
        write_text(junit, forms.junit(reports))
    if output_format == "json":
        emit_json([forms.as_data(report) for report in reports])
    else:
        emit("\n".join(line for report in reports for line in forms.report_lines(report)))
    _require_passed(reports)


def gate_references(spec_file: SpecFile | None, references: Sequence[str], reporter: Reporter, no_test: bool) -> None:
    """Let images through that pass the tests of their spec, or have none.

    Args:
        spec_file: None where there is none.
        references: of images that the engine has; one under several names is tested once.
        reporter: is told what is tested, and what is not.
        no_test: the user takes it on.

    Raises:
        ServiceError: one failed.
        EngineError: no engine, or no such image.
    """
    from packager.engine.api import require_local
    from packager.serving.cases import prepare

    if not _wanted(spec_file, reporter, no_test) or spec_file is None:
        return
    images: dict[str, tuple[str, str]] = {}
    for reference in references:
        local = require_local(reference)
        if local.labels.get("org.opencontainers.image.title") != spec_file.spec.name:
            reporter.step(f"{reference} is not of {spec_file.document.path}: it is not tested")
            continue
        images.setdefault(local.id, (reference, local.labels.get("packager.target", "")))
    _require_passed(_reports(prepare(spec_file), _packages(list(images.values())), reporter, show=True))


def gate_build(spec_file: SpecFile, reporter: Reporter, *, push: bool, no_test: bool) -> bool:
    """Tell whether a build has to be tested before its push, and refuse at once where that will not be possible.

    Raises:
        EngineError: there are tests and no engine to run them.
    """
    from packager.engine.api import inspect_local
    from packager.errors import EngineError

    if not push:
        return False
    if not _wanted(spec_file, reporter, no_test):
        return False
    try:
        inspect_local("packager-test", required=True)
    except EngineError as error:
        raise EngineError(
            f"the spec has tests, and no engine is there to run the image: nothing is pushed\n{error.message}",
            remedy="start an engine; or test without (`packager test --no-docker`), and push without tests: --no-test",
        ) from None
    return True


def gate_written(
    spec_file: SpecFile, image: Image, content: Content, shown: str, target: str, reporter: Reporter
) -> None:
    """Test an image that no engine has yet: it is loaded under a name of its own, which goes afterwards.

    Raises:
        ServiceError: it failed.
        EngineError: the engine does not take it.
    """
    from packager.engine.api import connect
    from packager.interruption import terminated_as_interrupted
    from packager.oci.outputs import load_into_engine
    from packager.serving.cases import prepare

    reference = f"packager-test/{spec_file.spec.name}:{secrets.token_hex(6)}"
    with terminated_as_interrupted():
        try:
            load_into_engine(image, (reference,), content)
            packages = _packages([(reference, target)])
            _require_passed(_reports(prepare(spec_file), packages, reporter, show=True, shown=shown))
        finally:
            import docker.errors

            with connect() as client, suppress(docker.errors.ImageNotFound):
                client.images.remove(reference)


def _wanted(spec_file: SpecFile | None, reporter: Reporter, no_test: bool) -> bool:
    if spec_file is None or not spec_file.spec.test:
        reporter.step("no tests: the spec has no `test:` section" if spec_file else "no tests: there is no spec here")
        return False
    if no_test:
        reporter.warn("--no-test: what is pushed was not tested")
        return False
    return True


def _images(spec_file: SpecFile, target: str | None, platform: str | None) -> list[tuple[str, str]]:
    from packager.cli.push import spec_references
    from packager.pipeline import select_targets

    names = select_targets(spec_file, target)
    return [(spec_references(spec_file.document.path, name, platform)[0], name) for name in names]


def _packages(images: Sequence[tuple[str, str]], platform: str | None = None) -> list[Package]:
    """Return images, all of which the engine has, each with its target, before the first is started."""
    import msgspec

    from packager.errors import EngineError
    from packager.serving.hosts.docker.image import packaged_image

    packages: list[Package] = []
    for reference, target in images:
        package = msgspec.structs.replace(packaged_image(reference), target=target)
        if platform is not None and package.platform != platform:
            raise EngineError(
                f"the engine has {reference} for {package.platform}", remedy=f"`packager build --platform {platform}`"
            )
        packages.append(package)
    return packages


def _reports(
    cases: Sequence[Prepared],
    packages: Sequence[Package],
    reporter: Reporter,
    *,
    show: bool = False,
    shown: str = "",
    **options: Any,
) -> list[Report]:
    """Test packages one after the other; with `show`, say how each test went."""
    from packager.interruption import terminated_as_interrupted
    from packager.serving.gate import check
    from packager.serving.reports import outcome_lines

    reports: list[Report] = []
    for package in packages:
        note = f"; {package.note}" if package.note and not reports else ""
        reporter.step(f"testing {shown or package.title} ({count(len(cases), 'test')}){note}")
        with terminated_as_interrupted():
            report = check(package, cases, shown=shown, waiting=say_waiting(reporter), **options)
        for outcome in report.outcomes if show else ():
            for line in outcome_lines(outcome):
                reporter.step(f"  {line}")
        reports.append(report)
    return reports


def _require_passed(reports: Sequence[Report]) -> None:
    """Raise for the images that failed.

    Raises:
        ServiceError: with what was wrong, and the last lines of the container.
    """
    from packager.errors import ServiceError

    wrong = []
    for report in (each for each in reports if not each.passed):
        if report.failure:
            wrong.append(f"{report.image} did not start: {report.failure}")
            continue
        failed = [each for each in report.outcomes if each.differences]
        lines = [f"{report.image} failed {count(len(failed), 'test')}"]
        lines += [f"  {each.name}: {line}" for each in failed for line in each.differences]
        lines += ["  the last lines that it wrote:", *(f"    {line}" for line in report.log.strip().splitlines())]
        wrong.append("\n".join(lines))
    if wrong:
        raise ServiceError("\n".join(wrong), remedy="mend the entry script or the model, or what the test expects")
