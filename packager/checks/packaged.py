"""Looks at what a plan would package: the code that the entry script reaches, and the models. It only reads."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from packager.checks.code_findings import gone_findings, model_findings
from packager.checks.constants import MODEL_DIR
from packager.checks.exported import Exported
from packager.checks.failing_imports import Start, causes, failing_imports, starts_of_app, starts_of_packages
from packager.checks.import_findings import import_findings, imported_from, name_findings, undecided, unknown_finding
from packager.checks.incompatible import broken_rules
from packager.checks.installed import Installed
from packager.checks.known_modules import SERVER_PACKAGE, is_standard
from packager.checks.literal_paths import literal_path_findings
from packager.checks.module_facts import MAX_SOURCE
from packager.checks.packaged_models import PackagedModels
from packager.checks.reach import Image, Reached, reach
from packager.checks.standard_library import standard_exported
from packager.checks.unlocked import undecided_modules, unlocked_findings
from packager.checks.unopened import unopened_findings
from packager.checks.wheel_contents import WheelContents
from packager.contract import APP_ROOT
from packager.environments.declare.no_code import default_in_words
from packager.environments.declare.requirement import requirement_name
from packager.environments.locked import LockedPlatform
from packager.errors import PackagerError
from packager.finding import Finding
from packager.given import read_given
from packager.laying.wheels import Source
from packager.plan.plan import Plan
from packager.plan.variables import model_folder
from packager.spec.load import SpecFile
from packager.spec.model import InlineEnvironment, Spec
from packager.storage.memory import Memory
from packager.storage.models import default_root


class Looker:
    """Checks what plans would package; what it finds out about wheels and models is remembered on this machine.

    Args:
        spec_file: the spec.
        contents: looks into wheels.
        memory: facts of models by their digest.
        offline: fetch no wheel to look into it.
        say: is told what takes long.
    """

    def __init__(
        self,
        spec_file: SpecFile,
        contents: WheelContents,
        memory: Memory,
        *,
        offline: bool,
        say: Callable[[str], None],
    ) -> None:
        self._spec_file, self._contents, self._memory = spec_file, contents, memory
        self._offline, self._say = offline, say

    def findings(self, plan: Plan, requirements: Sequence[str] = ()) -> Iterator[Finding]:
        """Yield what is wrong with the code and the models of one image.

        Args:
            plan: of the target.
            requirements: what its environment asks for, constraints among it; normal forms.

        Raises:
            ContextError: a model cannot be read.
        """
        image = image_of(self._spec_file.spec, plan)
        wheels = plan.environment.locked
        environment = self._environment()
        models = PackagedModels(self._spec_file, plan, self._memory)
        reached, installed, reason = self._reach(image, wheels, models.needed)
        gone = list(gone_findings(image, reached, plan.environment.locked.versions))
        told = {(each.file, each.line) for each in gone}
        yield from reached.problems
        for finding in import_findings(image, reached, environment, partial(left_out_module, self._spec_file)):
            # `sklearn.externals` is told once, by the rule that says what to write in its place.
            if (finding.file, finding.line) not in told:
                yield finding
        yield from gone
        for finding in name_findings(image, reached, self._names(reached, installed, wheels), wheels.versions):
            if (finding.file, finding.line) not in told:
                yield finding
        locks = f"locks/{plan.target}.requirements.txt"
        yield from self.failing(wheels, installed, requirements, starts_of_app(image, reached, locks))
        yield from model_findings(image, reached, frozenset(installed.names))
        yield from literal_path_findings(image, reached, self._spec_file.spec, self._read(image), self._is_there)
        questions = {image.files[image.entry]: undecided(reached)}
        questions |= {file: undecided_modules(modules, reached.search) for file, modules in models.needed.items()}
        for file, modules in questions.items():
            if modules:
                yield unknown_finding(modules, installed.unknown, reason, _remedy(self._offline), file)
        yield from unlocked_findings(image, reached, models.needed, environment)
        yield from models.findings(reached.search, environment, main_is_made=_makes_main(reached))
        yield from unopened_findings(plan, image, reached, self._read(image), self._spec_file.spec.source_dir)

    def findings_without_lock(self, plan: Plan, requirements: Iterable[str]) -> Iterator[Finding]:
        """Yield what is wrong whatever is locked: the app's own modules, Python's, paths of models, and the models.

        Args:
            plan: of a target without a lock.
            requirements: what its environment asks for, in normal form.

        Raises:
            ContextError: a model cannot be read.
        """
        image = image_of(self._spec_file.spec, plan)
        # What nobody looked into may have any module: nothing is said of those of packages.
        installed = Installed({}, {*map(requirement_name, requirements), SERVER_PACKAGE, "azureml-core"})
        reached = reach(image, installed, self._read(image))
        ours = [each for each in imported_from(reached) if is_standard(each.partition(".")[0], image.python)]
        yield from reached.problems
        yield from import_findings(image, reached, self._environment(), partial(left_out_module, self._spec_file))
        yield from gone_findings(image, reached, {})
        yield from name_findings(image, reached, standard_exported(ours, image.python), {})
        yield from model_findings(image, reached, frozenset(installed.names))
        models = PackagedModels(self._spec_file, plan, self._memory)
        yield from models.findings(reached.search, self._environment(), main_is_made=_makes_main(reached))
        yield from unopened_findings(plan, image, reached, self._read(image), self._spec_file.spec.source_dir)

    def errors_known(self, plan: Plan) -> tuple[Finding, ...]:
        """Return the errors that can be told at once: by what is remembered of packages; none is laid down or fetched.

        Where nothing is remembered, a module whose package is known and not locked is a warning.

        Raises:
            ContextError: a model cannot be read.
        """
        image = image_of(self._spec_file.spec, plan)
        installed = self._contents.known(plan.environment.locked, tries=0)
        reached = reach(image, installed, self._read(image))
        found = [*import_findings(image, reached, self._environment(), partial(left_out_module, self._spec_file))]
        found += gone_findings(image, reached, plan.environment.locked.versions)
        found += model_findings(image, reached, frozenset(installed.names))
        models, environment = PackagedModels(self._spec_file, plan, self._memory), self._environment()
        found += models.findings(reached.search, environment, main_is_made=_makes_main(reached))
        unlocked = unlocked_findings(image, reached, models.needed, environment)
        return tuple(dict.fromkeys((*(each for each in found if each.severity == "error"), *unlocked)))

    def failing(
        self, locked: LockedPlatform, installed: Installed, requirements: Sequence[str], app: Sequence[Start] = ()
    ) -> Iterator[Finding]:
        """Yield the packages whose import fails with what is locked beside them.

        Args:
            locked: the environment.
            installed: its modules, as far as they are known.
            requirements: what the user asks for, constraints among it; normal forms.
            app: what the app and the server import.
        """
        told = {each.package for each in broken_rules(locked, requirements)}
        found = causes(installed, locked, told, app)
        if not found:
            return
        asked = starts_of_packages(installed, requirements, f"locks/{locked.target}.requirements.txt")
        groups = [list(dict.fromkeys(each.statement for each in starts)) for starts in (app, asked)]
        ways = self._contents.ways(locked, groups, found, offline=self._offline)
        yield from failing_imports(
            found, zip((app, asked), ways, strict=True), locked, requirements, self._environment()
        )

    def failing_known(self, locked: LockedPlatform, requirements: Sequence[str]) -> tuple[Finding, ...]:
        """Return the packages of a lock whose import fails, as far as their wheels are on this machine.

        Args:
            locked: the environment.
            requirements: what the user asks for, constraints among it; normal forms.
        """
        return tuple(self.failing(locked, self._contents.known(locked, tries=1), requirements))

    def _reach(
        self, image: Image, wheels: LockedPlatform, needed: Mapping[str, Sequence[str]]
    ) -> tuple[Reached, Installed, str]:
        """Follow imports with what is known of the packages; fetch the others only where a module is asked for.

        Args:
            image: the image.
            wheels: its environment.
            needed: file of a model → the modules that it needs.
        """
        # uv names one package at a time that it has not; who is offline waits a little longer for an answer.
        installed = self._contents.known(wheels, tries=12 if self._offline else 4)
        reached = reach(image, installed, self._read(image))
        modules = [module for each in needed.values() for module in each]
        names = (*undecided(reached), *undecided_modules(modules, reached.search))
        if not names or self._offline:
            return reached, installed, "offline, and not in uv's cache"
        self._say(f"looking for {', '.join(names[:3])} in {len(installed.unknown)} packages (uv fetches them once)")
        try:
            installed = self._contents.fetched(wheels)
        except PackagerError as error:
            return reached, installed, error.message.partition("\n")[0]
        return reach(image, installed, self._read(image)), installed, "built from source, or no wheels"

    def _names(self, reached: Reached, installed: Installed, wheels: LockedPlatform) -> dict[str, Exported]:
        """Return the names of the modules of packages from which the app imports some."""
        asked = {module: owner for module in imported_from(reached) if (owner := installed.likely_owner(module))}
        ours = [each for each in imported_from(reached) if is_standard(each.partition(".")[0], wheels.python)]
        return standard_exported(ours, wheels.python) | self._contents.exported(wheels, asked, offline=self._offline)

    def _read(self, image: Image) -> Reader:
        return Reader(self._spec_file.root, image)

    def _environment(self) -> str:
        spec = self._spec_file.spec
        if spec.environment is None:
            return default_in_words(self._spec_file.every_model)
        return "`environment: pip:`" if isinstance(spec.environment, InlineEnvironment) else spec.environment

    def _is_there(self, path: str) -> bool:
        return (self._spec_file.root / path).exists()


def left_out_module(spec_file: SpecFile, name: str) -> str | None:
    """Return the path of a module of the user's that lies in the source directory, or beside it; None for none."""
    source, root = spec_file.spec.source_dir, spec_file.root
    for path in (f"{name}.py", f"{name}/__init__.py"):
        shown = posixpath.normpath(posixpath.join(source, path))
        if (root / shown).is_file():
            return shown
    if not name.isidentifier() or posixpath.normpath(source) == ".":
        return None
    # Scripts put `..` or `../common` on sys.path.
    patterns = [each for path in (f"{name}.py", f"{name}/__init__.py") for each in (path, f"*/{path}")]
    found = (each.relative_to(root).as_posix() for pattern in patterns for each in sorted(root.glob(pattern)))
    return next((each for each in found if not each.startswith(".")), None)


class Reader:
    """Reads files of the image from where they come from.

    Args:
        root: the folder of the spec.
        image: it.
    """

    def __init__(self, root: Path, image: Image) -> None:
        self._root, self._files, self._texts = root, image.files, image.texts

    def __call__(self, path: str) -> bytes:
        """Return the content of a file.

        Args:
            path: in the image.

        Raises:
            OSError: it is not as it was scanned: missing, elsewhere, no file; or larger than `MAX_SOURCE` (EFBIG).
        """
        if path in self._texts:
            return self._texts[path].encode()
        return read_given(self._root / self._files[path], MAX_SOURCE, self._root)


def _makes_main(reached: Reached) -> bool:
    """Whether the app itself puts something into `__main__`."""
    return any(each.target == "__main__" for each in reached.imported)


def make_looker(spec_file: SpecFile, *, offline: bool, say: Callable[[str], None]) -> Looker:
    """Return what checks the plans of a spec with this machine's caches and index settings."""
    cache = default_root().parent
    memory = Memory("facts")
    contents = WheelContents(memory, Source.of(spec_file.root), cache)
    return Looker(spec_file, contents, memory, offline=offline, say=say)


def image_of(spec: Spec, plan: Plan) -> Image:
    """Return what the checks need to know of an image. Pure."""
    # What is mounted is there for the script as what is in a layer.
    present = {f"/{file.path}": file for layer in (*plan.layers, *plan.volumes) for file in layer.tree.files}
    # What packager made is shown by its name in the image.
    files = {path: file.origin or path for path, file in present.items()}
    texts = {path: file.text for path, file in present.items() if file.text is not None}
    folders: set[str] = set()
    for path in files:
        folder = posixpath.dirname(path) if path.endswith((".py", ".so")) else "/"
        while folder != "/" and folder not in folders:
            folders.add(folder)
            folder = posixpath.dirname(folder)
    models = {}
    for model in spec.for_target(plan.target).models:
        models[model.called, model.version] = posixpath.join(model_folder(model.called, model.version), model.top)
    return Image(
        entry=posixpath.join(spec.app_folder, posixpath.normpath(spec.script)),
        root=APP_ROOT,
        python=plan.environment.python,
        files=files,
        folders=frozenset(folders),
        environ=plan.config.env,
        unset=frozenset({MODEL_DIR} - plan.config.env.keys()),
        models=models,
        texts=texts,
    )


def _remedy(offline: bool) -> str:
    return (
        "run `packager check` without --offline"
        if offline
        else "see that the package index is in reach; `packager test` runs the service"
    )
