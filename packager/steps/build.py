"""The step `build`: spec → images, checked, planned once, built by the builder that fits, tested before a push."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from packager.builders.builder import Builder, BuildWish, BuiltImage, Job
from packager.builders.choose import Choice, choose_builder, needs_engine
from packager.builders.outputs import EngineOutput, Output, RegistryOutput, parse_output, takes_several
from packager.checks.script import require_entry_script
from packager.environments.locks.status import TargetInputs, read_inputs
from packager.errors import LintError, UsageError
from packager.laying.recipe import NeedsEngineError
from packager.plan.plan import Base, Plan
from packager.plan.planned import by_references
from packager.reference import Reference
from packager.registry.mirrors import registry_mirrors
from packager.spec.load import SpecFile
from packager.steps.known_errors import known_errors
from packager.steps.needs_tests import needs_tests
from packager.steps.noting import note_built
from packager.steps.plan import find_base, own_template, plan_platforms, say_secrets
from packager.steps.registered import with_registered
from packager.steps.reporting import SILENT, Reporter
from packager.steps.selection import refuse_unplaced, select_targets, spec_references
from packager.steps.stale import remember_inputs
from packager.steps.store import keep_limit

if TYPE_CHECKING:
    from packager.builders.oci import OciBuilder
    from packager.storage.content import ContentStore

__all__ = ["BuildWish", "BuiltImage", "Comparison", "build", "compare"]


#: Errors that are shown; `check` has them all.
_SHOWN = 5


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """An image at a registry, held against what the inputs give.

    Attributes:
        target: the image is for.
        platform: OCI os/arch.
        digest: of the image that the inputs give.
        reference: of the other one.
        differences: a line each; none where they are one image.
        timings: what each step took, in seconds.
    """

    target: str
    platform: str
    digest: str
    reference: str
    differences: tuple[str, ...]
    timings: dict[str, float]


def build(
    spec_file: SpecFile, wish: BuildWish | None = None, *, reporter: Reporter = SILENT, **wishes: Any
) -> tuple[BuiltImage, ...]:
    """Build the image of every target, and bring it where it is wanted.

    An entry script that cannot start is refused; with `push`, images of a spec with tests are tested before the first
    of them is sent anywhere.

    Args:
        spec_file: the spec.
        wish: what is asked for.
        reporter: is told what is done.
        **wishes: fields of `BuildWish` that take the place of `wish`'s: `build(spec_file, push=True)`.

    Returns:
        the images, in the order of the targets.

    Raises:
        SpecError, LockError, ContextError: see `packager.steps.plan.plan_image`.
        UsageError: something cannot be meant so, or the builder that was asked for cannot do it.
        ServiceError: an image failed a test; nothing was pushed.
        LintError: `check` has errors, and it was to be pushed.
        EngineError, RegistryError, TemporaryError: no engine, or it or a registry fails.
    """
    wish = msgspec.structs.replace(wish or BuildWish(), **wishes)
    spec_file = wished(spec_file, wish)
    names = select_targets(spec_file, wish.target)
    if len(names) > 1 and wish.tags:
        raise _one_image("--tag", names)
    _check_tags(wish.tags)
    spec_file = with_registered(spec_file, say=reporter.step)
    tested = False
    if wish.push:
        refuse_unplaced(wish.tags or spec_references(spec_file, wish.target), None if wish.tags else spec_file)
        tested = needs_tests(spec_file, test=wish.test, reporter=reporter)
    for finding in require_entry_script(spec_file):
        reporter.warn(str(finding))
    base = find_base(spec_file, wish.base, reporter)
    builders = _Builders(spec_file, wish, reporter)
    images = [image for name in names for image in _jobs(spec_file, name, base, builders)]
    say_secrets((planned for job, _ in images for planned in job.planned), reporter)
    if len(images) > 1 and wish.iidfile:
        raise _one_image("--iidfile", names)
    if len(images) > 1:
        builders.wish = msgspec.structs.replace(wish, metadata_file=None)
    built = _build_all(spec_file, images, builders, tested)
    for planned in (each for job, _ in images for each in job.planned):
        remember_inputs(planned.plan, spec_file.for_target(planned.plan.target))
    _write_files(wish, built)
    note_built(spec_file, [job for job, _ in images], built, reporter)
    builders.release()
    keep_limit(os.environ, reporter.step)
    return built


def compare(
    spec_file: SpecFile, reference: str, wish: BuildWish | None = None, *, reporter: Reporter = SILENT
) -> Comparison:
    """Hold an image at a registry against exactly what these inputs give; nothing is brought anywhere.

    Args:
        spec_file: the spec.
        reference: of the image.
        wish: which target, platform and base, and how it was built.
        reporter: is told what is done.

    Raises:
        UsageError: there are several images; BuildKit would have to build it.
        SpecError, LockError, ContextError: see `packager.steps.plan.plan_image`.
        RegistryError, TemporaryError: the other image cannot be had.
    """
    wish = wish or BuildWish()
    names = select_targets(spec_file, wish.target)
    spec_file = with_registered(wished(spec_file, wish), say=reporter.step)
    for finding in require_entry_script(spec_file):
        reporter.warn(str(finding))
    base = find_base(spec_file, wish.base, reporter)
    # One platform of one target: what `load` says.
    builders = _Builders(spec_file, msgspec.structs.replace(wish, load=True), reporter)
    images = [image for name in names for image in _jobs(spec_file, name, base, builders)]
    if any(choice.kind != "oci" for _, choice in images):
        raise UsageError("--verify is for the builder without an engine", remedy="--builder oci")
    if len(images) > 1 or len(images[0][0].planned) > 1:
        several = "platform" if len(names) == 1 else "image"
        remedy = "name one: --platform OS/ARCH" if len(names) == 1 else f"choose one target: --target {names[0]}"
        raise UsageError(f"--verify compares one {several}", remedy=remedy)
    from packager.builders.compare import compare_with

    builder = builders.oci()
    planned = images[0][0].planned[0]
    written = builder.written(planned)
    mirrors = registry_mirrors(spec_file.spec.registry_mirrors)
    return Comparison(
        target=planned.plan.target,
        platform=planned.plan.platform,
        digest=written.image.digest,
        reference=reference,
        differences=compare_with(written.image, reference, builder.content, mirrors),
        timings=written.seconds,
    )


def wished(spec_file: SpecFile, wish: BuildWish) -> SpecFile:
    """Return the spec with what a wish changes of it, so that the image is that of a spec which says so."""
    if wish.compile is None:
        return spec_file
    spec = msgspec.structs.replace(spec_file.spec, compile=wish.compile)
    return msgspec.structs.replace(spec_file, spec=spec)


class _Builders:
    """The builders of one build, each made when it is needed."""

    def __init__(self, spec_file: SpecFile, wish: BuildWish, reporter: Reporter) -> None:
        self.spec_file, self.wish, self.reporter = spec_file, wish, reporter
        self._oci: OciBuilder | None = None
        self._content: ContentStore | None = None
        self._engine: Builder | None = None

    def of(self, choice: Choice) -> Builder:
        """Return the builder that was chosen."""
        return self.oci() if choice.kind == "oci" else self.engine(choice.buildx)

    def oci(self) -> OciBuilder:
        """Return the builder without an engine."""
        if self._oci is None:
            from packager.builders.oci import OciBuilder, Recipes
            from packager.environments.locks.files import read_lock
            from packager.revision import build_labels, source_date_epoch
            from packager.storage.content import ContentStore

            spec, lock = self.spec_file.spec, read_lock(self.spec_file)
            epoch = source_date_epoch(locked=lock.created if lock is not None else None)
            self._content = ContentStore()
            self._oci = OciBuilder(
                self._content,
                Recipes(
                    compression=self.wish.compression or spec.compression,
                    allow_missing=self.allow_missing,
                ),
                self._outputs,
                labels={**build_labels(self.spec_file.root, epoch), **self.wish.labels},
                created=epoch,
                mirrors=registry_mirrors(spec.registry_mirrors),
                say=self.reporter.step,
            )
        return self._oci

    def release(self) -> None:
        """Let a collection remove what was needed for the images, which are all made."""
        if self._content is not None:
            self._content.release()

    @property
    def allow_missing(self) -> tuple[str, ...]:
        """Libraries that the images may lack, by the spec and by the wish."""
        return (*self.spec_file.spec.allow_missing, *self.wish.allow_missing)

    def require_start(self, jobs: Sequence[Job]) -> None:
        """Refuse images that BuildKit would build and that could not start, as far as that can be told before."""
        from packager.builders.starting import check_before
        from packager.storage.content import ContentStore

        mirrors = registry_mirrors(self.spec_file.spec.registry_mirrors)
        for planned in (each for job in jobs for each in job.planned):
            for warning in check_before(planned, ContentStore(), mirrors, self.allow_missing, self.reporter.step):
                self.reporter.warn(warning)

    def engine(self, buildx: str | None = None) -> Builder:
        """Return BuildKit."""
        from packager.builders.buildkit import EngineBuilder

        if self._engine is None:
            self._engine = EngineBuilder(self.wish, buildx, self.reporter.step)
        return self._engine

    def _outputs(self, plan: Plan) -> tuple[Output, ...]:
        wish = self.wish
        outputs = [output for text in wish.outputs if (output := parse_output(text))]
        if wish.push:
            outputs.append(RegistryOutput(base=plan.base))
        if wish.load or not outputs:
            outputs.append(EngineOutput(required=wish.load))
        return tuple(outputs)


def _jobs(spec_file: SpecFile, target: str, base: Base | None, builders: _Builders) -> list[tuple[Job, Choice]]:
    """Return the images of a target with what builds them."""
    wish = builders.wish
    inputs = read_inputs(spec_file, target)
    platforms = _platforms(inputs, base, wish)
    spec, request = inputs.spec_file.spec, inputs.lock.locked.request
    reason = needs_engine(spec.system_packages, request.build_from_source, own_template(inputs))
    choice = choose_builder(wish, reason)
    builders.reporter.step(f"builder: {choice.kind} ({choice.reason})")
    digest_model = builders.of(choice).read_models(inputs.spec_file)
    planned = plan_platforms(inputs, platforms, base=base, digest_model=digest_model)
    _heed_errors(inputs, planned[0].plan, wish, builders.reporter)
    groups = [planned] if wish.tags else by_references(planned)
    return [(Job(planned=group, references=wish.tags or group[0].plan.references), choice) for group in groups]


def _heed_errors(inputs: TargetInputs, plan: Plan, wish: BuildWish, reporter: Reporter) -> None:
    """Say what `check` calls an error, as far as it is known without looking into packages; with `push` it ends there.

    Raises:
        LintError: there are errors, and the image was to be pushed.
    """
    found = known_errors(inputs, plan, reporter)
    errors = [finding for finding in found if finding.severity == "error"]
    if errors and wish.push and wish.check:
        raise LintError(
            "\n".join(["`packager check` has errors, and nothing is pushed", *map(str, errors[:_SHOWN])]),
            remedy="mend them (`packager check` lists all); or push all the same: --no-check",
        )
    for finding in found[:_SHOWN]:
        reporter.warn(str(finding))
    if found:
        reporter.warn("the image may not start, or not answer: `packager check` lists all of it")


def _platforms(inputs: TargetInputs, base: Base | None, wish: BuildWish) -> Sequence[str]:
    """Return the platforms to build for: those asked for; else all that a target has, where there is a place for them.

    A registry and an OCI layout hold several under one name. An engine holds one: the target's first.
    """
    if wish.platforms:
        return wish.platforms
    one = wish.load or (base is not None and base.local) or not takes_several(wish.push, wish.outputs)
    return inputs.platforms[:1] if one else inputs.platforms


def _build_all(
    spec_file: SpecFile, images: Sequence[tuple[Job, Choice]], builders: _Builders, tested: bool
) -> tuple[BuiltImage, ...]:
    """Build every image: what needs no engine one after the other, then all else by one call of BuildKit."""

    def run(builder: Builder, jobs: Sequence[Job]) -> tuple[BuiltImage, ...]:
        if tested:
            from packager.steps.gate import gate_candidates

            with builder.candidates(jobs) as candidates:
                gate_candidates(spec_file, candidates, builders.reporter)
        return builder.build(jobs)

    built: dict[int, BuiltImage] = {}
    left: dict[int, Job] = {}
    buildx = None
    for number, (job, choice) in enumerate(images):
        if choice.kind == "oci":
            try:
                (built[number],) = run(builders.oci(), [job])
                continue
            except NeedsEngineError as error:
                if builders.wish.builder != "auto":
                    raise
                builders.reporter.step(f"builder: engine ({error.message})")
        left[number], buildx = job, choice.buildx
    if left:
        builders.require_start(tuple(left.values()))
        built.update(zip(left, run(builders.engine(buildx), tuple(left.values())), strict=True))
    return tuple(built[number] for number in range(len(images)))


def _write_files(wish: BuildWish, built: Sequence[BuiltImage]) -> None:
    """Write what `iidfile` and `metadata_file` ask for, unless buildx itself has, which does for one image alone."""
    from packager.storage.files import write_text

    first = built[0]
    if len(built) == 1 and first.builder == "engine" and len(first.platforms) == 1:
        return
    if wish.metadata_file is not None:
        several: Any = {_key(image, built): image.metadata for image in built}
        write_text(wish.metadata_file, json.dumps(several if len(built) > 1 else first.metadata, indent=2) + "\n")
    if wish.iidfile is not None:
        write_text(wish.iidfile, first.id or first.digest)


def _key(image: BuiltImage, built: Sequence[BuiltImage]) -> str:
    """Return the name of an image among all that were built: its target, with the platforms where that is needed."""
    same = [other for other in built if other.target == image.target]
    return "-".join([image.target, *(image.platforms if len(same) > 1 else ())]).replace("/", "-")


def _check_tags(tags: Sequence[str]) -> None:
    """Refuse what no image can be called, before anything is built: not every output looks at the name."""
    for text in tags:
        if Reference.parse(text).digest is not None:
            raise UsageError(
                f"--tag {text} has a digest, which is known only when the image is there",
                remedy=f"leave it out: {text.partition('@')[0]}",
            )


def _one_image(option: str, names: Sequence[str]) -> UsageError:
    return UsageError(
        f"{option} names one image, and there are several", remedy=f"choose one target: --target {names[0]}"
    )
