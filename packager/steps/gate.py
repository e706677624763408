"""The gate before a push: images of a spec with tests go on when they pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from packager.builders.builder import Candidate, Testing
from packager.contract import TARGET_LABEL, TITLE_LABEL
from packager.engine.api import require_local
from packager.errors import EngineError, ServiceError
from packager.interruption import terminated_as_interrupted
from packager.serving.cases import Prepared, prepare
from packager.serving.gate import Report, check
from packager.serving.hosts.docker.image import packaged_image
from packager.serving.reports import outcome_lines
from packager.serving.service import Package
from packager.spec.load import SpecFile
from packager.steps.needs_tests import has_tests
from packager.steps.reporting import Reporter
from packager.steps.volumes import with_mounts
from packager.steps.wishes import grant


def gate_candidates(spec_file: SpecFile, candidates: Sequence[Candidate], reporter: Reporter) -> None:
    """Let images through that pass the tests of their spec.

    Raises:
        ServiceError: one failed.
        EngineError: no engine, or no such image.
    """
    packages = image_packages({each.reference: each.target for each in candidates}, spec_file, reporter=reporter)
    titles = {candidate.reference: candidate.title for candidate in candidates}
    cases = prepare(spec_file)
    require_passed(try_packages(cases, packages, reporter, titles=titles, show=True, spec_file=spec_file))


def gate_references(
    spec_file: SpecFile | None, references: Sequence[str], *, test: Testing, reporter: Reporter
) -> None:
    """Let images of the engine through that pass the tests of their spec, or have none.

    Args:
        spec_file: None where there is none.
        references: one image under several names is tested once; one of another spec is not tested, and that is said.
        test: False where the user takes it on that they are not, `done` where they were a moment ago.
        reporter: is told what is tested, and what is not.

    Raises:
        ServiceError: one failed.
        EngineError: no engine, or no such image.
    """
    if not has_tests(spec_file, test, reporter) or spec_file is None:
        return
    candidates: dict[str, Candidate] = {}
    for reference in references:
        local = require_local(reference)
        if local.labels.get(TITLE_LABEL) != spec_file.spec.name:
            reporter.step(f"{reference} is not of {spec_file.document.path}: it is not tested")
            continue
        target = local.labels.get(TARGET_LABEL, "")
        candidates.setdefault(local.id, Candidate(reference=reference, title=reference, target=target))
    gate_candidates(spec_file, list(candidates.values()), reporter)


def image_packages(
    targets: Mapping[str, str], spec_file: SpecFile, platform: str | None = None, *, reporter: Reporter
) -> list[Package]:
    """Return images, all of which the engine has, before the first of them is started.

    Args:
        targets: reference → the target that it is for; empty where nobody knows.
        spec_file: the spec, whose workspace has what they want mounted.
        platform: the images must be for it.
        reporter: is told what is fetched.

    Raises:
        EngineError: no engine, or no such image, or one for another platform.
    """
    packages: list[Package] = []
    for reference, target in targets.items():
        package = msgspec.structs.replace(packaged_image(reference), target=target)
        if platform is not None and package.platform != platform:
            raise EngineError(
                f"the engine has {reference} for {package.platform}", remedy=f"`packager build --platform {platform}`"
            )
        packages.append(with_mounts(package, spec_file, say=reporter.step))
    return packages


def try_packages(
    cases: Sequence[Prepared],
    packages: Sequence[Package],
    reporter: Reporter,
    *,
    titles: Mapping[str, str] | None = None,
    show: bool = False,
    repeat: int = 1,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    spec_file: SpecFile | None = None,
) -> list[Report]:
    """Test packages one after the other, and return how they did.

    Args:
        cases: the tests.
        packages: images of the engine, or what is laid down on this machine.
        reporter: is told what is tested.
        titles: title of a package → what people call it.
        show: tell of each test that passed; of the others `require_passed` does.
        repeat: how often each request is sent.
        timeout: seconds until each must be healthy; 120, or what the spec's probes let it take, where None.
        env: variables beside the image's own.
        spec_file: of the packages; they get what its `service:` asks for, but for GPUs, which testing does without.

    Raises:
        EngineError: no engine, or no such image.
    """
    reports: list[Report] = []
    for package in packages:
        note = f"; {package.note}" if package.note and not reports else ""
        title = (titles or {}).get(package.title, package.title)
        reporter.step(f"testing {title} ({len(cases)} test{'' if len(cases) == 1 else 's'}){note}")
        granted = grant(spec_file, package, env or {}, reporter)
        with terminated_as_interrupted():
            report = check(
                granted.package,
                cases,
                shown=title,
                repeat=repeat,
                timeout=granted.ready_in if timeout is None else timeout,
                env={**granted.env, **(env or {})},
                options={**granted.engine_options, "gpus": 0},
            )
        for outcome in report.outcomes if show else ():
            for line in () if outcome.differences else outcome_lines(outcome):
                reporter.step(f"  {line}")
        reports.append(report)
    return reports


Told = Literal["nothing", "outcomes", "all"]


def require_passed(reports: Sequence[Report], told: Told = "nothing") -> None:
    """Raise for the images that failed.

    Args:
        reports: of all.
        told: what of them was shown already, and is not repeated: how each test went, or the logs as well.

    Raises:
        ServiceError: with what was wrong, and the last lines of the container.
    """
    wrong = [_failure(report, told) for report in reports if not report.passed]
    if wrong:
        raise ServiceError("\n".join(wrong), remedy="mend the entry script or the model, or what the test expects")


def _failure(report: Report, told: Told) -> str:
    if report.failure:
        # The lines of its log are indented.
        why = report.failure if told == "nothing" else report.failure.partition("\n    ")[0]
        return f"{report.image} did not start: {why}"
    failed = [outcome for outcome in report.outcomes if outcome.differences]
    lines = [f"{report.image} failed {len(failed)} test{'' if len(failed) == 1 else 's'}"]
    if told == "nothing":
        lines += [f"  {outcome.name}: {line}" for outcome in failed for line in outcome.differences]
    if told != "all" and report.log.strip():
        lines += ["  the last lines that it wrote:", *(f"    {line}" for line in report.log.strip().splitlines())]
    return "\n".join(lines)
