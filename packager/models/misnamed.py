"""Files that are called as a model and are none: a login page that was downloaded in its place, a text, other bytes."""

from __future__ import annotations

import re
from pathlib import PurePath

from packager.models.readers import PICKLES

_HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
#: What a file of an ending begins with, where its format fixes that.
#: HDF5 may have a block of the user's before its signature, so that it is not here.
_STARTS: dict[str, tuple[str, tuple[bytes, ...]]] = {
    ".keras": ("archive of Keras", (b"PK\x03\x04",)),
    ".skops": ("archive of skops", (b"PK\x03\x04",)),
}
#: What else is called as a pickle, and can be loaded: archives of torch.save, arrays of NumPy, and what joblib reads
#: besides (lz4, and its own format of before 0.10).
_LIKE_PICKLES = (b"PK\x03\x04", b"\x93NUMPY", b"\x04\x22\x4d\x18", b"ZF")
#: Formats that begin with something else than text.
_BINARY = frozenset({".onnx", ".h5", ".hdf5", ".keras", ".skops", ".pt", ".pth", ".safetensors", ".gguf", ".tflite"})
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]*")


def misnamed(name: str, start: bytes) -> str:
    """Return what a file is instead of the model that its name promises, as the end of "FILE …"; empty where it may be.

    Args:
        name: of the file.
        start: its first bytes, some hundred of them; of what was not recognised as a model.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix not in _BINARY and suffix not in PICKLES:
        return ""
    if _HTML.match(start):
        return f"is called {suffix}, and is an HTML page: a page to log in, or an error, was saved in its place"
    if suffix in PICKLES and not start.startswith(_LIKE_PICKLES):
        kind = "text" if _is_text(start) else "something else"
        return f"is called {suffix}, and is {kind}: it is neither a pickle nor one that is compressed as joblib does"
    if suffix in _STARTS and not start.startswith(_STARTS[suffix][1]):
        return f"is called {suffix}, and is no {_STARTS[suffix][0]}"
    if suffix == ".onnx":
        return "is called .onnx, and is no whole ONNX graph"
    if suffix == ".safetensors":
        return "is called .safetensors, and has no whole header of that format"
    return ""


def _is_text(start: bytes) -> bool:
    try:
        start.decode()
    except UnicodeDecodeError as error:
        # The last character may be cut.
        if error.start < len(start) - 3:
            return False
    return _TEXT.fullmatch(start) is not None
