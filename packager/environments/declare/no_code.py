"""The environment of a model without code, where the spec names none: from its framework, or from its folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from packager.environments.declare.conda_file import Parts, read_conda_file, requirements_parts
from packager.environments.declare.curated import load_curated
from packager.environments.declare.needless_conda import without_conda
from packager.environments.declare.requirement import requirement_name
from packager.environments.declare.requirements_txt import RequirementsReader, note
from packager.errors import ContextError
from packager.models.inspect import Inspected, inspect_model
from packager.spec.document import parse_yaml, read_text
from packager.spec.framework import Kind
from packager.spec.load import SpecFile
from packager.spec.model import InlineEnvironment, Model

#: What a framework's versions are counted by.
FRAMEWORK_PACKAGES: dict[Kind, str] = {"sklearn": "scikit-learn", "onnx": "onnxruntime", "tensorflow": "tensorflow"}
#: What a script needs besides, in an environment that stands on no curated one.
_BESIDES: dict[Kind, tuple[str, ...]] = {"sklearn": ("joblib", "numpy", "pandas"), "onnx": ("numpy",)}
#: First versions that have wheels for a newer Python than those before them (the packages' files on the index).
_NEWEST_PYTHON: dict[Kind, tuple[tuple[tuple[int, int], str], ...]] = {
    "sklearn": (
        *(((1, 6), "3.13"), ((1, 3), "3.12"), ((1, 2), "3.11"), ((1, 1), "3.10")),
        *(((0, 24), "3.9"), ((0, 0), "3.8")),
    ),
    "tensorflow": (
        *(((2, 20), "3.13"), ((2, 16), "3.12"), ((2, 12), "3.11")),
        *(((2, 8), "3.10"), ((2, 5), "3.9"), ((0, 0), "3.8")),
    ),
}
#: scikit-learn's wheels of before 1.5 may be built for NumPy 1, and do not say so.
_NUMPY_2 = (1, 5)


class Default(msgspec.Struct, frozen=True, kw_only=True):
    """The environment that follows from a model.

    Attributes:
        inline: as it would be written into a spec; None where `parts` has it.
        parts: of the files of an MLflow folder.
        python: minor version; None where the environment or the spec decides.
        notes: for people.
    """

    inline: InlineEnvironment | None = None
    parts: Parts = Parts()
    python: str | None = None
    notes: tuple[str, ...] = ()


def default_in_words(models: Iterable[Model]) -> str:
    """Return what takes the place of the default environment of models, where a package is to be added to it."""
    kinds = {model.kind for model in models} - {None, "mlflow"}
    return f"`environment: {{curated: {kinds.pop()}, pip: […]}}`" if len(kinds) == 1 else "an `environment:` of yours"


def default_environment(spec_file: SpecFile) -> Default:
    """Return the environment of a spec that has neither an entry script nor an environment.

    Raises:
        ContextError: the model is missing, or of another framework than the spec says; an MLflow folder names no
            environment.
        SpecError: a file of an MLflow folder is not valid.
    """
    (model,) = spec_file.spec.models
    inspected = inspect_model(spec_file, model)
    if inspected.kind == "mlflow":
        return _of_folder(spec_file, model, inspected)
    version = model.framework_version or inspected.sklearn
    if inspected.kind == "onnx" and version:
        said = "framework_version pins nothing: ONNX Runtime reads the graphs of all earlier versions of ONNX"
        version = None
    elif version and model.framework_version is None:
        said = f"the model was saved by scikit-learn {version}, which is locked for it"
    else:
        said = ""
    default = of_framework(inspected.kind, version, spec_file.spec.python)
    return msgspec.structs.replace(default, notes=(note(spec_file.at_model(model), said),) if said else ())


def of_framework(kind: Kind, version: str | None, python: str | None) -> Default:
    """Return the curated environment of a framework, or its packages alone where that has no such version or Python.

    Args:
        kind: the framework; not mlflow.
        version: that the model was saved with, or the spec asks for; None where it is not known.
        python: minor version that the spec asks for.
    """
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    package = FRAMEWORK_PACKAGES[kind]
    curated = load_curated(kind)
    line = next(each for each in curated.parts.requirements if requirement_name(each) == package)
    fits = python in (None, curated.python)
    if version is None:
        if fits:
            return Default(inline=InlineEnvironment(curated=kind))
        return Default(inline=InlineEnvironment(pip=(line, *_BESIDES.get(kind, ()))))
    pin = f"{package}=={version}" if version.count(".") > 1 else f"{package}=={version}.*"
    if fits and SpecifierSet(line.removeprefix(package)).contains(Version(version), prereleases=True):
        return Default(inline=InlineEnvironment(curated=kind, pip=(pin,)))
    number, newest = _number(version), newest_python(kind, version)
    besides = _BESIDES.get(kind, ())
    if kind == "sklearn" and number < _NUMPY_2:
        besides = ("joblib", "numpy<2", "pandas")
    return Default(inline=InlineEnvironment(pip=(pin, *besides)), python=python or newest)


def newest_python(kind: Kind, version: str) -> str:
    """Return the newest minor version of Python for which a version of a framework has wheels; not of onnx and mlflow.

    Raises:
        InvalidVersion: it is no version.
    """
    return next(each for least, each in _NEWEST_PYTHON[kind] if _number(version) >= least)


def _number(version: str) -> tuple[int, int]:
    from packaging.version import Version

    release = Version(version).release
    return release[0], release[1] if len(release) > 1 else 0


# --- MLflow's folder --------------------------------------------------------------------------------------------------


def _of_folder(spec_file: SpecFile, model: Model, inspected: Inspected) -> Default:
    """Return the environment that an MLflow folder names: conda.yaml, else requirements.txt and python_env.yaml."""
    root, shown, folder = spec_file.root, spec_file.document.path.parent, Path(model.path)
    if model.registered is not None:
        root = spec_file.above(model)
        shown, folder = root, Path(model.top)
    python = spec_file.spec.python
    if (root / folder / "conda.yaml").is_file():
        parts = read_conda_file(root, shown, folder / "conda.yaml")
        parts, python = without_conda(parts, spec_file, spec_file.at_model(model)) or (parts, python)
    elif (root / folder / "requirements.txt").is_file():
        reader = RequirementsReader(root, shown)
        reader.read(folder / "requirements.txt")
        parts = requirements_parts(reader)
        python = python or _python_of(shown / folder / "python_env.yaml", root)
    else:
        raise ContextError(
            f"the MLflow model {model.shown!r} names no environment: it has neither conda.yaml nor requirements.txt",
            where=spec_file.at_model(model),
            remedy="name one in the spec: `environment: requirements.txt`",
        )
    if model.registered is not None:
        parts = msgspec.structs.replace(parts, files=())  # the lock has the digest of all of it
    return Default(parts=_with_mlflow(parts, inspected, spec_file.at_model(model).file), python=python)


def _python_of(path: Path, root: Path) -> str | None:
    if not path.is_file():
        return None
    found = str(parse_yaml(read_text(path, root), path).data.get("python", "")).split(".")
    return ".".join(found[:2]) if len(found) > 1 else None


def _with_mlflow(parts: Parts, inspected: Inspected, file: str) -> Parts:
    """Return an environment with what loads a python_function: most folders name mlflow themselves."""
    asked = {requirement_name(each) for each in parts.requirements} | {each.spec.name for each in parts.specs}
    if asked & {"mlflow", "mlflow-skinny"}:
        return parts
    version = inspected.mlflow.version if inspected.mlflow else None
    added = [f"mlflow-skinny=={version}" if version else "mlflow-skinny", *({"pandas"} - asked)]
    said = f"{file}:1: the model's environment has no mlflow, which loads it: added {', '.join(added)}"
    return msgspec.structs.replace(parts, requirements=(*parts.requirements, *added), notes=(*parts.notes, said))
