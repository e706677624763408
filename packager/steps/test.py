"""The step `test`: packages are started as in production and sent the requests of the spec's tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from packager.builders.builder import BuildWish
from packager.engine.api import require_local
from packager.errors import SpecError
from packager.serving.cases import prepare
from packager.serving.gate import Report
from packager.serving.reports import as_data, junit, report_lines
from packager.serving.service import Package
from packager.spec.load import SpecFile
from packager.steps.gate import image_packages, require_passed, try_packages
from packager.steps.package import let_go, package_on_machine
from packager.steps.reporting import SILENT, Reporter
from packager.steps.run import refuse_dockers
from packager.steps.selection import select_targets, spec_references
from packager.steps.stale import build_first, warn_of_stale
from packager.storage.files import write_text

__all__ = ["Report", "as_data", "report_lines", "require_passed", "test", "write_junit"]


def write_junit(reports: Sequence[Report], path: Path) -> None:
    """Write reports as JUnit XML, the form that CI systems read.

    Raises:
        ContextError: the file cannot be written.
    """
    write_text(path, junit(reports))


def test(
    spec_file: SpecFile,
    *,
    image: str | None = None,
    target: str | None = None,
    platform: str | None = None,
    docker: bool = True,
    build: BuildWish | None = None,
    repeat: int = 1,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    reporter: Reporter = SILENT,
) -> list[Report]:
    """Start each image of a spec, send it the requests of the `test:` section, and return how it did.

    Args:
        spec_file: the spec.
        image: this image in place of the spec's own.
        target: one of the spec's targets; all where None.
        platform: the images must be for it.
        docker: False runs the spec's package in its locked environment on this machine, without Docker.
        build: build the images first, so.
        repeat: how often each request is sent, one after the other, to see how its times are spread.
        timeout: seconds until each must be healthy; 120, or what the spec's probes let it take, where None.
        env: variables beside the image's own.
        reporter: is told what is tested.

    Returns:
        a report for each image; `require_passed` raises for those that failed.

    Raises:
        SpecError: the spec has no tests, or one of them cannot be read.
        UsageError: an image or a platform is named, and Docker is not to be used.
        EngineError: no engine, or no such image.
        LockError, ContextError, TemporaryError: without Docker, its environment or files cannot be had.
    """
    if not spec_file.spec.test:
        raise SpecError("the spec has no tests", where=spec_file.at("test"), remedy="add a `test:` section")
    cases = prepare(spec_file)
    packages: Sequence[Package]
    if not docker:
        refuse_dockers(image, {"platform": platform, "build": build}, ("platform", "build"))
        packages = [
            package_on_machine(spec_file, name, say=reporter.step) for name in select_targets(spec_file, target)
        ]
    else:
        references = (
            {image: target or ""}
            if image
            else {spec_references(spec_file, name, platform)[0]: name for name in select_targets(spec_file, target)}
        )
        if build is not None:
            build_first(spec_file, build, image or (), reporter)
        packages = image_packages(references, spec_file, platform, reporter=reporter)
        warn_of_stale(spec_file, {reference: require_local(reference) for reference in references}, reporter)
    try:
        return try_packages(cases, packages, reporter, repeat=repeat, timeout=timeout, env=env, spec_file=spec_file)
    finally:
        for package in packages:
            let_go(package)
