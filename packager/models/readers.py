"""Reads the file or folder of a model as one of a framework: a path in, facts out. Nothing is loaded or run."""

from __future__ import annotations

import mmap
import posixpath
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from packager.models.graphs import Interface, read_onnx, read_saved_model
from packager.models.mlmodel import MlflowModel, read_mlmodel
from packager.models.pickle_reader import PickleFacts
from packager.models.protobuf import NotProtobuf
from packager.spec.framework import Kind

Read = TypeVar("Read")

#: What a pickle of plain data or of another library names; an estimator names its class besides.
_PLAIN = frozenset({"_codecs", "builtins", "collections", "copyreg", "joblib", "numpy", "pandas", "scipy", "torch"})
PICKLES = (".pkl", ".pickle", ".joblib")
SAVED_MODEL = "saved_model.pb"
MLMODEL = "MLmodel"

#: Gives what a pickle holds; None of what is none.
ReadPickle = Callable[[Path], PickleFacts | None]


class MismatchError(Exception):
    """A file or folder is no model of a framework; for the caller, who knows how it is called.

    Args:
        found: completes "the model NAME …".
        remedy: what to do.
    """

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.found = found
        self.remedy = remedy


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


class At(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model is.

    Attributes:
        path: of its file or folder, absolute.
        top: the last part of the path, as the user named it; empty where the path is the folder of files side by side.
        shown: the path, as errors about a file in it show it.
        root: folder that what is read as text may not link out of; any where None.
    """

    path: Path
    top: str
    shown: Path
    root: Path | None = None

    @property
    def above(self) -> Path:
        """The folder that holds the model."""
        return self.path.parent if self.top else self.path


def read_model(kind: Kind, at: At, read_pickle: ReadPickle) -> Inspected:
    """Return what the file of a model of a framework tells.

    Raises:
        MismatchError: it is no model of that framework.
        SpecError: the MLmodel of an MLflow model is not valid.
        OSError: it cannot be read.
    """
    if kind == "sklearn":
        return _sklearn(at, read_pickle)
    return {"onnx": _onnx, "tensorflow": _tensorflow, "mlflow": _mlflow}[kind](at)


def is_estimator(facts: PickleFacts) -> bool:
    """Whether a pickle could hold an estimator: it names more than plain data, or was not read to its end."""
    return not facts.complete or not {name.partition(":")[0].partition(".")[0] for name in facts.names} <= _PLAIN


def saved_model_folder(path: Path) -> str | None:
    """Return the folder below another, or `""` for itself, that is a SavedModel; None where there is none."""
    # TensorFlow Serving keeps each version in a folder of its number.
    inner = sorted((each.name for each in path.iterdir() if each.name.isdigit()), key=int)
    folders = ["", *reversed(inner)]
    return next((each for each in folders if (path / each / SAVED_MODEL).is_file()), None)


def read_mapped(path: Path, read: Callable[[memoryview], Read]) -> Read:
    """Return what is read of a file that is mapped, so that only what is looked at is read from the disk.

    Raises:
        NotProtobuf: it is empty, or `read` raised that.
        OSError: it cannot be read.
    """
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


def _only(at: At, suffixes: tuple[str, ...], remedy: str) -> str:
    """Return the path of a model's file below the folder of its version: itself, or the only one in its folder."""
    if not at.path.is_dir():
        return at.top
    found = sorted(each.name for each in at.path.iterdir() if each.name.endswith(suffixes))
    if len(found) != 1:
        number = "no file" if not found else f"{len(found)} files"
        raise MismatchError(f"is a folder with {number} {' or '.join(suffixes)}", remedy)
    return posixpath.join(at.top, found[0])


def _sklearn(at: At, read_pickle: ReadPickle) -> Inspected:
    remedy = "save the estimator by joblib.dump or pickle.dump, or name the framework that wrote the file"
    file = _only(at, PICKLES, remedy)
    facts = read_pickle(at.above / file)
    if facts is None:
        raise MismatchError("is no pickle, and framework sklearn reads pickles", remedy)
    if facts.broken:
        raise MismatchError(
            "ends too early, or is damaged: it is no whole pickle",
            "save the model again; a download or a `git lfs pull` may not be complete",
        )
    if not is_estimator(facts):
        raise MismatchError("is a pickle of something else than an estimator", remedy)
    version = facts.sklearn[0] if len(facts.sklearn) == 1 else None
    return Inspected(kind="sklearn", file=file, sklearn=version)


def _onnx(at: At) -> Inspected:
    remedy = "name the .onnx file, or its folder where weights are in files of their own"
    file = _only(at, (".onnx",), remedy)
    try:
        found = read_mapped(at.above / file, read_onnx)
    except NotProtobuf:
        raise MismatchError("is no ONNX graph", remedy) from None
    return Inspected(kind="onnx", file=file, signatures={"": found})


def _tensorflow(at: At) -> Inspected:
    remedy = "save it by tf.saved_model.save or Keras' model.export(), and name the folder"
    if not at.path.is_dir():
        raise MismatchError("is a file, and a SavedModel is a folder", remedy)
    folder = saved_model_folder(at.path)
    if folder is None:
        raise MismatchError("is no SavedModel: it has no saved_model.pb", remedy)
    try:
        signatures = read_mapped(at.path / folder / SAVED_MODEL, read_saved_model)
    except NotProtobuf:
        raise MismatchError("is no SavedModel: its saved_model.pb is damaged", remedy) from None
    if not signatures:
        remedy = "save it with `signatures=`, or by Keras' model.export()"
        raise MismatchError("has no signatures, by which TensorFlow serves", remedy)
    return Inspected(kind="tensorflow", file=posixpath.join(at.top, folder).rstrip("/"), signatures=signatures)


def _mlflow(at: At) -> Inspected:
    remedy = "name the folder that mlflow wrote, which has the file MLmodel"
    if not (at.path / MLMODEL).is_file():
        raise MismatchError("is no MLflow model: it has no file MLmodel", remedy)
    found = read_mlmodel(at.shown / MLMODEL, at.root)
    if "python_function" not in found.flavors:
        flavors = ", ".join(found.flavors) or "none"
        raise MismatchError(
            f"has no python_function flavor, by which MLflow serves; its flavors: {flavors}",
            "log it with mlflow.<flavor>.log_model, or write an entry script",
        )
    return Inspected(kind="mlflow", file=at.top, signatures={"": found.interface}, mlflow=found)
