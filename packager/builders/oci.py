"""Plan → image without an engine: base, environment, models and app as layers, then configuration and manifest."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from packager.builders.base import fetch_base
from packager.builders.builder import BuiltImage, Candidate, Job, image_metadata
from packager.builders.choose import needs_engine
from packager.builders.known import remember_image
from packager.builders.outputs import Output, Say
from packager.builders.starting import StartCheck, laid_down, recipe_of
from packager.builders.unread_models import is_known, layer_ahead
from packager.context.sources import DigestModel, list_models
from packager.errors import ContextError, RegistryError, UsageError
from packager.oci.compose import make_image, make_index
from packager.oci.compression import Compression
from packager.oci.layers import folder_layer, recall_folder_layer, tree_layer
from packager.oci.values import BaseImage, Content, Image, Layer, digest_of
from packager.plan.make import model_layer
from packager.plan.plan import Plan
from packager.plan.planned import Planned
from packager.spec.load import SpecFile
from packager.storage.blobs import DAMAGED, DamagedError, not_as_read
from packager.storage.models import Store
from packager.storage.reading import digest_file

T = TypeVar("T")


class Recipes(msgspec.Struct, frozen=True, kw_only=True):
    """How the layers of an image are made; what they hold is the plan's business.

    Attributes:
        compression: of our layers' blobs.
        allow_missing: libraries that the user knows to be missing from the image.
    """

    compression: Compression = "gzip"
    allow_missing: tuple[str, ...] = ()


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """An image in the content store.

    Attributes:
        image: it.
        seconds: what each step took, by name.
    """

    image: Image
    seconds: dict[str, float]


class OciBuilder:
    """Builds images without an engine.

    Args:
        content: where layers and documents go.
        recipes: compression, and what may be missing.
        outputs: gives the places that images of a plan are brought to.
        labels: of this build.
        created: seconds since the epoch.
        mirrors: registry → mirror.
        say: is told what is done.
    """

    def __init__(
        self,
        content: Content,
        recipes: Recipes,
        outputs: Callable[[Plan], Sequence[Output]],
        *,
        labels: Mapping[str, str],
        created: int,
        mirrors: Mapping[str, str],
        say: Say,
    ) -> None:
        self.content, self._recipes, self._outputs = content, recipes, outputs
        self._labels, self._created, self._mirrors, self._say = labels, created, mirrors, say
        self._written: dict[int, tuple[Planned, Written]] = {}

    def read_models(self, spec_file: SpecFile) -> DigestModel:
        """Read the models that were never read, once: their digests and their layers come from the same pass.

        Raises:
            ContextError: a model is missing, empty or unreadable; the disk is full.
        """
        store = Store()
        for model, tree in zip(spec_file.spec.models, list_models(spec_file), strict=True):
            if model.registered is not None:
                continue  # its digests are known since it was laid down
            layer = model_layer(model, tree)
            if not is_known(layer.tree, spec_file.root, store):
                layer_ahead(layer.tree, layer.title, spec_file.root, store, self.content, self._recipes.compression)
        return store.digest

    def written(self, planned: Planned) -> Written:
        """Return the image of a plan in the content store, written where it was not yet.

        Raises:
            NeedsEngineError: a package of the lock turned out to need a container.
            ContextError, LockError, RegistryError, TemporaryError: see `write_image`.
        """
        _, written = self._written.get(id(planned), (None, None))
        if written is None:
            written = write_image(
                planned,
                self.content,
                labels=self._labels,
                created=self._created,
                recipes=self._recipes,
                mirrors=self._mirrors,
                say=self._say,
            )
            self._written[id(planned)] = planned, written
        return written

    @contextlib.contextmanager
    def candidates(self, jobs: Sequence[Job]) -> Iterator[tuple[Candidate, ...]]:
        """Load each image into the engine under a name of its own, which goes afterwards.

        Raises:
            EngineError: no engine, or it does not take one.
        """
        import secrets

        from packager.engine.api import remove_image

        found: list[Candidate] = []
        images = [(job, planned) for job in jobs for planned in job.planned]
        for _, planned in images:
            self._healed((planned,), functools.partial(self.written, planned))
        try:
            for job, planned in images:
                reference = f"packager-test/{planned.plan.name}:{secrets.token_hex(6)}"
                title = f"{job.references[0]} {planned.plan.platform}"
                found.append(Candidate(reference=reference, title=title, target=job.target))
                self._healed((planned,), functools.partial(self._load, planned, reference))
            yield tuple(found)
        finally:
            for candidate in found:
                remove_image(candidate.reference)

    def build(self, jobs: Sequence[Job]) -> tuple[BuiltImage, ...]:
        """Write the images and bring them to every output.

        Raises:
            UsageError: several platforms for an output that holds one.
            RegistryError, TemporaryError, EngineError, ContextError: an output refuses.
        """
        return tuple(self._healed(job.planned, functools.partial(self._build, job)) for job in jobs)

    def _load(self, planned: Planned, reference: str) -> str:
        from packager.builders.loading import load_into_engine

        return load_into_engine(self.written(planned).image, (reference,), self.content)

    def _healed(self, planned: Sequence[Planned], act: Callable[[], T]) -> T:
        """Return what an act returns; a damaged blob that it finds in the store is made again, and it is said."""
        for _ in range(DAMAGED):
            try:
                return act()
            except DamagedError as error:
                self._say(f"warning: {error.message}; it is made again")
            except RegistryError as error:
                # It hashes what it gets, as nobody does here who only sends a file on.
                if "digest" not in str(error).lower() or not self._remove_damaged(planned):
                    raise
            self._written.clear()
        return act()

    def _remove_damaged(self, planned: Sequence[Planned]) -> bool:
        """Read the layers of images, and remove those that are damaged; return whether there were some."""
        found = False
        for layer in (layer for each in planned for layer in self.written(each).image.layers):
            path, digest = self.content.path(layer.blob.digest), layer.blob.digest.removeprefix("sha256:")
            if path.exists() and digest_file(path).digest != digest:
                self._say(f"warning: {not_as_read(path, digest).message}; it is made again")
                found = True
        return found

    def _build(self, job: Job) -> BuiltImage:
        written = [self.written(planned) for planned in job.planned]
        images = [one.image for one in written]
        for image in images:
            remember_image(image)  # whoever loads it, it is known again
        outputs = self._outputs(job.planned[0].plan)
        if len(images) > 1 and not all(output.takes_several for output in outputs):
            raise UsageError("an engine takes one platform", remedy="--push or -o type=oci,dest=… take several")
        sent = [output.send(images, job.references, self.content, self._say) for output in outputs]
        pushed, loaded = any(place.pushed for place in sent), any(place.loaded for place in sent)
        digest = images[0].digest if len(images) == 1 else digest_of(make_index(images))
        image_id = images[0].id if len(images) == 1 else ""
        references = job.references if pushed or loaded else ()
        return BuiltImage(
            target=job.target,
            builder="oci",
            platforms=tuple(planned.plan.platform for planned in job.planned),
            manifests={image.platform: image.digest for image in images},
            digest=digest,
            id=image_id,
            references=references,
            pushed=pushed,
            loaded=loaded,
            bytes_sent=sum(place.bytes_sent for place in sent),
            metadata=image_metadata(image_id, digest, references),
            timings=tuple(one.seconds for one in written),
        )


def write_image(
    planned: Planned,
    content: Content,
    *,
    labels: Mapping[str, str],
    created: int,
    recipes: Recipes,
    mirrors: Mapping[str, str],
    say: Callable[[str], None] = lambda _: None,
) -> Written:
    """Write the image of a plan into the content store; what is there already is not made again.

    Args:
        planned: the image.
        content: where layers and documents go.
        labels: of this build.
        created: seconds since the epoch.
        recipes: compression, and what may be missing.
        mirrors: registry → mirror.
        say: is told what takes long.

    Raises:
        ContextError: something has to run in a container; the image would not start; a file changed; the disk is full.
        LockError: a wheel is not what was locked, or there is none for this platform.
        RegistryError, TemporaryError: the base cannot be had.
    """
    plan = planned.plan
    reason = needs_engine(plan.system_packages, plan.environment.from_source, plan.own_template)
    if reason is not None:
        raise ContextError(f"{reason}, which needs a container", remedy="`packager build --builder engine`")
    clock = _Clock()
    with clock("base"):
        base = fetch_base(plan.base, plan.platform, content, mirrors, say=say)
    with clock("environment"):
        environment = _environment(planned, base, content, recipes, mirrors, say)
    with clock("models and app"):
        store = Store()
        trees = [
            tree_layer(layer.tree, layer.title, planned.root, store, content, recipes.compression)
            for layer in plan.layers
        ]
    with clock("documents"):
        image = make_image(plan, base, (environment, *trees), labels, created, content)
    return Written(image=image, seconds=clock.seconds)


def _environment(
    planned: Planned, base: BaseImage, content: Content, recipes: Recipes, mirrors: Mapping[str, str], say: Say
) -> Layer:
    plan = planned.plan
    recipe = recipe_of(plan, base, content, compiled=True)
    title = plan.environment.title
    # The check belongs to base and environment together, so that both are in its key.
    known = recall_folder_layer(plan.environment.prefix, title, recipe.key, content, recipes.compression)
    check = StartCheck(planned, recipe, base, content, recipes.allow_missing)
    warnings = check.recall()
    if known is not None and warnings is not None:
        _warn(warnings, say)
        return known
    say(f"laying down the {title} for {plan.platform}")
    compiler = None
    if recipe.compiler:
        from packager.builders.compiling import make_compiler

        compiler = make_compiler(plan, base, recipe.compiler, content, mirrors)
    laid = laid_down(recipe, plan, planned.root, compiler=compiler)
    _warn(check.check(laid) if warnings is None else warnings, say)
    return folder_layer(
        Path(laid.folder),
        plan.environment.prefix,
        title,
        recipe.key,
        content,
        recipes.compression,
        listing=laid.listing,
    )


def _warn(warnings: Sequence[str], say: Say) -> None:
    for warning in warnings:
        say(f"warning: {warning}")


class _Clock:
    """Seconds of each step, for `--timings`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - start
