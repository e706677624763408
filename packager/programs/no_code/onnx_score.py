"""Entry script for an ONNX graph without code; packager made it.

A request is a JSON object of one of two forms. The answer has the request's form.

    {"data": [[5.1, 3.5], [6.7, 3.0]]}                      the graph's one input
    {"inputs": {"a": [[1]], "b": [["text"]]}}               all inputs by name; "data" may hold the same
      -> {"outputs": {"label": [0, 1], ...}}

    {"inputs": {"a": {"dims": [1, 2], "dataType": 1, "rawData": "AACAPwAAAEA="}}}     as ONNX Runtime Server
      -> {"outputs": {"label": {"dims": [1], "dataType": 7, "rawData": "..."}}}

In place of rawData (base64, little endian): floatData, doubleData, int32Data, int64Data, uint64Data, and stringData
(base64). "outputFilter": ["label"] asks for some outputs alone.
"""

from __future__ import annotations

import base64
import binascii
import math
import os
from typing import Any

import numpy as np
import onnxruntime
from packager_json import BadRequest, answered, depth_of, first_line, parse, refused, shown

# The graph's file in AZUREML_MODEL_DIR.
MODEL = "@MODEL@"

KEYS = frozenset({"data", "inputs", "outputFilter", "output_filter"})
#: By ONNX Runtime's names: number in TensorProto.DataType, NumPy's type.
TYPES = {
    "tensor(float)": (1, "float32"),
    "tensor(uint8)": (2, "uint8"),
    "tensor(int8)": (3, "int8"),
    "tensor(uint16)": (4, "uint16"),
    "tensor(int16)": (5, "int16"),
    "tensor(int32)": (6, "int32"),
    "tensor(int64)": (7, "int64"),
    "tensor(string)": (8, "object"),
    "tensor(bool)": (9, "bool"),
    "tensor(float16)": (10, "float16"),
    "tensor(double)": (11, "float64"),
    "tensor(uint32)": (12, "uint32"),
    "tensor(uint64)": (13, "uint64"),
}
#: By the names of TensorProto.DataType.
NAMES = {"FLOAT": 1, "UINT8": 2, "INT8": 3, "UINT16": 4, "INT16": 5, "INT32": 6, "INT64": 7, "STRING": 8, "BOOL": 9}
NAMES.update({"FLOAT16": 10, "DOUBLE": 11, "UINT32": 12, "UINT64": 13})
STRING, FLOAT16 = 8, 10
#: The field of TensorProto that holds the values of a type, where rawData does not (onnx.proto).
FIELDS = {1: "floatData", 7: "int64Data", 8: "stringData", 11: "doubleData", 12: "uint64Data", 13: "uint64Data"}

session: Any = None


def init() -> None:
    """Load the graph. The server calls this once in each worker, before the first request."""
    global session
    path = os.path.join(os.environ["AZUREML_MODEL_DIR"], MODEL)
    session = onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())


def run(data: str) -> Any:
    """Answer one request: data is its body, as text."""
    try:
        body = parse(data, KEYS)
        values = _by_name(body)
        tensors = bool(values) and all(isinstance(each, dict) for each in values.values())
        feeds = {each.name: _value(each, values[each.name]) for each in session.get_inputs() if each.name in values}
        names = _wanted(body)
        try:
            results = session.run(names, feeds)
        except Exception as error:
            if not _is_of_input(error):
                raise
            raise BadRequest(f"the graph does not take these values: {first_line(error)}") from error
    except BadRequest as problem:
        return refused(problem)
    shape = _tensor if tensors else _bare
    return answered({"outputs": {name: shape(value) for name, value in zip(names, results)}})


def _is_of_input(error: Exception) -> bool:
    """Whether ONNX Runtime says that values do not fit: it has classes of its own, and one for several reasons."""
    kind = type(error).__name__
    return kind == "InvalidArgument" or (kind in ("Fail", "RuntimeException") and "alloc" not in str(error).lower())


def _by_name(body: dict[str, Any]) -> dict[str, Any]:
    if ("data" in body) == ("inputs" in body):
        raise BadRequest("the body has one of 'data' and 'inputs'")
    inputs = [each.name for each in session.get_inputs()]
    values = body["data"] if "data" in body else body["inputs"]
    if not isinstance(values, dict):
        if "inputs" in body or len(inputs) != 1:
            raise BadRequest(f"the inputs are an object by name: {', '.join(inputs)}")
        values = {inputs[0]: values}
    for name in values:
        if name not in inputs:
            raise BadRequest(f"the graph has no input {shown(name)}; it has {', '.join(inputs)}")
    for name in inputs:
        if name not in values:
            raise BadRequest(f"the input {name!r} is missing")
    return values


def _wanted(body: dict[str, Any]) -> list[str]:
    outputs = [each.name for each in session.get_outputs()]
    names = body.get("outputFilter", body.get("output_filter")) or outputs
    if not isinstance(names, list) or not set(map(str, names)) <= set(outputs):
        raise BadRequest(f"the output filter is a list of outputs; the graph has {', '.join(outputs)}")
    return names


def _value(port: Any, value: Any) -> Any:
    if port.type not in TYPES:
        raise BadRequest(f"the input {port.name!r} is {port.type}, which has no form in JSON here")
    number, kind = TYPES[port.type]
    array = _of_tensor(port, value, number, kind) if isinstance(value, dict) else _of_lists(port, value, kind)
    _check_shape(port, array.shape)
    return array


def _check_shape(port: Any, shape: tuple[int, ...]) -> None:
    """Refuse another number of axes, and another length where the graph fixes one."""
    wanted = port.shape
    fits = len(shape) == len(wanted)
    if fits:
        fits = all(not isinstance(a, int) or a <= 0 or a == b for a, b in zip(wanted, shape))
    if not fits:
        named = ", ".join(str(each) if isinstance(each, int) else "any" for each in wanted)
        raise BadRequest(f"the input {port.name!r} has the shape {list(shape)}, and the graph takes [{named}]")


# --- plain lists ------------------------------------------------------------------------------------------------------


def _of_lists(port: Any, value: Any, kind: str) -> Any:
    _check_values(port.name, value, kind)
    # Inside, null is a missing number.
    try:
        array = np.array(value, dtype="float64" if kind.startswith("float") else "object" if kind == "object" else None)
    except OverflowError:
        raise BadRequest(f"a number of the input {port.name!r} is too large for {kind}") from None
    except ValueError:
        raise BadRequest(f"the lists of the input {port.name!r} are not all of one length") from None
    if array.ndim != depth_of(value):
        raise BadRequest(f"the lists of the input {port.name!r} are not all of one length")
    array = _batched(port, array)
    if kind == "object":
        return array
    if kind.startswith("float"):
        with np.errstate(over="ignore"):
            cast = array.astype(kind)
        if not np.array_equal(np.isinf(cast), np.isinf(array)):
            raise BadRequest(f"a number of the input {port.name!r} is too large for {kind}")
        return cast
    return _whole(port.name, array, kind)


def _whole(name: str, array: Any, kind: str) -> Any:
    if kind == "bool":
        return array.astype(bool)
    if array.dtype.kind == "f" and not np.array_equal(array, np.floor(array)):
        raise BadRequest(f"the input {name!r} takes whole numbers")
    limits = np.iinfo(kind)
    if array.size and (int(array.min()) < limits.min or int(array.max()) > limits.max):
        raise BadRequest(f"a number of the input {name!r} is out of the range of {kind}")
    return array.astype(kind)


def _check_values(name: str, value: Any, kind: str) -> None:
    if isinstance(value, list):
        for each in value:
            _check_values(name, each, kind)
        return
    if kind == "object":
        right = isinstance(value, str)
    elif kind == "bool":
        right = isinstance(value, bool)
    else:
        right = isinstance(value, (int, float)) and not isinstance(value, bool)
        right = right or (value is None and kind.startswith("float"))
    if not right:
        wanted = {"object": "texts", "bool": "true and false"}.get(kind, "numbers")
        raise BadRequest(f"the input {name!r} takes {wanted}, not {shown(value)}")


def _batched(port: Any, array: Any) -> Any:
    """Return values with the axis that people leave out: of a single row, or of a single column."""
    if array.ndim != len(port.shape) - 1:
        return array
    if port.shape[-1] == 1 and array.shape[-1:] != (1,):
        return array[..., None]
    return array[None]


def _bare(value: Any) -> Any:
    return value


# --- TensorProto in JSON ----------------------------------------------------------------------------------------------


def _of_tensor(port: Any, tensor: dict[str, Any], number: int, kind: str) -> Any:
    fields = {_camel(key): value for key, value in tensor.items()}
    given = fields.get("dataType")
    if (NAMES.get(given) if isinstance(given, str) else given) != number:
        raise BadRequest(f"the input {port.name!r} has the dataType {shown(given)}, and the graph takes {number}")
    dims = _integers(fields.get("dims", []), f"dims of the input {port.name!r}")
    if any(each < 0 for each in dims):
        raise BadRequest(f"the dims of the input {port.name!r} are not negative")
    values = (
        _raw(port.name, fields["rawData"], kind) if "rawData" in fields else _typed(port.name, fields, number, kind)
    )
    if values.size != math.prod(dims):
        raise BadRequest(f"the input {port.name!r} has {values.size} values, and its dims {dims} say {math.prod(dims)}")
    return values.reshape(dims)


def _camel(key: str) -> str:
    first, *others = key.split("_")
    return first + "".join(each.title() for each in others)


def _integers(values: Any, what: str) -> list[int]:
    """Return whole numbers; those of 64 bits are texts in protobuf's JSON."""
    try:
        if not any(isinstance(each, (bool, float)) for each in values):
            return [int(each) for each in values]
    except (TypeError, ValueError):
        pass
    raise BadRequest(f"{what} are not whole numbers")


def _decoded(text: Any, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise BadRequest(f"{what} is not base64") from None


def _raw(name: str, text: Any, kind: str) -> Any:
    if kind == "object":
        raise BadRequest(f"the texts of the input {name!r} are in stringData, not in rawData")
    data = _decoded(text, f"rawData of the input {name!r}")
    kept = np.dtype(kind).newbyteorder("<")
    if len(data) % kept.itemsize:
        raise BadRequest(f"rawData of the input {name!r} ends within a value of {kind}")
    return np.frombuffer(data, dtype=kept).astype(kind)


def _typed(name: str, fields: dict[str, Any], number: int, kind: str) -> Any:
    field = FIELDS.get(number, "int32Data")
    values = fields.get(field)
    if not isinstance(values, list):
        raise BadRequest(f"the input {name!r} has neither rawData nor {field}")
    if number == STRING:
        texts = [_decoded(each, f"a value of the input {name!r}") for each in values]
        try:
            return np.array([each.decode() for each in texts], dtype=object)
        except UnicodeDecodeError:
            raise BadRequest(f"a text of the input {name!r} is not UTF-8") from None
    if kind in ("float32", "float64"):
        _check_values(name, values, kind)
        return np.array(values, dtype=kind)
    whole = _integers(values, f"the values of the input {name!r}")
    if number == FLOAT16:
        return _whole(name, np.array(whole), "uint16").view("float16")  # their bits
    return np.array(whole).astype(bool) if kind == "bool" else _whole(name, np.array(whole, dtype=object), kind)


def _tensor(value: Any) -> Any:
    """Return an output as TensorProto; what is no tensor (a list of maps) as it is."""
    if not hasattr(value, "dtype"):
        return value
    dims = [str(each) for each in value.shape]
    if value.dtype.kind in "OU":
        texts = [base64.b64encode(str(each).encode()).decode() for each in value.ravel()]
        return {"dims": dims, "dataType": STRING, "stringData": texts}
    number = next(number for number, kind in TYPES.values() if kind == value.dtype.name)
    raw = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<")).tobytes()
    return {"dims": dims, "dataType": number, "rawData": base64.b64encode(raw).decode()}
