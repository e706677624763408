"""What a file says of the framework that wrote it, by its first bytes and its directory. Nothing is loaded or run.

Sources of the formats: PyTorch's `torch/serialization.py`, safetensors' README ("Format"), Keras' `saving_lib.py`, the
HDF5 file format specification (signature), LightGBM's `gbdt_model_text.cpp`, and XGBoost's "Introduction to Model IO".
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Literal, get_args

import msgspec

from packager.decoding import convert, decode_json
from packager.models.graphs import Interface, read_onnx
from packager.models.misnamed import misnamed
from packager.models.protobuf import NotProtobuf
from packager.models.readers import PICKLES, ReadPickle, is_estimator, read_mapped

#: By our names. `keras` is what Azure ML v1 calls TfKeras.
Framework = Literal["sklearn", "onnx", "tensorflow", "mlflow", "pytorch", "keras", "lightgbm", "xgboost"]

_START = 1024
_TAIL = 1 << 16
_HDF5, _HDF5_LOOK = b"\x89HDF\r\n\x1a\n", 1 << 20
#: A pickle of the number by which torch.save began its files before they were zip archives.
_OLD_TORCH = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_LIGHTGBM = re.compile(rb"tree\r?\nversion=v[0-9]+\r?\n")
_XGBOOST_JSON = re.compile(rb'\s*\{\s*"learner"\s*:\s*\{')
_XGBOOST_JSON_VERSION = re.compile(
    rb'"version"\s*:\s*\[\s*([0-9]{1,3})\s*,\s*([0-9]{1,3})\s*,\s*([0-9]{1,3})\s*\]\s*\}\s*\Z'
)
_XGBOOST_UBJ = b"{L\0\0\0\0\0\0\0\x07learner{"
_XGBOOST_UBJ_VERSION = re.compile(rb"\x07version\[#L\0{7}\x03i(.)i(.)i(.)\}\Z", re.DOTALL)
#: Bytes of the directory of a zip archive, and of the header of safetensors, that are read.
_MAX_DIRECTORY = 64 << 20
_MAX_HEADER = 16 << 20
#: Modules of a pickle's classes.
_MODULES: dict[str, Framework] = {
    "sklearn": "sklearn",
    "torch": "pytorch",
    "tensorflow": "tensorflow",
    "keras": "keras",
    "lightgbm": "lightgbm",
    "xgboost": "xgboost",
}


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """What a file is.

    Attributes:
        called: for people: `a pickle of scikit-learn 1.5.1`.
        framework: that wrote it; None where it could be any.
        versions: of the framework; several where parts were written by several.
        fits: what else may be said of it.
        problem: it is none that works: completes "FILE …".
        interface: of an ONNX graph.
    """

    called: str
    framework: Framework | None = None
    versions: tuple[str, ...] = ()
    fits: tuple[Framework, ...] = ()
    problem: str = ""
    interface: Interface | None = None


def read_format(path: Path, read_pickle: ReadPickle) -> Format | None:
    """Return what a file is; None where it is nothing known.

    Args:
        path: of the file.
        read_pickle: gives what a pickle holds.

    Raises:
        OSError: it cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        return None
    with path.open("rb") as file:
        found = _by_bytes(file, path.stat().st_size)
        file.seek(0)
        start = file.read(_START)
    if found is None and (start.startswith(b"\x80") or path.name.endswith(PICKLES)):
        found = _pickle(path, read_pickle)
    elif found is None and (start.startswith(b"\x08") or path.name.endswith(".onnx")):
        with suppress(NotProtobuf):
            found = Format(called="an ONNX graph", framework="onnx", interface=read_mapped(path, read_onnx))
    if found is None and (problem := misnamed(path.name, start)):
        return Format(called="no model", problem=problem)
    return found


def _by_bytes(file: BinaryIO, size: int) -> Format | None:
    start = file.read(_START)
    if start.startswith(b"PK\x03\x04"):
        return _archive(file, size)
    if start.startswith(_OLD_TORCH):
        return Format(called="a file of torch.save", framework="pytorch")
    if start.startswith(_HDF5):
        # The names of attributes; Keras writes them before any weights.
        look = start + file.read(_HDF5_LOOK - len(start))
        return (
            Format(called="an HDF5 file of Keras", framework="keras", fits=("tensorflow",))
            if b"keras_version" in look
            else None
        )
    if _LIGHTGBM.match(start):
        return Format(called="a text file of LightGBM", framework="lightgbm")
    if _XGBOOST_JSON.match(start):
        return _xgboost(_XGBOOST_JSON_VERSION.search(_tail(file, size)), numbers=False)
    if start.startswith(_XGBOOST_UBJ):
        return _xgboost(_XGBOOST_UBJ_VERSION.search(_tail(file, size)), numbers=True)
    return _safetensors(file, start, size)


def _tail(file: BinaryIO, size: int) -> bytes:
    file.seek(max(0, size - _TAIL))
    return file.read(_TAIL)


def _xgboost(found: re.Match[bytes] | None, *, numbers: bool) -> Format:
    if found is None:
        return Format(called="a file of XGBoost", framework="xgboost")
    version = ".".join(str(each[0]) if numbers else each.decode() for each in found.groups())
    return Format(called=f"a file of XGBoost {version}", framework="xgboost", versions=(version,))


def _archive(file: BinaryIO, size: int) -> Format | None:
    """Return what a zip archive is, by the names in it."""
    if _directory_size(_tail(file, size)) > _MAX_DIRECTORY:
        return None
    try:
        with zipfile.ZipFile(file) as archive:
            names = frozenset(archive.namelist())
            tops = {name.partition("/")[0] for name in names}
            top = next(iter(tops), "")
            if len(tops) == 1 and {f"{top}/data.pkl", f"{top}/version"} <= names:
                script = f"{top}/constants.pkl" in names
                return Format(called="a TorchScript archive" if script else "a file of torch.save", framework="pytorch")
            if {"metadata.json", "config.json", "model.weights.h5"} <= names:
                return _keras(archive)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError, EOFError):
        return None
    return None


def _directory_size(tail: bytes) -> int:
    """Return the bytes of a zip archive's directory, as its end says (APPNOTE, 4.3.14 and 4.3.16)."""
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or end + 22 > len(tail):
        return 0
    size: int = struct.unpack_from("<I", tail, end + 12)[0]
    large = tail.rfind(b"PK\x06\x06", 0, end)
    if size == 0xFFFFFFFF and 0 <= large <= len(tail) - 48:
        size = struct.unpack_from("<Q", tail, large + 40)[0]
    return size


def _keras(archive: zipfile.ZipFile) -> Format:
    with archive.open("metadata.json") as member, suppress(msgspec.DecodeError, UnicodeDecodeError):
        found = decode_json(member.read(_START), dict[str, object]).get("keras_version")
        if isinstance(found, str) and re.fullmatch(r"[0-9][0-9A-Za-z.+-]{0,40}", found):
            return Format(
                called=f"an archive of Keras {found}", framework="keras", versions=(found,), fits=("tensorflow",)
            )
    return Format(called="an archive of Keras", framework="keras", fits=("tensorflow",))


class _Tensor(msgspec.Struct, frozen=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


#: What `format` of the metadata says; others read the file as well.
_SAFETENSORS: dict[str, Framework] = {"pt": "pytorch", "tf": "tensorflow"}


def _safetensors(file: BinaryIO, start: bytes, size: int) -> Format | None:
    if len(start) < 10 or start[8:9] != b"{":
        return None
    length = int.from_bytes(start[:8], "little")
    if not 2 <= length <= min(size - 8, _MAX_HEADER):
        return None
    file.seek(8)
    try:
        header = decode_json(file.read(length), dict[str, dict[str, object]])
        metadata = header.pop("__metadata__", {})
        convert(header, dict[str, _Tensor])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return Format(
        called="a file of safetensors",
        framework=_SAFETENSORS.get(str(metadata.get("format"))),
        fits=("pytorch", "tensorflow", "keras"),
    )


def _pickle(path: Path, read_pickle: ReadPickle) -> Format | None:
    facts = read_pickle(path)
    if facts is None:
        return None
    if facts.broken:
        return Format(called="a pickle", problem="ends too early, or is damaged: it is no whole pickle")
    modules = {name.partition(":")[0].partition(".")[0] for name in facts.names}
    named = tuple(_MODULES[each] for each in sorted(modules & set(_MODULES)))
    estimator: tuple[Framework, ...] = ("sklearn",) if is_estimator(facts) else ()
    fits = tuple(dict.fromkeys((*named, *estimator)))
    if not facts.sklearn and "sklearn" not in named:
        if named:
            return Format(called=f"a pickle of {', '.join(named)}", fits=fits)
        # Weights as plain arrays may be of anything.
        others = tuple(each for each in get_args(Framework) if each not in ("sklearn", "onnx", "mlflow"))
        return Format(called="a pickle of no estimator" if not estimator else "a pickle", fits=(*others, *estimator))
    called = f"a pickle of scikit-learn {' and '.join(facts.sklearn)}".rstrip()
    return Format(called=called, framework="sklearn", versions=facts.sklearn, fits=fits)
