"""Which framework a model is of, and what else its file tells; found where nobody said, held against it where said.

Names are Azure ML v1's (`ScikitLearn`, `TfKeras`) or ours (`sklearn`, `keras`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast, get_args

import msgspec

from packager.errors import ContextError, UsageError
from packager.models.formats import Format, Framework, read_format
from packager.models.graphs import Interface, read_saved_model, saved_model_version
from packager.models.mlmodel import MlflowDetails, read_mlflow_details
from packager.models.pickle_reader import PickleFacts
from packager.models.protobuf import NotProtobuf
from packager.models.readers import MLMODEL, SAVED_MODEL, read_mapped, saved_model_folder
from packager.storage.reading import failure
from packager.workspace.names import check_text

#: Azure ML v1's names (`Model.Framework`), by ours.
V1_NAMES: dict[Framework, str] = {
    "sklearn": "ScikitLearn",
    "tensorflow": "TensorFlow",
    "onnx": "Onnx",
    "pytorch": "PyTorch",
    "keras": "TfKeras",
}
#: Those of v1 that say nothing of the files.
ANYTHING = ("Custom", "Multi")

_OURS: dict[str, Framework] = {
    **{each: each for each in get_args(Framework)},
    **{v1: our for our, v1 in V1_NAMES.items()},
}
#: Frameworks whose version in a file is the one that people mean: TfKeras' is TensorFlow's to some.
_HELD: frozenset[Framework] = frozenset({"sklearn", "tensorflow", "pytorch", "lightgbm", "xgboost", "mlflow"})
#: Where MLflow's flavors say the version of a framework.
_FLAVOR_VERSIONS: dict[str, tuple[Framework, str]] = {
    "sklearn": ("sklearn", "sklearn_version"),
    "onnx": ("onnx", "onnx_version"),
    "tensorflow": ("tensorflow", "tensorflow_version"),
    "keras": ("keras", "keras_version"),
    "pytorch": ("pytorch", "pytorch_version"),
    "lightgbm": ("lightgbm", "lgb_version"),
    "xgboost": ("xgboost", "xgb_version"),
}
#: Files of a folder that are looked at, and names of those that say nothing of a framework.
_MOST_FILES = 64
_BESIDE = (".json", ".txt", ".md", ".yaml", ".yml", ".toml", ".cfg", ".csv", ".model", ".jinja")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What files tell.

    Attributes:
        called: what they are, for people; empty where nothing is known.
        framework: by our name.
        versions: by framework; several where parts were written by several.
        fits: what may be said besides `framework` and `ANYTHING`.
        problem: no file that works: completes "the model …".
        details: `interface`, `flavors`, `signature`, in plain JSON values.
        run_id: of the run that made it.
        samples: paths below the folder of requests that it takes.
    """

    called: str = ""
    framework: Framework | None = None
    versions: dict[Framework, tuple[str, ...]] = {}
    fits: tuple[Framework, ...] = ()
    problem: str = ""
    details: dict[str, Any] = {}
    run_id: str | None = None
    samples: tuple[str, ...] = ()


def find_facts(path: Path) -> Facts:
    """Return what the file or folder of a model tells; nothing is loaded or run.

    Args:
        path: of what `scan_contents` takes: links in it stay inside.

    Raises:
        ContextError: it cannot be read.
        SpecError: the MLmodel of an MLflow model is not valid.
    """
    try:
        return _of_folder(path) if path.is_dir() else _of_file(path)
    except OSError as error:
        raise failure("read", path, error) from None


def settle(facts: Facts, framework: str | None, version: str | None) -> tuple[str | None, str | None]:
    """Return framework and version: what was said as it was said, and else what was found, by v1's name if it has one.

    Args:
        facts: of the files.
        framework: as somebody said.
        version: of it.

    Raises:
        UsageError: a version without a framework, or no framework that we know.
        ContextError: the files are of another one, or of none that works.
    """
    if framework is None:
        if version is not None:
            raise UsageError("a version of a framework needs the framework", remedy="say --model-framework, too")
        if facts.problem:
            raise ContextError(f"the model {facts.problem}", remedy="save it again; a download may not be complete")
        found = facts.framework
        return (None, None) if found is None else (V1_NAMES.get(found, found), _only(facts, found))
    said = _said(framework)
    if version is not None and (not version.strip() or check_text(version, "the version") != version.strip()):
        raise UsageError(f"{version!r} is no version", remedy="give it as 1.9.1, or leave it out")
    if said is None:
        return framework, version
    _hold(facts, said, framework)
    return framework, _version(facts, said, framework, version)


def _said(framework: str) -> Framework | None:
    """Return a framework by our name; None where it is one of `ANYTHING`."""
    if framework in ANYTHING:
        return None
    if framework not in _OURS:
        known = dict.fromkeys(
            (*V1_NAMES.values(), *ANYTHING, *(each for each in _OURS if each not in V1_NAMES.values()))
        )
        raise UsageError(f"{framework!r} is no framework that we know", remedy=f"use one of {', '.join(known)}")
    return _OURS[framework]


def _hold(facts: Facts, said: Framework, shown: str) -> None:
    """Refuse a framework that the files are not of."""
    if facts.problem:
        raise ContextError(f"the model {facts.problem}", remedy="save it again; a download may not be complete")
    if said == facts.framework or said in facts.fits:
        return
    found = facts.framework
    remedy = f"say {V1_NAMES.get(found, found)}, or leave the framework out" if found else "say Custom, or name another"
    raise ContextError(f"the model is {facts.called}, and {shown} was said", remedy=remedy)


def _version(facts: Facts, said: Framework, shown: str, version: str | None) -> str | None:
    found = facts.versions.get(said, ())
    if version is None:
        return _only(facts, said)
    if said in _HELD and found and not any(_is_of(each, version) for each in found):
        raise ContextError(
            f"the model was saved by {shown} {' and '.join(found)}, and version {version} was said",
            remedy=f"say {found[0]}, or leave the version out",
        )
    return version


def _only(facts: Facts, framework: Framework) -> str | None:
    found = facts.versions.get(framework, ())
    return found[0] if len(found) == 1 else None


def _is_of(found: str, said: str) -> bool:
    """Whether a version is one of those that a shorter one means: 1.3.2 is of 1.3."""
    return found == said or found.startswith((f"{said}.", f"{said}+"))


# --- reading ----------------------------------------------------------------------------------------------------------


def _pickle(path: Path) -> PickleFacts | None:
    """Return what a pickle holds, remembered where its digest is known; it is not read whole for that alone."""
    from packager.models.pickle_reader import read_pickle
    from packager.models.remembered_pickle import remembered_pickle
    from packager.storage.memory import Memory
    from packager.storage.models import Store

    if (known := Store().recall(path)) is not None:
        return remembered_pickle(path, known[0], Memory("facts"))
    with path.open("rb") as file:
        return read_pickle(file)


def _of_file(path: Path) -> Facts:
    found = read_format(path, _pickle)
    if found is not None:
        return _of_format(found)
    return Facts(called="neither an ONNX graph nor an MLflow model", fits=_besides("onnx", "mlflow"))


def _besides(*frameworks: Framework) -> tuple[Framework, ...]:
    return tuple(each for each in get_args(Framework) if each not in frameworks)


def _of_format(found: Format) -> Facts:
    versions = {found.framework: found.versions} if found.framework and found.versions else {}
    return Facts(
        called=found.called,
        framework=found.framework,
        versions=versions,
        fits=found.fits,
        problem=found.problem,
        details={} if found.interface is None else _interface({"": found.interface}),
    )


def _of_folder(path: Path) -> Facts:
    if (path / MLMODEL).is_file():
        return _of_mlflow(read_mlflow_details(path / MLMODEL, path), path)
    if (folder := saved_model_folder(path)) is not None:
        return _of_saved_model(path / folder / SAVED_MODEL)
    return _of_loose(path)


def _of_mlflow(found: MlflowDetails, path: Path) -> Facts:
    versions: dict[Framework, tuple[str, ...]] = {}
    fits: list[Framework] = []
    for name, flavor in found.flavors.items():
        if name in _FLAVOR_VERSIONS:
            framework, key = _FLAVOR_VERSIONS[name]
            fits.append(framework)
            if key in flavor:
                versions[framework] = (flavor[key],)
    if found.version is not None:
        versions["mlflow"] = (found.version,)
    if "tensorflow" in fits or "keras" in fits:
        fits += ["tensorflow", "keras"]
    details: dict[str, Any] = {"flavors": found.flavors}
    if found.signature:
        details["signature"] = found.signature
    return Facts(
        called=f"an MLflow model with the flavors {', '.join(sorted(found.flavors))}"
        if found.flavors
        else "an MLflow model",
        framework="mlflow",
        versions=versions,
        fits=tuple(dict.fromkeys(fits)),
        details=details,
        run_id=found.run_id,
        samples=tuple(each for each in found.samples if _is_inside(path, each))[:1],
    )


def _is_inside(folder: Path, path: str) -> bool:
    """Whether a path that a document names is a file in its folder."""
    full = folder / path
    return full.is_file() and full.resolve().is_relative_to(folder.resolve())


def _of_saved_model(path: Path) -> Facts:
    try:
        signatures, version = read_mapped(path, lambda data: (read_saved_model(data), saved_model_version(data)))
    except NotProtobuf:
        return Facts(called="a damaged SavedModel", problem="is no whole SavedModel: its saved_model.pb is damaged")
    return Facts(
        called=f"a SavedModel of TensorFlow {version or ''}".rstrip(),
        framework="tensorflow",
        versions={"tensorflow": (version,)} if version else {},
        fits=("keras",),
        details=_interface(signatures),
    )


def _of_loose(path: Path) -> Facts:
    """Return what a folder of files tells: their framework where they all are of one; others may be said.

    A tokenizer, a scaler and weights of something unknown are a model, too.
    """
    unknown = Facts(called="no MLflow model", fits=_besides("mlflow"))
    files = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    found: list[Format] = []
    for each in files[:_MOST_FILES]:
        known = read_format(each, _pickle)
        if known is not None and known.problem:
            return Facts(called=known.called, problem=f"has a file {each.name} that {known.problem}")
        if known is not None:
            found.append(known)
        elif not each.name.endswith(_BESIDE):
            return unknown
    frameworks = {each.framework for each in found}
    if len(frameworks) != 1 or len(files) > _MOST_FILES or None in frameworks:
        return unknown
    facts = _of_format(found[0])
    versions = tuple(sorted({version for each in found for version in each.versions}))
    framework = cast(Framework, found[0].framework)
    details = facts.details if len(found) == 1 else {}
    return msgspec.structs.replace(
        facts, versions={framework: versions} if versions else {}, fits=unknown.fits, details=details
    )


def _interface(signatures: dict[str, Interface]) -> dict[str, Any]:
    return {"interface": msgspec.json.decode(msgspec.json.encode(signatures))} if signatures else {}
