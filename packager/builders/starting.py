"""Will the environment start on its base: asked before an image is made, by whichever builder."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import posixpath
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from packager.builders.base import describe_base, fetch_base
from packager.contract import APP_ROOT
from packager.decoding import decode_json
from packager.errors import ContextError, PackagerError
from packager.laying.recipe import BasePython, Recipe, make_recipe
from packager.oci.values import BaseImage, Content
from packager.plan.plan import Plan
from packager.plan.planned import Planned
from packager.storage.memory import Memory, cache_root

if TYPE_CHECKING:
    from packager.laying.base_files import BaseFiles
    from packager.laying.compile import Compiler
    from packager.laying.environment import LaidDown
    from packager.laying.imported import Script
    from packager.laying.libraries import Problem

# What makes and checks an environment is imported where one is made: most builds find it in the store.

#: Of what is checked of environment and base: a higher number checks all of them anew.
CHECKS = 3

#: Bytes of a base that is fetched for the check alone, where BuildKit fetches it again.
_LARGEST_BASE = 256 << 20


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a check that found no reason to refuse: the warnings, a line each."""

    warnings: tuple[str, ...] = ()


class StartCheck:
    """The check of one environment on one base; its verdict is remembered.

    Args:
        planned: the image.
        recipe: of the environment.
        base: in the content store.
        content: the store.
        accepted: libraries that the user knows to be missing.
    """

    def __init__(
        self, planned: Planned, recipe: Recipe, base: BaseImage, content: Content, accepted: Collection[str]
    ) -> None:
        self.recipe = recipe
        self._planned, self._base, self._content = planned, base, content
        self._accepted = frozenset(accepted)
        self._memory = Memory("checked")

    def recall(self) -> tuple[str, ...] | None:
        """Return the warnings of a check that was made before; None where none was, or it refused."""
        for key in self._keys():
            with contextlib.suppress(msgspec.MsgspecError):
                return decode_json(self._memory.recall(*key) or b"", Checked).warnings
        return None

    def check(self, laid: LaidDown) -> tuple[str, ...]:
        """Return what may go wrong, a line each.

        Raises:
            ContextError: the environment would not work on the base.
        """
        from packager.laying.libraries import check_starts

        plan = self._planned.plan
        problems = check_starts(
            Path(laid.folder),
            base_files(self._base, self._content),
            plan.platform,
            plan.environment.locked.tags,
            [each for each in _library_path(plan).split(":") if each],
            laid.listing,
            script_of(self._planned),
        )
        found = judge(
            problems, plan.base.reference, self._accepted, plan.system_packages, changed=bool(plan.own_template)
        )
        warnings = (*laid.warnings, *found)
        always, for_this = self._keys()
        self._memory.remember(msgspec.json.encode(Checked(warnings=warnings)), *(for_this if problems else always))
        return warnings

    def _keys(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the keys of verdicts: where nothing at all is missing, and where the app's imports decide."""
        plan = self._planned.plan
        always = (str(CHECKS), self.recipe.key, key_of(self._base), _library_path(plan))
        return always, (*always, plan.app.tree.digest, *sorted(self._accepted), "system", *plan.system_packages)


def judge(
    problems: Iterable[Problem],
    base: str,
    accepted: Collection[str],
    system_packages: Collection[str],
    *,
    changed: bool = False,
) -> tuple[str, ...]:
    """Return the warnings that problems come to. Pure.

    Args:
        problems: of the environment on the base.
        base: its reference.
        accepted: libraries that the user knows to be missing.
        system_packages: Debian packages of the image, which may bring what they are not known for.
        changed: a template of the user's adds to the base, nobody knows what.

    Raises:
        ContextError: one of them is certain, and nobody accepted it.
    """
    brought = {each.partition("=")[0].partition(":")[0] for each in system_packages}
    left = [each for each in problems if each.what not in accepted and each.package not in brought]
    refused = [each for each in left if each.certain and not ((brought or changed) and each.kind == "library")]
    if not refused:
        return tuple(each.message for each in left)
    packages = sorted({problem.package for problem in refused if problem.package} | brought)
    named = any(problem.package for problem in refused)
    remedy = f"`system_packages: [{', '.join(packages)}]`, or another base" if named else "take another base"
    if all(problem.kind == "damaged" and problem.what in problem.needed_by for problem in refused):
        remedy = "take another version of the package that brings it"
    libraries = [problem.what for problem in refused if problem.kind == "library"]
    if len(libraries) == len(refused):
        options = " ".join(f"--allow-missing {name}" for name in libraries)
        remedy += f"; where the service does without, `{options}` accepts it (in the spec: `allow_missing`)"
    reasons = "".join(f"\n    {problem.message}" for problem in refused)
    raise ContextError(f"the environment would not work on {base}:{reasons}", remedy=remedy)


def check_before(
    planned: Planned,
    content: Content,
    mirrors: Mapping[str, str],
    accepted: Collection[str],
    say: Callable[[str], None] = lambda _: None,
) -> tuple[str, ...]:
    """Return what may go wrong with an image that BuildKit is to build, a line each; nothing where it cannot be told.

    BuildKit fetches base and wheels itself. For this check both are fetched here, too, unless that is too much: for the
    GPU, only what is at hand is looked at.

    Args:
        planned: the image.
        content: the store.
        mirrors: registry → mirror.
        accepted: libraries that the user knows to be missing.
        say: is told where nothing was looked at, and why.

    Raises:
        ContextError: the environment would not work on the base.
    """
    plan = planned.plan

    def unchecked(reason: str) -> tuple[str, ...]:
        on = f"{plan.target} ({plan.platform})"
        say(f"not looked at for {on}: whether the base has the libraries that the environment needs; {reason}")
        return ()

    if plan.environment.from_source:
        names = ", ".join(plan.environment.from_source)
        return unchecked(f"what the stage makes of the source of {names} is known when it is made")
    offline = bool(plan.machine.gpus)
    laid = None
    try:
        if not (plan.base.local or plan.base.archived) and _is_large(plan, content, offline=offline):
            return unchecked("the base is large, and would be fetched a second time")
        base = fetch_base(plan.base, plan.platform, content, mirrors)
        check = StartCheck(planned, recipe_of(plan, base, content), base, content, accepted)
        known = check.recall()
        if known is None:
            laid = laid_down(check.recipe, plan, planned.root, offline=offline)
    except (PackagerError, OSError) as error:
        # BuildKit may reach what this machine does not; where not, it says so itself.
        reason = error.message if isinstance(error, PackagerError) else str(error)
        return unchecked(f"base or packages are not at hand: {reason.partition(chr(10))[0]}")
    return check.check(laid) if laid is not None else known or ()


def _is_large(plan: Plan, content: Content, *, offline: bool) -> bool:
    blobs = [layer.blob for layer in describe_base(plan.base, plan.platform).layers]
    missing = sum(blob.size for blob in blobs if not content.has(blob.digest, blob.size))
    return missing > (0 if offline else _LARGEST_BASE)


def script_of(planned: Planned) -> Script:
    """Return the Python files of an image's app, and its entry script, by the names that imports know them by."""
    from packager.laying.imported import Script

    plan = planned.plan
    folder = plan.config.env.get("AZUREML_SOURCE_DIRECTORY", APP_ROOT)
    start = f"{folder.removeprefix('/')}/"
    files = {
        file.path.removeprefix(start).removesuffix(".py").removesuffix("/__init__").replace("/", "."): file.origin
        for file in plan.app.tree.files
        if file.origin and file.path.startswith(start) and file.path.endswith(".py")
    }
    entry = next((each.partition("=")[2] for each in plan.config.entrypoint if each.startswith("--entry_script=")), "")
    name = posixpath.relpath(entry, folder).removesuffix(".py").replace("/", ".")
    return Script(modules={name: f"{planned.root}/{origin}" for name, origin in files.items()}, entry=name)


def base_files(base: BaseImage, content: Content) -> BaseFiles:
    """Return what files a base has.

    Raises:
        ContextError: a layer is damaged.
    """
    from packager.laying.base_files import FileBlob, read_base_files

    layers = (layer.blob.digest for layer in base.layers)
    blobs = (FileBlob(digest=each, path=str(content.path(each))) for each in layers)
    return read_base_files(blobs, Memory("base-files"))


def laid_down(
    recipe: Recipe, plan: Plan, root: Path, *, offline: bool = False, compiler: Compiler | None = None
) -> LaidDown:
    """Return the environment of a plan in a folder of the cache.

    Args:
        recipe: of it.
        plan: of the image.
        root: the folder of the spec, whose settings of indexes count.
        offline: fetch nothing.
        compiler: byte-compiles it; needed where the recipe says that it is.

    Raises:
        LockError, TemporaryError, ContextError: see `packager.laying.environment.lay_down`.
    """
    # Imported late, as all that lays an environment down: most builds have it in the store.
    from packager.laying.cache import cached
    from packager.laying.environment import lay_down
    from packager.laying.wheels import Source

    source = Source.of(root, offline=offline)
    if plan.environment.conda is None:
        return cached(recipe, cache_root(), source, functools.partial(lay_down, compiler=compiler))
    from packager.laying.conda import conda_layer

    make = conda_layer(cache_root() / "conda", plan.environment.conda.mirrors, compiler)
    return cached(recipe, cache_root(), source, make)


def recipe_of(plan: Plan, base: BaseImage, content: Content, *, compiled: bool = False) -> Recipe:
    """Return the recipe of a plan's environment on its base.

    Args:
        plan: of the image.
        base: in the content store.
        content: the store.
        compiled: byte-compiled, where the plan says so.

    Raises:
        ContextError: the base has no Python, or does not tell its version.
        LockError: see `packager.laying.recipe.make_recipe`.
    """
    environment = plan.environment
    if environment.conda:
        # conda brings its own Python: the base needs none.
        python, version = None, environment.locked.versions.get("python", "")
    else:
        python, version = _base_python(plan, base, content)
    if not (compiled and environment.compiler):
        return make_recipe(environment.locked, python)
    if not version:
        raise ContextError(
            f"the Python of the base {plan.base.reference} does not tell its version: nothing can be compiled for it",
            remedy="`compile: false` in the spec, `--builder engine`, or another base",
        )
    return make_recipe(environment.locked, python, compiler=version)


def key_of(base: BaseImage) -> str:
    """Return what names the files of a base: sha256 (64 hex digits) of its layers' own."""
    return hashlib.sha256("\n".join(layer.diff_id for layer in base.layers).encode()).hexdigest()


def _base_python(plan: Plan, base: BaseImage, content: Content) -> tuple[BasePython, str]:
    """Return the interpreter of the base, and its version in full; remembered: thousands of paths are read for it."""
    memory, key = Memory("pythons"), key_of(base)
    data = memory.recall(key)
    if data is not None:
        with contextlib.suppress(msgspec.MsgspecError):
            return decode_json(data, tuple[BasePython, str])
    from packager.laying.base_files import exact_version, find_python

    files = base_files(base, content)
    python = find_python(files)
    if python is None:
        raise ContextError(
            f"the base {plan.base.reference} has no python3 in /usr/local/bin or /usr/bin",
            remedy=f"take a base with Python {plan.environment.python}",
        )
    found = (python, exact_version(files, python))
    memory.remember(msgspec.json.encode(found), key)
    return found


def _library_path(plan: Plan) -> str:
    return plan.config.env.get("LD_LIBRARY_PATH", "")
