"""Plan → image without an engine: base, environment, models and app as layers, then configuration and manifest."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from packager.builders.base import fetch_base
from packager.builders.builder import BuiltImage, Candidate, Job, image_metadata
from packager.builders.choose import needs_engine
from packager.builders.outputs import Output, Say, load_into_engine
from packager.builders.unread_models import is_known, layer_ahead
from packager.context.sources import DigestModel, list_models
from packager.errors import ContextError, RegistryError, UsageError
from packager.laying.recipe import BasePython, Recipe, make_recipe
from packager.oci.compose import make_image, make_index
from packager.oci.compression import Compression
from packager.oci.layers import folder_layer, recall_folder_layer, tree_layer
from packager.oci.values import BaseImage, Content, Image, Layer, digest_of
from packager.plan.make import model_layer
from packager.plan.plan import Plan
from packager.plan.planned import Planned
from packager.spec.load import SpecFile
from packager.storage.blobs import DamagedError, not_as_read
from packager.storage.memory import Memory, cache_root
from packager.storage.models import Store
from packager.storage.reading import digest_file

if TYPE_CHECKING:
    from packager.laying.base_files import BaseFiles
    from packager.laying.environment import LaidDown

# What makes and checks an environment is imported where one is made: most builds find it in the store.

T = TypeVar("T")

#: Of what is checked of environment and base: a higher number checks all of them anew.
CHECKS = 2


class Recipes(msgspec.Struct, frozen=True, kw_only=True):
    """How the layers of an image are made; what they hold is the plan's business.

    Attributes:
        compression: of our layers' blobs.
        compile: byte-compile the environment.
    """

    compression: Compression = "gzip"
    compile: bool = False


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """An image in the content store.

    Attributes:
        image: it.
        base_layers: how many of its layers are the base's.
        seconds: what each step took, by name.
    """

    image: Image
    base_layers: int
    seconds: dict[str, float]


#: Damaged blobs that are made again in one run; where there are more, the disk is not to be relied on.
_DAMAGED = 100


class OciBuilder:
    """Builds images without an engine.

    Args:
        content: where layers and documents go.
        recipes: compression and byte-compilation.
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
        return load_into_engine(self.written(planned).image, (reference,), self.content)

    def _healed(self, planned: Sequence[Planned], act: Callable[[], T]) -> T:
        """Return what an act returns; a damaged blob that it finds in the store is made again, and it is said."""
        for _ in range(_DAMAGED):
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
        recipes: compression and byte-compilation.
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
        raise ContextError(f"{reason}, which needs a container", remedy="--builder engine")
    clock = _Clock()
    with clock("base"):
        base = fetch_base(plan.base, plan.platform, content, mirrors, say=say)
    with clock("environment"):
        environment = _environment(planned.root, plan, base, content, recipes, say)
    with clock("models and app"):
        store = Store()
        trees = [
            tree_layer(layer.tree, layer.title, planned.root, store, content, recipes.compression)
            for layer in plan.layers
        ]
    with clock("documents"):
        image = make_image(plan, base, (environment, *trees), labels, created, content)
    return Written(image=image, base_layers=len(base.layers), seconds=clock.seconds)


def _environment(
    root: Path, plan: Plan, base: BaseImage, content: Content, recipes: Recipes, say: Callable[[str], None]
) -> Layer:
    recipe = _recipe(plan, base, content, recipes)
    title = plan.environment.title
    # The check belongs to base and environment together, so that both are in the key.
    known = recall_folder_layer(plan.environment.prefix, title, recipe.key, content, recipes.compression)
    checked, key = Memory("checked"), (str(CHECKS), recipe.key, _key_of(base))
    if known is not None and checked.recall(*key) is not None:
        return known
    say(f"laying down the {title} for {plan.platform}")
    laid = _laid(recipe, plan, root)
    warnings = (*laid.warnings, *_require_start(laid, _base_files(base, content), plan))
    for warning in warnings:
        say(f"warning: {warning}")
    if not warnings:  # they are said at every build
        checked.remember(b"", *key)
    return folder_layer(
        Path(laid.folder),
        plan.environment.prefix,
        title,
        recipe.key,
        content,
        recipes.compression,
        listing=laid.listing,
    )


def _laid(recipe: Recipe, plan: Plan, root: Path) -> LaidDown:
    # Imported late, as all that lays an environment down: most builds have it in the store.
    from packager.laying.cache import cached
    from packager.laying.wheels import Source

    if plan.environment.conda is None:
        return cached(recipe, cache_root(), Source.of(root))
    from packager.laying.conda import conda_layer

    make = conda_layer(cache_root() / "conda", plan.environment.conda.mirrors)
    return cached(recipe, cache_root(), Source.of(root), make)


def _base_files(base: BaseImage, content: Content) -> BaseFiles:
    from packager.laying.base_files import FileBlob, read_base_files

    layers = (layer.blob.digest for layer in base.layers)
    blobs = (FileBlob(digest=each, path=str(content.path(each))) for each in layers)
    return read_base_files(blobs, Memory("base-files"))


def _base_python(plan: Plan, base: BaseImage, content: Content) -> BasePython:
    """Return the interpreter of the base; remembered, because thousands of paths are read to find it."""
    memory, key = Memory("pythons"), _key_of(base)
    data = memory.recall(key)
    if data is not None:
        with contextlib.suppress(msgspec.MsgspecError):
            return msgspec.json.decode(data, type=BasePython)
    from packager.laying.base_files import find_python

    python = find_python(_base_files(base, content))
    if python is None:
        raise ContextError(
            f"the base {plan.base.reference} has no python3 in /usr/local/bin or /usr/bin",
            remedy=f"take a base with Python {plan.environment.python}",
        )
    memory.remember(msgspec.json.encode(python), key)
    return python


def _recipe(plan: Plan, base: BaseImage, content: Content, recipes: Recipes) -> Recipe:
    compiler = None
    if recipes.compile:
        from packager.laying.compile import require_interpreter

        compiler = require_interpreter(plan.environment.python)
    # conda brings its own Python: the base needs none.
    python = None if plan.environment.conda else _base_python(plan, base, content)
    return make_recipe(plan.environment.locked, python, compiler=compiler)


def _require_start(laid: LaidDown, files: BaseFiles, plan: Plan) -> tuple[str, ...]:
    """Refuse an environment that cannot work on the base; return what may go wrong."""
    from packager.laying.libraries import check_starts

    library_path = [each for each in plan.config.env.get("LD_LIBRARY_PATH", "").split(":") if each]
    found = check_starts(
        Path(laid.folder), files, plan.platform, plan.environment.locked.tags, library_path, laid.listing
    )
    problems = [problem for problem in found if problem.certain]
    if not problems:
        return tuple(problem.message for problem in found)
    packages = sorted({problem.package for problem in problems if problem.package})
    remedy = f"`system_packages: [{', '.join(packages)}]`, or another base" if packages else "take another base"
    if all(problem.kind == "damaged" and problem.what in problem.needed_by for problem in problems):
        remedy = "take another version of the package that brings it"
    reasons = "".join(f"\n    {problem.message}" for problem in problems)
    raise ContextError(f"the environment would not work on {plan.base.reference}:{reasons}", remedy=remedy)


def _key_of(base: BaseImage) -> str:
    return hashlib.sha256("\n".join(layer.diff_id for layer in base.layers).encode()).hexdigest()


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
