"""The models of one image, looked into: which of their files are pickles, what these need, which are no models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from packager.checks.frameworks import framework_findings
from packager.checks.module_search import Search
from packager.checks.pickled_models import AGAIN, needed_modules, pickle_findings
from packager.finding import Finding
from packager.models.formats import read_format
from packager.models.pickle_reader import PickleFacts
from packager.models.remembered_pickle import remembered_pickle
from packager.plan.plan import Layer, Plan
from packager.plan.trees import TreeFile
from packager.spec.load import SpecFile
from packager.storage.memory import Memory


class PackagedModels:
    """The models of a plan.

    Args:
        spec_file: the spec.
        plan: of one target.
        memory: facts of models by their digest.
    """

    def __init__(self, spec_file: SpecFile, plan: Plan, memory: Memory) -> None:
        self._plan, self._root = plan, spec_file.root
        self._models = [(model, plan.of_model(model)) for model in spec_file.spec.for_target(plan.target).models]
        files = {file.digest: file for _, layer in self._models for file in layer.tree.files}
        self._facts = {digest: _facts(self._root, file, memory) for digest, file in files.items()}

    @property
    def needed(self) -> dict[str, tuple[str, ...]]:
        """File, for people → the modules that loading it imports, sorted."""
        found = ((_shown(layer, file), self._facts[file.digest]) for layer, file in self._files())
        return {shown: modules for shown, facts in found if facts is not None and (modules := needed_modules(facts))}

    def findings(self, search: Search, environment: str, *, main_is_made: bool) -> Iterator[Finding]:
        """Yield what will go wrong when the models are loaded.

        Args:
            search: finds modules in the image.
            environment: what the user calls the environment (`requirements.txt`).
            main_is_made: whether the app itself puts something into `__main__`.
        """
        versions = self._plan.environment.locked.versions
        for model, layer in self._models:
            written: set[str] = set()
            for file in layer.tree.files:
                facts, shown = self._facts[file.digest], _shown(layer, file)
                if facts is None:
                    yield from self._misnamed(file, shown)
                    continue
                written.update(facts.sklearn)
                yield from pickle_findings(
                    facts,
                    shown,
                    search,
                    versions,
                    self._plan.environment.python,
                    environment,
                    main_is_made=main_is_made,
                )
            yield from framework_findings(model, tuple(sorted(written)), versions)

    def _files(self) -> Iterator[tuple[Layer, TreeFile]]:
        return ((layer, file) for _, layer in self._models for file in layer.tree.files)

    def _misnamed(self, file: TreeFile, shown: str) -> Iterator[Finding]:
        """Yield that a file is called as a model and is none."""
        try:
            found = read_format(self._root / file.origin, lambda _path: None)
        except OSError:
            return  # the scan of the sources has read it a moment ago; it will say so the next time
        if found is not None and found.problem:
            yield Finding(rule="model-broken", severity="error", message=found.problem, file=shown, remedy=AGAIN)


def _facts(root: Path, file: TreeFile, memory: Memory) -> PickleFacts | None:
    try:
        return remembered_pickle(root / file.origin, file.digest, memory)
    except OSError:
        return None  # the scan of the sources has read it a moment ago; it will say so the next time


def _shown(layer: Layer, file: TreeFile) -> str:
    """Return a model's file for people: where it is, or where in what is registered."""
    if not layer.registered:
        return file.origin
    # var/azureml-app/azureml-models/<name>/<version>/<path>
    return f"{layer.registered}/{file.path.split('/', 5)[5]}"
