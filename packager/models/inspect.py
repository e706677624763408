"""Looks into the file of a model whose framework the spec names: is it one, where is it, what does it take and give.

Nothing is unpickled, loaded or run.
"""

from __future__ import annotations

import mmap
import posixpath
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from packager.errors import ContextError
from packager.models.graphs import Interface, read_onnx, read_saved_model
from packager.models.mlmodel import MlflowModel, read_mlmodel
from packager.models.protobuf import NotProtobuf
from packager.spec.framework import Kind
from packager.spec.load import SpecFile
from packager.spec.model import Model

Read = TypeVar("Read")

#: What a pickle of plain data or of another library names; an estimator names its class besides.
_PLAIN = frozenset({"_codecs", "builtins", "collections", "copyreg", "joblib", "numpy", "pandas", "scipy", "torch"})
PICKLES = (".pkl", ".pickle", ".joblib")


class Inspected(msgspec.Struct, frozen=True, kw_only=True):
    """What the file of a model tells.

    Attributes:
        kind: the framework.
        file: the file or folder to load, below the folder of the model's version.
        sklearn: the version of scikit-learn that wrote it; None where it does not tell one version.
        signatures: name → what it takes and gives, where the file tells; an ONNX graph has one without a name.
        mlflow: of an MLflow model.
    """

    kind: Kind
    file: str
    sklearn: str | None = None
    signatures: dict[str, Interface] = {}
    mlflow: MlflowModel | None = None


def inspect_model(spec_file: SpecFile, model: Model) -> Inspected:
    """Return what the file of a model tells, whose framework the spec names.

    Raises:
        ContextError: it is missing, or no model of that framework.
        SpecError: the MLmodel of an MLflow model is not valid.
    """
    assert model.kind is not None, "asked only where there is one"
    path = spec_file.root / model.path
    if not path.exists():
        raise ContextError(
            f"the model {model.path!r} is not there",
            where=spec_file.at_model(model),
            remedy="paths are relative to the folder of the spec",
        )
    try:
        return _READERS[model.kind](spec_file, model, path)
    except OSError as error:
        raise ContextError(
            f"the model {model.path!r} cannot be read: {error.strerror}", where=spec_file.at_model(model)
        ) from None


def check_frameworks(spec_file: SpecFile) -> None:
    """Refuse models that are of another framework than the spec says.

    Raises:
        ContextError: the first one found.
        SpecError: the MLmodel of an MLflow model is not valid.
    """
    for model in spec_file.spec.models:
        if model.kind is not None:
            inspect_model(spec_file, model)


def _mismatch(spec_file: SpecFile, model: Model, found: str, remedy: str) -> ContextError:
    where = spec_file.at_model(model, "framework")
    return ContextError(f"the model {model.path!r} {found}", where=where, remedy=remedy)


def _only(spec_file: SpecFile, model: Model, path: Path, suffixes: tuple[str, ...], remedy: str) -> str:
    """Return the path of a model's file below the folder of its version: itself, or the only one in its folder."""
    top = posixpath.basename(posixpath.normpath(model.path))
    if not path.is_dir():
        return top
    found = sorted(each.name for each in path.iterdir() if each.name.endswith(suffixes))
    if len(found) != 1:
        number = "no file" if not found else f"{len(found)} files"
        raise _mismatch(spec_file, model, f"is a folder with {number} {' or '.join(suffixes)}", remedy)
    return f"{top}/{found[0]}"


def _sklearn(spec_file: SpecFile, model: Model, path: Path) -> Inspected:
    from packager.models.remembered_pickle import remembered_pickle
    from packager.storage.memory import Memory
    from packager.storage.models import Store

    remedy = "save the estimator by joblib.dump or pickle.dump, or name the framework that wrote the file"
    file = _only(spec_file, model, path, PICKLES, remedy)
    full = path.parent / file
    facts = remembered_pickle(full, Store().digest(full)[0], Memory("facts"))
    if facts is None:
        raise _mismatch(spec_file, model, "is no pickle, and framework sklearn reads pickles", remedy)
    if facts.broken:
        raise _mismatch(
            spec_file,
            model,
            "ends too early, or is damaged: it is no whole pickle",
            "save the model again; a download or a `git lfs pull` may not be complete",
        )
    if facts.complete and {name.partition(":")[0].partition(".")[0] for name in facts.names} <= _PLAIN:
        raise _mismatch(spec_file, model, "is a pickle of something else than an estimator", remedy)
    version = facts.sklearn[0] if len(facts.sklearn) == 1 else None
    return Inspected(kind="sklearn", file=file, sklearn=version)


def _onnx(spec_file: SpecFile, model: Model, path: Path) -> Inspected:
    remedy = "name the .onnx file, or its folder where weights are in files of their own"
    file = _only(spec_file, model, path, (".onnx",), remedy)
    try:
        found = _mapped(path.parent / file, read_onnx)
    except NotProtobuf:
        raise _mismatch(spec_file, model, "is no ONNX graph", remedy) from None
    return Inspected(kind="onnx", file=file, signatures={"": found})


def _tensorflow(spec_file: SpecFile, model: Model, path: Path) -> Inspected:
    remedy = "save it by tf.saved_model.save or Keras' model.export(), and name the folder"
    if not path.is_dir():
        raise _mismatch(spec_file, model, "is a file, and a SavedModel is a folder", remedy)
    # TensorFlow Serving keeps each version in a folder of its number.
    inner = sorted((each.name for each in path.iterdir() if each.name.isdigit()), key=int)
    folders = ["", *reversed(inner)]
    folder = next((each for each in folders if (path / each / "saved_model.pb").is_file()), None)
    if folder is None:
        raise _mismatch(spec_file, model, "is no SavedModel: it has no saved_model.pb", remedy)
    try:
        signatures = _mapped(path / folder / "saved_model.pb", read_saved_model)
    except NotProtobuf:
        raise _mismatch(spec_file, model, "is no SavedModel: its saved_model.pb is damaged", remedy) from None
    if not signatures:
        remedy = "save it with `signatures=`, or by Keras' model.export()"
        raise _mismatch(spec_file, model, "has no signatures, by which TensorFlow serves", remedy)
    top = posixpath.basename(posixpath.normpath(model.path))
    return Inspected(kind="tensorflow", file=posixpath.join(top, folder).rstrip("/"), signatures=signatures)


def _mlflow(spec_file: SpecFile, model: Model, path: Path) -> Inspected:
    remedy = "name the folder that mlflow wrote, which has the file MLmodel"
    if not (path / "MLmodel").is_file():
        raise _mismatch(spec_file, model, "is no MLflow model: it has no file MLmodel", remedy)
    found = read_mlmodel(spec_file.document.path.parent / model.path / "MLmodel", spec_file.root)
    if "python_function" not in found.flavors:
        flavors = ", ".join(found.flavors) or "none"
        raise _mismatch(
            spec_file,
            model,
            f"has no python_function flavor, by which MLflow serves; its flavors: {flavors}",
            "log it with mlflow.<flavor>.log_model, or write an entry script",
        )
    top = posixpath.basename(posixpath.normpath(model.path))
    return Inspected(kind="mlflow", file=top, signatures={"": found.interface}, mlflow=found)


_READERS: dict[Kind, Callable[[SpecFile, Model, Path], Inspected]] = {
    "sklearn": _sklearn,
    "onnx": _onnx,
    "tensorflow": _tensorflow,
    "mlflow": _mlflow,
}


def _mapped(path: Path, read: Callable[[memoryview], Read]) -> Read:
    """Return what is read of a file that is mapped, so that only what is looked at is read from the disk."""
    if not path.stat().st_size:
        raise NotProtobuf
    found = None
    # What is raised holds frames, and these hold parts of the map, which could not be closed then: hence `suppress`.
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        suppress(NotProtobuf),
    ):
        found = read(memoryview(mapped))
    if found is None:
        raise NotProtobuf
    return found
