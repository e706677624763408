"""What was made of what: images that were built or pushed are remembered in the workspace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from packager.builders.builder import BuiltImage, Job
from packager.contract import ENVIRONMENT_LABEL, TITLE_LABEL, VERSION_LABEL
from packager.errors import PackagerError
from packager.plan.volumes import RegisteredModel, labelled_models
from packager.spec.load import SpecFile
from packager.steps.reporting import Reporter
from packager.steps.workspace_of import WorkspaceOf, is_chosen
from packager.workspace.values import Held, ImageRecord


def note_built(spec_file: SpecFile, jobs: Sequence[Job], built: Sequence[BuiltImage], reporter: Reporter) -> None:
    """Remember images that were built, where the spec names what is registered, or somebody chose a workspace.

    Args:
        spec_file: the spec.
        jobs: of the images.
        built: the images, in this order.
        reporter: is warned where that cannot be.
    """
    if not _wanted(spec_file, spec_file.registers, reporter):
        return
    plans = [job.planned[0].plan for job in jobs]
    records = [
        ImageRecord(
            reference=reference,
            digest=image.digest or image.id or None,
            pushed=image.pushed,
            models=_held(plan.registered),
            environment=_environment(plan.config.labels),
            spec=str(spec_file.document.path.absolute()),
            package=f"{plan.name}:{plan.version}",
        )
        for plan, image in zip(plans, built, strict=True)
        for reference in image.references or ("",)
    ]
    _note(spec_file, records, reporter)


def note_pushed(
    spec_file: SpecFile | None, reference: str, digest: str, labels: Mapping[str, str], reporter: Reporter
) -> None:
    """Remember an image of the engine that was pushed; see `note_built`.

    Args:
        spec_file: the spec; None where there is none.
        reference: of the image.
        digest: that the registry has it by.
        labels: of it.
        reporter: is warned where that cannot be.
    """
    try:
        models, environment = _held(labelled_models(labels, reference)), _environment(labels)
    except PackagerError as error:
        reporter.warn(f"{reference} is not remembered in the workspace: {error.message}")
        return
    if not _wanted(spec_file, bool(models or environment), reporter):
        return
    record = ImageRecord(
        reference=reference,
        digest=digest,
        pushed=True,
        models=models,
        environment=environment,
        spec="" if spec_file is None else str(spec_file.document.path.absolute()),
        package=f"{labels.get(TITLE_LABEL, '')}:{labels.get(VERSION_LABEL, '')}".strip(":"),
    )
    _note(spec_file, [record], reporter)


def _held(models: Iterable[RegisteredModel]) -> tuple[Held, ...]:
    return tuple(Held(name=each.name, version=each.version, digest=each.digest) for each in models)


def _environment(labels: Mapping[str, str]) -> Held | None:
    name, _, rest = labels.get(ENVIRONMENT_LABEL, "").partition(":")
    version, _, digest = rest.partition("@")
    return Held(name=name, version=int(version), digest=digest) if version.isdecimal() else None


def _wanted(spec_file: SpecFile | None, registered: bool, reporter: Reporter) -> bool:
    try:
        return registered or is_chosen(spec_file)
    except PackagerError as error:
        reporter.warn(f"no image is remembered in the workspace: {error.message}")
        return False


def _note(spec_file: SpecFile | None, records: Sequence[ImageRecord], reporter: Reporter) -> None:
    try:
        with WorkspaceOf(spec_file) as workspace:
            for record in records:
                workspace().note(record)
    except PackagerError as error:
        shown = ", ".join(each.reference for each in records if each.reference) or "the image"
        reporter.warn(f"{shown} is not remembered in the workspace: {error.message}")
