"""ONNX files and TensorFlow SavedModels: what they take and give. Pure; nothing is loaded or run.

Sources of the formats: `onnx.proto` (ModelProto, GraphProto, ValueInfoProto, TypeProto), and TensorFlow's
`saved_model.proto`, `meta_graph.proto`, `tensor_shape.proto` and `types.proto`.
"""

from __future__ import annotations

import msgspec

from packager.models.protobuf import NotProtobuf, fields, number_of, parts, text_of


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """One input or output of a model.

    Attributes:
        name: by which requests and answers name it.
        kind: of its values: number, integer, boolean or string, as JSON Schema names them; empty for what is no tensor.
        shape: length of each axis, None where any; None where even the number of axes is open.
    """

    name: str
    kind: str = ""
    shape: tuple[int | None, ...] | None = None


class Interface(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes and gives, as far as its file tells."""

    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()


# Of TensorProto.DataType: 1 float, 10 float16, 11 double, 16 bfloat16; 9 bool; 8 string; all others are whole numbers.
_ONNX_KINDS = {1: "number", 10: "number", 11: "number", 16: "number", 9: "boolean", 8: "string"}
# Of DataType: 1 float, 2 double, 14 bfloat16, 19 half; 10 bool; 7 string; whole numbers.
_TENSORFLOW_KINDS = {1: "number", 2: "number", 14: "number", 19: "number", 10: "boolean", 7: "string"}
_TENSORFLOW_KINDS |= dict.fromkeys((3, 4, 5, 6, 9, 17, 22, 23), "integer")


def read_onnx(data: memoryview) -> Interface:
    """Return what an ONNX graph takes and gives.

    Raises:
        NotProtobuf: this is no ONNX file.
    """
    found = dict(fields(data))
    # ir_version is always there and small; opset_import too. Other messages could begin alike, a graph seals it.
    if not isinstance(found.get(1), int) or not 1 <= int(number_of(data, 1) or 0) < 1000 or 8 not in found:
        raise NotProtobuf
    graphs = parts(data, 7)
    if len(graphs) != 1 or not parts(graphs[0], 12):
        raise NotProtobuf
    # Graphs of before 2019 list their weights among the inputs, too.
    weights = {text_of(each, 8) for each in parts(graphs[0], 5)}
    inputs = [_onnx_port(each) for each in parts(graphs[0], 11)]
    outputs = [_onnx_port(each) for each in parts(graphs[0], 12)]
    return Interface(inputs=tuple(each for each in inputs if each.name not in weights), outputs=tuple(outputs))


def _onnx_port(value: memoryview) -> Port:
    name = text_of(value, 1)
    tensors = [tensor for kind in parts(value, 2) for tensor in parts(kind, 1)]
    if not name:
        raise NotProtobuf
    if not tensors:
        return Port(name=name)
    shapes = parts(tensors[0], 2)
    shape = tuple(_length(number_of(axis, 1)) for axis in parts(shapes[0], 1)) if shapes else None
    return Port(name=name, kind=_ONNX_KINDS.get(number_of(tensors[0], 1) or 0, "integer"), shape=shape)


def _length(value: int | None) -> int | None:
    return value if value is not None and value > 0 else None


def read_saved_model(data: memoryview) -> dict[str, Interface]:
    """Return the signatures of a `saved_model.pb`: name → what it takes and gives.

    Raises:
        NotProtobuf: this is none.
    """
    graphs = parts(data, 2)
    if not graphs:
        raise NotProtobuf
    found = {}
    for entry in parts(graphs[0], 5):
        for signature in parts(entry, 2):
            found[text_of(entry, 1)] = Interface(inputs=_ports(signature, 1), outputs=_ports(signature, 2))
    return {name: each for name, each in sorted(found.items()) if not name.startswith("__saved_model_")}


def saved_model_version(data: memoryview) -> str | None:
    """Return the version of TensorFlow that wrote a `saved_model.pb`; None where it does not say.

    Raises:
        NotProtobuf: this is none.
    """
    graphs = parts(data, 2)
    if not graphs:
        raise NotProtobuf
    # MetaGraphDef.meta_info_def, and tensorflow_version in it.
    return next((found for each in parts(graphs[0], 1) if (found := text_of(each, 5))), None)


def _ports(signature: memoryview, number: int) -> tuple[Port, ...]:
    found = []
    for entry in parts(signature, number):
        name = text_of(entry, 1)
        for tensor in parts(entry, 2):
            shapes = parts(tensor, 3)
            known = bool(shapes) and not number_of(shapes[0], 3)
            axes = [_length(number_of(axis, 1)) for axis in parts(shapes[0], 2)] if known else None
            kind = _TENSORFLOW_KINDS.get(number_of(tensor, 2) or 0, "")
            found.append(Port(name=name, kind=kind, shape=None if axes is None else tuple(axes)))
    return tuple(sorted(found, key=lambda port: port.name))
