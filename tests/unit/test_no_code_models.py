from __future__ import annotations

import json
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.context.swagger import swagger_texts
from packager.errors import ContextError, SpecError
from packager.models.graphs import Interface, Port, read_onnx, read_saved_model
from packager.models.inspect import Inspected, check_frameworks, inspect_model
from packager.models.mlmodel import MlflowModel
from packager.models.protobuf import NotProtobuf, number_of
from packager.spec.load import SpecFile, load_spec
from tests.unit.context_factory import write_files

IRIS = Path(__file__).parents[2] / "examples/onnx-no-code/models/iris.onnx"
DIABETES = Path(__file__).parents[2] / "examples/diabetes/models/sklearn_regression_model.pkl"


# --- protobuf, written by hand ----------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    found = b""
    while value >= 0x80:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def onnx_value(name: str, kind: int, *axes: int | str | None) -> bytes:
    shape = b"".join(
        field(1, field(1, each) if isinstance(each, int) else field(2, each) if each else b"") for each in axes
    )
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))


def onnx(*graph: bytes) -> bytes:
    return field(1, 8) + field(2, "tests") + field(7, b"".join(graph)) + field(8, field(2, 17))


def saved_model(**signatures: tuple[bytes, ...]) -> bytes:
    entries = [field(5, field(1, name) + field(2, b"".join(parts))) for name, parts in signatures.items()]
    return field(1, 1) + field(2, b"".join(entries))


def tensor(number: int, name: str, kind: int, *axes: int) -> bytes:
    shape = b"".join(field(2, field(1, each)) for each in axes)
    return field(number, field(1, name) + field(2, field(1, f"{name}:0") + field(2, kind) + field(3, shape)))


def test_what_a_graph_takes_and_gives() -> None:
    found = read_onnx(memoryview(IRIS.read_bytes()))
    assert found.inputs == (Port(name="measurements", kind="number", shape=(None, 4)),)
    assert [(each.name, each.kind) for each in found.outputs] == [("label", "integer"), ("probabilities", "number")]


def test_weights_among_the_inputs_are_none() -> None:
    weight = field(5, field(8, "w"))
    inputs = field(11, onnx_value("x", 8, "batch", None)) + field(11, onnx_value("w", 1, 2))
    outputs = field(12, onnx_value("y", 9)) + field(12, field(1, "z") + field(2, field(4, b"")))
    found = read_onnx(memoryview(onnx(weight, inputs, outputs)))
    assert found.inputs == (Port(name="x", kind="string", shape=(None, None)),)
    assert found.outputs == (Port(name="y", kind="boolean", shape=()), Port(name="z"))


def test_signatures_of_a_saved_model() -> None:
    data = saved_model(
        serving_default=(tensor(1, "b", 7, -1), tensor(1, "a", 1, -1, 2), tensor(2, "y", 9)),
        __saved_model_init_op=(tensor(2, "op", 1),),
    )
    assert read_saved_model(memoryview(data)) == {
        "serving_default": Interface(
            inputs=(
                Port(name="a", kind="number", shape=(None, 2)),
                Port(name="b", kind="string", shape=(None,)),
            ),
            outputs=(Port(name="y", kind="integer", shape=()),),
        )
    }


#: By the numbers of onnx.proto's TensorProto.DataType and of TensorFlow's types.proto, written down from them.
ONNX_TYPES = {"number": (1, 10, 11, 16), "boolean": (9,), "string": (8,), "integer": (2, 3, 4, 5, 6, 7, 12, 13)}
TENSORFLOW_TYPES = {
    "number": (1, 2, 14, 19), "boolean": (10,), "string": (7,), "integer": (3, 4, 5, 6, 9, 17, 22, 23),
    "": (8, 11, 15, 18, 20, 21),  # complex numbers, quantised ones, resources, variants: nothing that JSON has
}  # fmt: skip


def each_type(types: dict[str, tuple[int, ...]]) -> list[tuple[int, str]]:
    return [(number, kind) for kind, numbers in types.items() for number in numbers]


@pytest.mark.parametrize(("number", "kind"), each_type(ONNX_TYPES))
def test_each_type_of_onnx(number: int, kind: str) -> None:
    found = read_onnx(memoryview(onnx(field(11, onnx_value("x", number, 3)), field(12, onnx_value("y", number)))))
    assert found == Interface(
        inputs=(Port(name="x", kind=kind, shape=(3,)),), outputs=(Port(name="y", kind=kind, shape=()),)
    )


@pytest.mark.parametrize(("number", "kind"), each_type(TENSORFLOW_TYPES))
def test_each_type_of_tensorflow(number: int, kind: str) -> None:
    data = saved_model(one=(tensor(1, "x", number, 3), tensor(2, "y", number)))
    port = Port(name="x", kind=kind, shape=(3,))
    assert read_saved_model(memoryview(data)) == {
        "one": Interface(inputs=(port,), outputs=(Port(name="y", kind=kind, shape=()),))
    }


@pytest.mark.parametrize(("version", "read"), [(1, True), (10, True), (999, True), (0, False), (1000, False)])
def test_a_graph_says_its_version_its_operators_and_what_it_gives(version: int, read: bool) -> None:
    graph, operators = field(12, onnx_value("y", 1)), field(8, field(2, 17))
    whole = field(1, version) + field(7, graph) + operators
    lacking = [
        *(field(7, graph) + operators, field(1, version) + operators, field(1, version) + field(7, graph)),
        field(1, version) + field(7, field(11, onnx_value("x", 1))) + operators,
        field(1, version) + field(7, graph) + field(7, graph) + operators,
    ]
    for data in lacking if read else [whole]:
        with pytest.raises(NotProtobuf):
            read_onnx(memoryview(data))
    if read:
        assert [each.name for each in read_onnx(memoryview(whole)).outputs] == ["y"]


@given(st.binary(max_size=300), st.integers(0, 600), st.binary(max_size=4))
def test_what_is_no_graph_is_refused_and_nothing_else_happens(data: bytes, cut: int, put: bytes) -> None:
    saved = saved_model(serving_default=(tensor(1, "a", 1, -1, 2), tensor(2, "y", 9)))
    readers: tuple[tuple[bytes, Callable[[memoryview], object]], ...] = (
        (IRIS.read_bytes(), read_onnx),
        (saved, read_saved_model),
    )
    for whole, read in readers:
        assert read(memoryview(whole)), "what is whole is read"
        at = cut % len(whole)
        for hostile in (data, whole[:at], whole[:at] + put + whole[at + len(put) :]):
            try:
                found = read(memoryview(hostile))
            except NotProtobuf:
                assert hostile != whole
                continue
            assert isinstance(found, Interface | dict)


def test_numbers_of_the_wire_format() -> None:
    for number in (0, 1, 127, 128, 1 << 14, (1 << 63) - 1, -1, -(1 << 63)):
        assert number_of(memoryview(field(1, number)), 1) == number
    assert number_of(memoryview(field(1, 5) + field(2, 7) + field(1, 6)), 1) == 6, "the last one counts"
    for broken in (b"\xff" * 11, b"\x08", b"\x0a\x05ab", b"\x00\x01", b"\x0b", b"\x0d\x01"):
        with pytest.raises(NotProtobuf):
            number_of(memoryview(broken), 1)


# --- files ------------------------------------------------------------------------------------------------------------


def spec_of(folder: Path, path: str, framework: str, more: str = "") -> SpecFile:
    text = f'name: demo\nversion: "1"\nmodels:\n  - path: {path}\n    framework: {framework}\n{more}'
    write_files(folder, {"packager.yaml": text})
    return load_spec(folder)


def inspected(folder: Path, path: str, framework: str) -> Inspected:
    found = spec_of(folder, path, framework)
    return inspect_model(found, found.spec.models[0])


@pytest.fixture
def models(tmp_path: Path) -> Path:
    signature = (tensor(1, "a", 1, -1, 2), tensor(2, "y", 1))
    write_files(
        tmp_path,
        {
            "d.pkl": DIABETES.read_bytes(),
            "cut.pkl": DIABETES.read_bytes()[:300],
            "plain.pkl": pickle.dumps({"a": 1}),
            "one/d.joblib": DIABETES.read_bytes(),
            "iris.onnx": IRIS.read_bytes(),
            "cut.onnx": IRIS.read_bytes()[:400],
            "empty.onnx": b"",
            "net/iris.onnx": IRIS.read_bytes(),
            "net/weights.bin": b"w",
            "net2/a.onnx": b"",
            "net2/b.onnx": b"",
            "saved/saved_model.pb": saved_model(serving_default=signature),
            "served/9/saved_model.pb": saved_model(serving_default=signature),
            "served/10/saved_model.pb": saved_model(serving_default=signature),
            "unsigned/saved_model.pb": saved_model(),
            "damaged/saved_model.pb": b"\xff" * 20,
            "ml/MLmodel": "flavors: {python_function: {}, sklearn: {}}\nmlflow_version: 3.1.0\n",
            "r/MLmodel": "flavors: {crate: {}}\n",
            "bad/MLmodel": "flavors: [",
            "empty/": "",
        },
    )
    return tmp_path


def test_where_the_model_is_for_the_script(models: Path) -> None:
    assert inspected(models, "d.pkl", "sklearn").file == "d.pkl"
    assert inspected(models, "d.pkl", "ScikitLearn").sklearn == "1.9.1"
    assert inspected(models, "one", "sklearn").file == "one/d.joblib"
    assert inspected(models, "./iris.onnx", "Onnx").file == "iris.onnx"
    assert inspected(models, "net/", "onnx").file == "net/iris.onnx"
    assert inspected(models, "saved", "TensorFlow").file == "saved"
    assert inspected(models, "served", "tensorflow").file == "served/10"
    assert inspected(models, "ml", "mlflow").mlflow == MlflowModel(
        flavors=("python_function", "sklearn"), version="3.1.0"
    )


@pytest.mark.parametrize(
    ("path", "framework", "message"),
    [
        ("iris.onnx", "sklearn", "is no pickle"),
        ("cut.pkl", "sklearn", "ends too early"),
        ("plain.pkl", "sklearn", "something else than an estimator"),
        ("net", "sklearn", "a folder with no file"),
        ("d.pkl", "onnx", "is no ONNX graph"),
        ("cut.onnx", "onnx", "is no ONNX graph"),
        ("empty.onnx", "onnx", "is no ONNX graph"),
        ("net2", "onnx", "a folder with 2 files"),
        ("iris.onnx", "tensorflow", "a SavedModel is a folder"),
        ("ml", "tensorflow", "has no saved_model.pb"),
        ("unsigned", "tensorflow", "has no signatures"),
        ("damaged", "tensorflow", "is damaged"),
        ("saved", "mlflow", "has no file MLmodel"),
        ("d.pkl", "mlflow", "has no file MLmodel"),
        ("r", "mlflow", "no python_function flavor.*its flavors: crate"),
    ],
)
def test_a_model_of_another_framework_is_refused_where_it_is_named(
    models: Path, path: str, framework: str, message: str
) -> None:
    with pytest.raises(ContextError, match=message) as caught:
        inspected(models, path, framework)
    assert caught.value.where is not None
    assert caught.value.where.field == "models[0].framework"
    assert caught.value.where.line == 5
    assert caught.value.remedy
    # With an entry script as well, the framework is a declaration, and is held against the file.
    script = "entry_script: score.py\nenvironment: {pip: []}\n"
    with pytest.raises(ContextError, match=message):
        check_frameworks(spec_of(models, path, framework, script))


def test_what_is_not_there_or_no_yaml(models: Path) -> None:
    with pytest.raises(ContextError, match=r"'none\.pkl' is not there"):
        inspected(models, "none.pkl", "sklearn")
    with pytest.raises(SpecError, match="not valid YAML"):
        inspected(models, "bad", "mlflow")


def test_a_pickle_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (sprung.spring, ())

    sprung: Any = types.ModuleType("sklearn_trap")

    def spring() -> None:
        raise AssertionError("it was loaded")

    spring.__module__, spring.__qualname__ = "sklearn_trap", "spring"
    sprung.spring = spring
    monkeypatch.setitem(sys.modules, "sklearn_trap", sprung)
    write_files(tmp_path, {"trap.pkl": pickle.dumps(Trap())})
    assert inspected(tmp_path, "trap.pkl", "sklearn").sklearn is None


# --- swagger ----------------------------------------------------------------------------------------------------------

TABLE = Interface(inputs=(Port(name="a", kind="number", shape=()), Port(name="b", kind="string", shape=())))
TENSOR = Interface(inputs=(Port(name="x", kind="integer", shape=(None, 3)),))
LARGE = Interface(inputs=(Port(name="x", kind="number", shape=(None, 3, 224, 224)),))


@pytest.mark.parametrize(
    ("kind", "interface", "example"),
    [
        ("sklearn", Interface(), None),
        ("onnx", TENSOR, {"inputs": {"x": [[1, 1, 1]]}}),
        ("onnx", LARGE, None),
        ("onnx", Interface(inputs=(Port(name="x"),)), None),
        ("tensorflow", TENSOR, {"inputs": {"x": [[1, 1, 1]]}}),
        ("mlflow", TABLE, {"dataframe_split": {"columns": ["a", "b"], "data": [[0.5, "text"]]}}),
        ("mlflow", TENSOR, {"inputs": {"x": [[1, 1, 1]]}}),
        ("mlflow", Interface(), None),
    ],
)
def test_swagger_tells_what_a_request_is(tmp_path: Path, kind: Any, interface: Interface, example: Any) -> None:
    spec = spec_of(tmp_path, "m", kind).spec
    texts = swagger_texts(spec, Inspected(kind=kind, file="m", signatures={"": interface}))
    assert set(texts) == {"swagger2.json", "swagger3.json", "swagger3.1.json"}
    documents = {name: json.loads(text) for name, text in texts.items()}
    assert documents["swagger2.json"]["swagger"] == "2.0"
    assert (documents["swagger3.json"]["openapi"], documents["swagger3.1.json"]["openapi"]) == ("3.0.3", "3.1.0")
    schemas = documents["swagger3.json"]["components"]["schemas"]
    assert documents["swagger2.json"]["definitions"] == schemas
    assert schemas["ServiceInput"].get("example") == example
    jsonschema.Draft202012Validator.check_schema(schemas["ServiceInput"])
    if example is not None:
        jsonschema.validate(example, schemas["ServiceInput"])


def test_fixed_lengths_are_told(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "m", "onnx").spec
    text = swagger_texts(spec, Inspected(kind="onnx", file="m", signatures={"": TENSOR}))["swagger3.json"]
    schema = json.loads(text)["components"]["schemas"]["ServiceInput"]
    jsonschema.validate({"inputs": {"x": [[1, 2, 3], [4, 5, 6]]}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"inputs": {"x": [[1, 2]]}}, schema)
