"""Files of the app that are large, or look like models, and that nothing names: they lie about in the folder. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from packager.checks.reach import Image, Reached
from packager.contract import MODEL_MODE
from packager.finding import Finding, Severity
from packager.plan.named_files import NAMING, named_files
from packager.plan.plan import Plan
from packager.plan.trees import TreeFile
from packager.units import human_size

#: Bytes from which a file that nothing names is worth a warning.
LARGE = 10 << 20
#: Bytes below which a file that happens to be the same as a model's is nothing to speak of.
_LEAST = 1 << 10
#: Ends of names that models have, and hardly anything else.
_MODELS = frozenset(
    {
        *(".pkl", ".pickle", ".joblib", ".onnx", ".h5", ".hdf5", ".keras", ".pt", ".pth", ".safetensors", ".bst"),
        *(".ubj", ".cbm", ".tflite", ".pmml", ".gguf", ".skops", ".ckpt"),
    }
)
_CODE = (".py", ".so", ".pyd")


def unopened_findings(
    plan: Plan, image: Image, reached: Reached, read: Callable[[str], bytes], source_dir: str
) -> Iterator[Finding]:
    """Yield each file of the app that is a model's over again, or that is large or a model and that no script names.

    Args:
        plan: of the target.
        image: the same as checks see it.
        reached: the modules that the entry script reaches.
        read: returns the content of a module by its path in the image; raises OSError.
        source_dir: of the spec.
    """
    models = {file.digest: model for model, file in _model_files(plan)}
    app = [file for layer in plan.layers for file in layer.tree.files if file.mode != MODEL_MODE and file.origin]
    doubtful = {}
    for file in app:
        path = _in_app(file, source_dir)
        if file.size >= _LEAST and file.digest in models:
            what = f"is the model {models[file.digest]} once more, packaged with the app"
            yield _finding("app-holds-model", "warning", what, file, path)
        elif _is_model(file) or (file.size >= LARGE and not file.path.endswith(_CODE)):
            doubtful[path] = file
    if not doubtful:
        return
    # What a script opens in the folder of its models is not the file of that name in the app.
    of_models = {posixpath.basename(use.text) for module in reached.modules for use in module.facts.paths}
    named = named_files(doubtful, _texts(image, read), without=of_models)
    for path, file in doubtful.items():
        if path not in named:
            kind = "looks like a model" if _is_model(file) else "is large"
            severity: Severity = "warning" if file.size >= LARGE else "info"
            what = f"{kind} ({human_size(file.size)}), and no script names it: it is packaged with the app"
            yield _finding("app-unopened", severity, what, file, path)


def _model_files(plan: Plan) -> Iterator[tuple[str, TreeFile]]:
    for layer in (*plan.layers, *plan.volumes):
        for file in layer.tree.files:
            if file.mode == MODEL_MODE:
                yield layer.registered or file.origin, file


def _is_model(file: TreeFile) -> bool:
    return PurePosixPath(file.path).suffix.lower() in _MODELS


def _texts(image: Image, read: Callable[[str], bytes]) -> Iterator[tuple[str, bytes]]:
    for path in image.files:
        if path.endswith(NAMING):
            try:
                yield path, read(path)
            except OSError:
                continue  # it is too large to be a script; the imports say so of one that is reached


def _in_app(file: TreeFile, source_dir: str) -> str:
    """Return the path of a file relative to the source directory."""
    source = posixpath.normpath(source_dir)
    return file.origin if source == "." else file.origin.removeprefix(f"{source}/")


def _finding(rule: str, severity: Severity, message: str, file: TreeFile, path: str) -> Finding:
    return Finding(
        rule=rule,
        severity=severity,
        message=message,
        file=file.origin,
        remedy=f"a line `{path}` in .dockerignore leaves it out",
    )
