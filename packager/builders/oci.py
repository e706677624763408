"""Plan → image without an engine: base, environment, models and app as layers, then configuration and manifest."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from packager.builders.base import fetch_base
from packager.builders.choose import needs_engine
from packager.errors import ContextError
from packager.laying.recipe import BasePython, CondaRecipe, Recipe, make_conda_recipe, make_recipe
from packager.oci.compose import make_image
from packager.oci.compression import Compression
from packager.oci.layers import folder_layer, recall_folder_layer, tree_layer
from packager.oci.values import BaseImage, Content, Image, Layer
from packager.pipeline import Planned
from packager.plan.plan import Plan
from packager.spec.load import SpecFile
from packager.storage.memory import Memory, cache_root
from packager.storage.models import Store

if TYPE_CHECKING:
    from packager.laying.base_files import BaseFiles
    from packager.laying.environment import LaidDown

# What makes and checks an environment is imported where one is made: most builds find it in the store.

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


def write_image(
    spec_file: SpecFile,
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
        spec_file: the spec, for its folder.
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
    reason = needs_engine(plan)
    if reason is not None:
        raise ContextError(f"{reason}, which needs a container", remedy="--builder engine")
    clock = _Clock()
    with clock("base"):
        base = fetch_base(plan.base, plan.platform, content, mirrors, say=say)
    with clock("environment"):
        environment = _environment(spec_file, plan, base, content, recipes, say)
    with clock("models and app"):
        store = Store()
        trees = [
            tree_layer(layer.tree, layer.title, spec_file.root, store, content, recipes.compression)
            for layer in plan.layers
        ]
    with clock("documents"):
        image = make_image(plan, base, (environment, *trees), labels, created, content)
    return Written(image=image, base_layers=len(base.layers), seconds=clock.seconds)


def _environment(
    spec_file: SpecFile, plan: Plan, base: BaseImage, content: Content, recipes: Recipes, say: Callable[[str], None]
) -> Layer:
    recipe = _recipe(plan, base, content, recipes)
    title = plan.environment.title
    # The check belongs to base and environment together, so that both are in the key.
    known = recall_folder_layer(plan.environment.prefix, title, recipe.key, content, recipes.compression)
    checked, key = Memory("checked"), (str(CHECKS), recipe.key, _key_of(base))
    if known is not None and checked.recall(*key) is not None:
        return known
    say(f"laying down the {title} for {plan.platform}")
    laid = _laid(recipe, plan, spec_file.root)
    warnings = _require_start(laid, _base_files(base, content), plan)
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


def _laid(recipe: Recipe | CondaRecipe, plan: Plan, root: Path) -> LaidDown:
    # Imported late, as all that lays an environment down: most builds have it in the store.
    from packager.laying.cache import cached, cached_by
    from packager.laying.wheels import Source

    if isinstance(recipe, Recipe):
        return cached(recipe, cache_root(), Source.of(root))
    from packager.laying.conda import conda_layer

    mirrors = plan.environment.conda.mirrors if plan.environment.conda else {}
    return cached_by(recipe, cache_root(), Source.of(root), conda_layer(cache_root() / "conda", mirrors))


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


def _recipe(plan: Plan, base: BaseImage, content: Content, recipes: Recipes) -> Recipe | CondaRecipe:
    compiler = None
    if recipes.compile:
        from packager.laying.compile import require_interpreter

        compiler = require_interpreter(plan.environment.python)
    if plan.environment.conda:
        # It brings its own Python: the base needs none.
        return make_conda_recipe(plan.environment, plan.platform, compiler=compiler)
    python = _base_python(plan, base, content)
    return make_recipe(plan.environment, plan.platform, plan.environment.wheels, python, compiler=compiler)


def _require_start(laid: LaidDown, files: BaseFiles, plan: Plan) -> tuple[str, ...]:
    """Refuse an environment that cannot work on the base; return what may go wrong."""
    from packager.laying.libraries import check_starts

    library_path = [each for each in plan.config.env.get("LD_LIBRARY_PATH", "").split(":") if each]
    found = check_starts(Path(laid.folder), files, plan.platform, plan.environment.wheels, library_path, laid.listing)
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
