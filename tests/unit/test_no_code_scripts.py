from __future__ import annotations

import ast
import base64
import datetime
import re
import sys
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.checks.entry_script import check_entry_script
from packager.context.no_code import script_text
from packager.spec.framework import Kind
from tests.unit.no_code_scripts import Script, load, module

KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_script_keeps_the_contract_and_names_its_model(kind: Kind) -> None:
    text = script_text(kind, 'a "b" ü.bin')
    assert check_entry_script(text, "score.py") == ()
    assert 'MODEL = "a \\"b\\" ü.bin"' in text
    assert "@MODEL@" not in text
    assert ast.get_docstring(ast.parse(text))


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def helper(monkeypatch: pytest.MonkeyPatch) -> Any:
    return sys.modules["packager_json"] if load("sklearn", monkeypatch, joblib=module("joblib")) else None


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.array([1, 2]), [1, 2]),
        (np.float32(0.5), 0.5),
        (np.array([1.5, np.nan, np.inf]), [1.5, None, None]),
        ({np.int64(3): np.bool_(True), 1.5: float("nan")}, {"3": True, "1.5": None}),
        (np.array(["2024-01-02", "NaT"], dtype="datetime64[D]"), ["2024-01-02T00:00:00", None]),
        (np.array([5, "NaT"], dtype="timedelta64[s]"), [5.0, None]),
        (pd.DataFrame({"a": [1, 2], "b": ["x", None]}), [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
        (pd.Series([pd.Timestamp("2024-01-02"), pd.NaT]), ["2024-01-02T00:00:00", None]),
        (pd.DataFrame({"t": [pd.Timestamp("2024-01-02")]}), [{"t": "2024-01-02T00:00:00"}]),
        (pd.Series([pd.NA, 2], dtype="Int64"), [None, 2]),
        ((datetime.date(2024, 1, 2), {1}, b"text", b"\xff"), ["2024-01-02", [1], "text", {"b64": "/w=="}]),
        (pd.Series([pd.Timedelta(seconds=90), pd.NaT]), [90.0, None]),
        (np.float64("nan"), None),
        (np.array(["a", None], dtype=object), ["a", None]),
        (SimpleNamespace(toarray=lambda: np.eye(2)), [[1.0, 0.0], [0.0, 1.0]]),
    ],
)
def test_every_answer_is_json(helper: Any, value: Any, plain: Any) -> None:
    answer = helper.answered(value)
    assert (answer.status, answer.body) == (200, plain)
    assert answer.headers == {"Content-Type": "application/json"}


@given(st.text(max_size=40) | st.binary(max_size=20).map(repr) | st.just("[" * 100_000) | st.just("1" * 5000))
def test_whatever_a_body_is_it_is_refused_in_a_sentence(body: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        script = load("sklearn", patch, joblib=module("joblib"))
        script.__dict__["model"] = Rows()
        assert script.refusal(body)


def test_nan_is_no_json(monkeypatch: pytest.MonkeyPatch) -> None:
    script = load("sklearn", monkeypatch, joblib=module("joblib"))
    script.__dict__["model"] = Rows()
    assert script.refusal('{"data": [[NaN, 1]]}') == "NaN is not JSON; write null for a missing value"
    assert "Infinity" in script.refusal('{"data": [[-Infinity, 1]]}')


# --- scikit-learn -----------------------------------------------------------------------------------------------------


class Rows:
    """An estimator of two columns without names; it says what it was given."""

    n_features_in_ = 2

    def predict(self, rows: Any) -> Any:
        if rows.dtype.kind == "f" and np.isnan(rows).any():
            raise ValueError("Input contains NaN.\nAnd forty lines of advice.")
        return rows.sum(axis=1)

    def fit(self) -> None:
        raise AssertionError("no request may call it")


class Named(Rows):
    feature_names_in_ = np.array(["age", "sex"], dtype=object)

    def predict(self, rows: Any) -> Any:
        return [list(rows.columns), rows.to_numpy().tolist()]

    def predict_proba(self, rows: Any) -> Any:
        return rows.shape


class Texts:
    """Of a pipeline that makes its features itself."""

    def predict(self, rows: Any) -> Any:
        return [each.upper() for each in rows]


@pytest.fixture
def sklearn(monkeypatch: pytest.MonkeyPatch) -> Any:
    def serve(model: Any) -> Script:
        script = load("sklearn", monkeypatch, joblib=module("joblib", load=lambda path: (path, model)[1]))
        monkeypatch.setenv("AZUREML_MODEL_DIR", "/models")
        script.init()
        return script

    return serve


def test_rows_and_a_row_alone(sklearn: Any) -> None:
    script = sklearn(Rows())
    assert script.ask({"data": [[1, 2], [3, 4.5]]}) == (200, {"predict": [3.0, 7.5]})
    assert script.ask({"data": [1, 2], "method": "predict"}) == (200, {"predict": [3]})
    assert script.ask({"data": [[2**62, 1]]}) == (200, {"predict": [2**62 + 1]}), "whole numbers stay whole"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "'data' is missing"),
        ({"data": []}, "at least one row"),
        ({"data": "x"}, "at least one row"),
        ({"data": [1]}, "a row of 1 values, and the model takes 2"),
        ({"data": [[1, 2], [1]]}, "row 1 has 1 values"),
        ({"data": [[1, 2], 3]}, "some rows are lists and some are not"),
        ({"data": [[1, 2], {"a": 1}]}, "some rows are records"),
        ({"data": [[1, [2]]]}, "not a list or an object"),
        ({"data": [[1, None]]}, "the model does not take this data: Input contains NaN."),
        ({"data": [[1, 10**400]]}, "too large"),
        ({"data": [{"a": 1}]}, "without names of columns|not fitted with names"),
        ({"data": [[1, 2]], "method": "fit"}, "no method 'fit'; it has predict"),
        ({"data": [[1, 2]], "method": ["predict"]}, "no method"),
        ({"data": [[1, 2]], "metod": "predict"}, "unknown key 'metod'"),
    ],
)
def test_what_is_wrong_with_rows(sklearn: Any, body: Any, message: str) -> None:
    assert re.search(message, sklearn(Rows()).refusal(body))


def test_names_of_columns(sklearn: Any) -> None:
    script = sklearn(Named())
    same = {"predict": [["age", "sex"], [[41, "f"]]]}
    for body in (
        {"data": [{"sex": "f", "age": 41}]},
        {"data": {"sex": "f", "age": 41}},
        {"columns": ["sex", "age"], "data": [["f", 41]]},
        {"data": {"columns": ["sex", "age"], "index": [0], "data": [["f", 41]]}},
        {"data": {"age": [41], "sex": ["f"]}},
        {"data": {"sex": {"7": "f"}, "age": {"7": 41}}},
        {"data": [[41, "f"]]},
        {"data": [41, "f"]},
    ):
        assert script.ask(body) == (200, same)
    assert script.ask({"data": [[41, "f"]] * 3, "method": "predict_proba"}) == (200, {"predict_proba": [3, 2]})
    assert script.refusal({"data": [{"age": 1}]}) == "the column 'sex' is missing; null in it is a missing value"
    assert script.refusal({"data": [{"age": 1, "sex": "f", "x": 1}]}) == "unknown column 'x'; the model knows age, sex"
    assert "same rows" in script.refusal({"data": {"age": [41, 42], "sex": ["f"]}})
    assert "not an object" in script.refusal({"data": [{"age": {"x": 1}, "sex": "f"}]})
    assert "one column twice" in script.refusal({"columns": ["age", "age"], "data": [[1, 2]]})
    assert "as many values" in script.refusal({"columns": ["age", "sex"], "data": [[1]]})
    assert "leave 'columns' out" in script.refusal({"columns": ["age", "sex"], "data": [{"age": 1, "sex": "f"}]})


def test_texts_of_a_pipeline_that_makes_its_features(sklearn: Any) -> None:
    script = sklearn(Texts())
    assert script.ask({"data": ["good", "bad"]}) == (200, {"predict": ["GOOD", "BAD"]})
    assert "no attribute" in script.refusal({"data": [1]})


# --- ONNX -------------------------------------------------------------------------------------------------------------


class InvalidArgument(Exception):  # noqa: N818
    """As ONNX Runtime names what it says of values."""


class Session:
    """A graph that gives its inputs back."""

    def __init__(self, **ports: tuple[str, list[Any]]) -> None:
        self._ports = [SimpleNamespace(name=name, type=kind, shape=shape) for name, (kind, shape) in ports.items()]

    def get_inputs(self) -> Any:
        return self._ports

    get_outputs = get_inputs

    def run(self, names: list[str], feeds: dict[str, Any]) -> list[Any]:
        if any(value.dtype.kind == "f" and (value == 13).any() for value in feeds.values()):
            raise InvalidArgument("no 13\nand more")
        if any(value.dtype.kind == "f" and (value == 14).any() for value in feeds.values()):
            raise MemoryError
        return [feeds[name] for name in names]


@pytest.fixture
def onnx(monkeypatch: pytest.MonkeyPatch) -> Any:
    def serve(**ports: tuple[str, list[Any]]) -> Script:
        runtime = module(
            "onnxruntime", InferenceSession=lambda _path, providers: Session(**ports), get_available_providers=list
        )
        script = load("onnx", monkeypatch, onnxruntime=runtime)
        monkeypatch.setenv("AZUREML_MODEL_DIR", "/models")
        script.init()
        return script

    return serve


def test_lists_become_the_tensors_that_a_graph_takes(onnx: Any) -> None:
    script = onnx(
        f=("tensor(float)", [None, 2]),
        h=("tensor(float16)", [2]),
        i=("tensor(int64)", ["n", 1]),
        s=("tensor(string)", [None, 1]),
        b=("tensor(bool)", ["n"]),
    )
    body = {"f": [1, None], "h": [0.5, 2], "i": [2**63 - 1, 1], "s": ["ü"], "b": [True]}
    outputs = {"f": [[1, None]], "h": [0.5, 2], "i": [[2**63 - 1], [1]], "s": [["ü"]], "b": [True]}
    assert script.ask({"inputs": body}) == (200, {"outputs": outputs})
    # What is whole is taken for whole, however it is written.
    assert script.ask({"inputs": body | {"i": [3.0]}}) == (200, {"outputs": outputs | {"i": [[3]]}})


def test_a_graph_of_one_input(onnx: Any) -> None:
    script = onnx(x=("tensor(float)", [None, 2]))
    for body in ({"data": [[1, 2]]}, {"data": [1, 2]}, {"data": {"x": [[1, 2]]}}, {"inputs": {"x": [[1, 2]]}}):
        assert script.ask(body) == (200, {"outputs": {"x": [[1, 2]]}})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "one of 'data' and 'inputs'"),
        ({"data": [[1, 2]], "inputs": {}}, "one of 'data' and 'inputs'"),
        ({"inputs": [[1, 2]]}, "by name: x"),
        ({"inputs": {"y": 1}}, "no input 'y'; it has x"),
        ({"inputs": {}}, "the input 'x' is missing"),
        ({"data": [[1, 2, 3]]}, r"the shape [1, 3], and the graph takes [any, 2]"),
        ({"data": [[[1, 2]]]}, r"the shape [1, 1, 2]"),
        ({"data": [[1, 2], [1]]}, "not all of one length"),
        ({"data": [[1, 2], 3]}, "not all of one length"),
        ({"data": [["a", 2]]}, "takes numbers, not 'a'"),
        ({"data": [[True, 2]]}, "takes numbers, not True"),
        ({"data": [[1e39, 2]]}, "too large for float32"),
        ({"data": [[10**400, 2]]}, "too large for float32"),
        ({"data": [[13, 2]]}, "the graph does not take these values: no 13"),
        ({"data": [[1, 2]], "outputFilter": ["y"]}, "the graph has x"),
        ({"data": [[1, 2]], "outputFilter": 1}, "the graph has x"),
    ],
)
def test_what_is_wrong_with_lists(onnx: Any, body: Any, message: str) -> None:
    assert message in onnx(x=("tensor(float)", [None, 2])).refusal(body)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("int64", [1.5], "takes whole numbers"),
        ("int64", [2**63], "out of the range of int64"),
        ("int64", [10**30], "out of the range of int64"),
        ("int64", [None], "takes numbers, not None"),
        ("uint8", [-1], "out of the range of uint8"),
        ("bool", [1], "takes true and false, not 1"),
        ("string", [1], "takes texts, not 1"),
        ("float16", [70000], "too large for float16"),
        ("bfloat16", [1], "has no form in JSON here"),
    ],
)
def test_what_a_type_does_not_take(onnx: Any, kind: str, value: Any, message: str) -> None:
    assert message in onnx(x=(f"tensor({kind})", [None])).refusal({"data": value})


def test_what_is_no_fault_of_the_request_is_no_400(onnx: Any) -> None:
    with pytest.raises(MemoryError):
        onnx(x=("tensor(float)", [None, 2])).ask({"data": [[14, 2]]})


def raw(values: Any, kind: str) -> str:
    return base64.b64encode(np.array(values, dtype=kind).tobytes()).decode()


@pytest.mark.parametrize(
    ("kind", "tensor", "answer"),
    [
        ("float", {"dataType": 1, "rawData": raw([1.5, 2], "<f4")}, {"dataType": 1, "rawData": raw([1.5, 2], "<f4")}),
        ("float", {"dataType": "FLOAT", "floatData": [1.5, 2]}, {"dataType": 1, "rawData": raw([1.5, 2], "<f4")}),
        ("double", {"data_type": 11, "double_data": [1.5, 2]}, {"dataType": 11, "rawData": raw([1.5, 2], "<f8")}),
        ("int64", {"dataType": 7, "int64Data": ["1", "-2"]}, {"dataType": 7, "rawData": raw([1, -2], "<i8")}),
        (
            "uint64",
            {"dataType": 13, "uint64Data": [1, 2**64 - 1]},
            {"dataType": 13, "rawData": raw([1, 2**64 - 1], "<u8")},
        ),
        ("int8", {"dataType": 3, "int32Data": [1, -2]}, {"dataType": 3, "rawData": raw([1, -2], "i1")}),
        ("bool", {"dataType": 9, "int32Data": [1, 0]}, {"dataType": 9, "rawData": raw([1, 0], "?")}),
        ("float16", {"dataType": 10, "int32Data": [15872, 16384]}, {"dataType": 10, "rawData": raw([1.5, 2], "<f2")}),
        ("string", {"dataType": 8, "stringData": ["w7w=", ""]}, {"dataType": 8, "stringData": ["w7w=", ""]}),
    ],
)
def test_tensors_of_onnx_runtime_server(onnx: Any, kind: str, tensor: Any, answer: Any) -> None:
    script = onnx(x=(f"tensor({kind})", [None]))
    for dims in (["2"], [2]):
        asked = {"inputs": {"x": {"dims": dims, **tensor}}, "output_filter": ["x"]}
        assert script.ask(asked) == (200, {"outputs": {"x": {"dims": ["2"], **answer}}})


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ({}, "has the dataType None, and the graph takes 1"),
        ({"dataType": [1]}, "has the dataType"),
        ({"dataType": 11, "dims": [2]}, "has the dataType 11"),
        ({"dataType": 1, "dims": [2]}, "neither rawData nor floatData"),
        ({"dataType": 1, "dims": 2, "floatData": [1, 2]}, "dims of the input 'x' are not whole numbers"),
        ({"dataType": 1, "dims": [1.5], "floatData": [1]}, "dims of the input 'x' are not whole numbers"),
        ({"dataType": 1, "dims": [-2], "floatData": [1, 2]}, "not negative"),
        ({"dataType": 1, "dims": [3], "floatData": [1, 2]}, "has 2 values, and its dims [3] say 3"),
        ({"dataType": 1, "dims": [2], "rawData": "%"}, "is not base64"),
        ({"dataType": 1, "dims": [2], "rawData": "AAAA"}, "ends within a value"),
    ],
)
def test_what_is_wrong_with_tensors(onnx: Any, tensor: Any, message: str) -> None:
    assert message in onnx(x=("tensor(float)", [None])).refusal({"inputs": {"x": tensor}})


# --- TensorFlow: what of the script needs no TensorFlow ---------------------------------------------------------------


@pytest.fixture
def tensorflow(monkeypatch: pytest.MonkeyPatch) -> Script:
    return load("tensorflow", monkeypatch, tensorflow=module("tensorflow", string="string"))


def test_rows_and_columns_of_tensorflow_serving(tensorflow: Any) -> None:
    specs: dict[str, Any] = {"a": None, "b": None}
    rows = [{"a": 1, "b": "x"}, {"b": "y", "a": 2}]
    assert tensorflow._columns(rows, specs) == {"a": [1, 2], "b": ["x", "y"]}
    assert tensorflow._columns([[1], [2]], {"a": None}) == {"a": [[1], [2]]}
    assert tensorflow._named({"b64": "AA=="}, {"a": None}) == {"a": {"b64": "AA=="}}
    both = {"a": np.array([1, 2]), "b_bytes": np.array([b"x", b"\xff"], dtype=object)}
    assert tensorflow._rows(both) == [{"a": 1, "b_bytes": {"b64": "eA=="}}, {"a": 2, "b_bytes": {"b64": "/w=="}}]
    assert tensorflow._rows({"a": np.array([[1], [2]])}) == [[1], [2]]
    assert tensorflow._bare({"a": np.array(3)}) == 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least one row"),
        (5, "at least one row"),
        ([1], "by name: a, b"),
        ([{"a": 1}], "the input 'b' is missing"),
        ([{"a": 1, "b": 2, "c": 3}], "no input 'c'; it has a, b"),
    ],
)
def test_what_is_wrong_with_rows_of_tensorflow(tensorflow: Any, rows: Any, message: str) -> None:
    with pytest.raises(tensorflow.BadRequest, match=message):
        tensorflow._columns(rows, {"a": None, "b": None})


class Shape(list[int | None]):
    """A TensorShape, as far as the script looks at it."""

    @property
    def rank(self) -> int:
        return len(self)

    def as_list(self) -> list[int | None]:
        return list(self)

    def is_compatible_with(self, other: Any) -> bool:
        return len(self) == len(other) and all(a in (None, b) for a, b in zip(self, other, strict=True))


class Tensor:
    def __init__(self, value: Any) -> None:
        self.value = np.asarray(value)
        self.shape = Shape(self.value.shape)

    def numpy(self) -> Any:
        return self.value


@pytest.mark.parametrize(
    ("shape", "instances", "predictions"),
    [
        ([None, 1], [1.0, 2.0, 5.0], [2.5, 3.0, 4.5]),  # the example of TensorFlow Serving's documentation
        ([None, 1], [[1.0], [2.0]], [[2.5], [3.0]]),
        ([None], [1.0], [2.5]),
        ([None, 1, 1], [1.0, 2.0], [2.5, 3.0]),
        ([None, 2, 1], [[1.0, 2.0]], [[2.5, 3.0]]),
        ([None, 2], [1.0, 2.0], None),
        ([None, 1], [[1.0, 2.0]], None),
        ([3, 1], [1.0, 2.0], None),
    ],
)
def test_values_of_one_column_may_stand_alone(
    monkeypatch: pytest.MonkeyPatch, shape: list[int | None], instances: Any, predictions: Any
) -> None:
    class Failed(Exception):  # noqa: N818
        pass

    tensorflow = load(
        "tensorflow",
        monkeypatch,
        tensorflow=module(
            "tensorflow",
            string="string",
            convert_to_tensor=lambda value, dtype: Tensor(np.array(value, dtype)),
            reshape=lambda tensor, dims: Tensor(tensor.value.reshape(dims)),
            errors=module("errors", InvalidArgumentError=Failed),
        ),
    )

    def half_plus_two(x: Tensor) -> dict[str, Tensor]:
        return {"y": Tensor(x.value / 2 + 2)}

    half_plus_two.structured_input_signature = ((), {"x": module("x", shape=Shape(shape), dtype="float32")})  # type: ignore[attr-defined]
    tensorflow.loaded = module("loaded", signatures={"serving_default": half_plus_two})  # type: ignore[attr-defined]
    if predictions is None:
        assert "and the model takes" in tensorflow.refusal({"instances": instances})
    else:
        assert tensorflow.ask({"instances": instances}) == (200, {"predictions": predictions})
        assert tensorflow.ask({"inputs": instances}) == (200, {"outputs": predictions})


def test_bytes_of_tensorflow(tensorflow: Any) -> None:
    assert tensorflow._with_bytes("x", ["a", {"b64": "/w=="}], text=True) == ["a", b"\xff"]
    assert np.isnan(tensorflow._with_bytes("x", [[None]], text=False)[0][0])
    for value, text in (({"b64": "!"}, True), ({"b64": "AA=="}, False), ({"c": 1}, True)):
        with pytest.raises(tensorflow.BadRequest):
            tensorflow._with_bytes("x", value, text=text)
    with pytest.raises(tensorflow.BadRequest, match="no rows in common"):
        tensorflow._rows({"a": np.array(1)})


# --- MLflow -----------------------------------------------------------------------------------------------------------


class MlflowException(Exception):  # noqa: N818
    """As MLflow names it."""


class Pyfunc:
    """A python_function with a signature of two columns, or none; it says what it was given."""

    def __init__(self, names: tuple[str, ...]) -> None:
        kinds = {"a": "double", "t": "datetime"}
        inputs = [SimpleNamespace(name=name, type=SimpleNamespace(name=kinds[name]), required=True) for name in names]
        schema = SimpleNamespace(inputs=inputs, has_input_names=lambda: True, is_tensor_spec=lambda: False)
        self.metadata = SimpleNamespace(get_input_schema=lambda: schema if names else None)

    def predict(self, values: Any, params: Any = None) -> Any:
        if isinstance(values, pd.DataFrame) and "a" in values and values["a"].isna().any():
            raise MlflowException("no NaN\nplease")
        return params if params else values


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Any:
    def serve(*names: str) -> Script:
        pyfunc = module("mlflow.pyfunc", load_model=lambda _path: Pyfunc(names))
        errors = module("mlflow.exceptions", MlflowException=MlflowException)
        package = module("mlflow", pyfunc=pyfunc, exceptions=errors)
        script = load("mlflow", monkeypatch, mlflow=package, mlflow__pyfunc=pyfunc, mlflow__exceptions=errors)
        monkeypatch.setenv("AZUREML_MODEL_DIR", "/models")
        script.init()
        return script

    return serve


def test_forms_of_mlflow_and_azure(mlflow: Any) -> None:
    script = mlflow("a", "t")
    row = {"a": 1.0, "t": "2024-01-02T00:00:00"}
    for body in (
        {"dataframe_split": {"columns": ["a", "t"], "data": [[1, "2024-01-02"]]}},
        {"dataframe_records": [{"t": "2024-01-02", "a": 1}]},
        {"instances": [{"a": 1, "t": "2024-01-02"}]},
        {"instances": [[1, "2024-01-02"]]},
        {"inputs": {"a": [1], "t": ["2024-01-02"]}},
        {"inputs": {"a": 1, "t": "2024-01-02"}},
        {"input_data": {"columns": ["a", "t"], "index": [0], "data": [[1, "2024-01-02"]]}},
        {"input_data": [{"a": 1, "t": "2024-01-02"}]},
        {"input_data": [[1, "2024-01-02"]]},
    ):
        assert script.ask(body) == (200, {"predictions": [row]})


def test_a_model_without_signature_gets_arrays(mlflow: Any) -> None:
    script = mlflow()
    assert script.ask({"inputs": {"x": [[1, 2]]}}) == (200, {"predictions": {"x": [[1, 2]]}})
    assert script.ask({"instances": [[1, 2]]}) == (200, {"predictions": [[1, 2]]})
    assert script.ask({"instances": [{"x": 1}, {"x": 2}]}) == (200, {"predictions": {"x": [1, 2]}})
    assert script.ask({"instances": [[1]], "params": {"k": 3}}) == (200, {"predictions": {"k": 3}})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "one of dataframe_split"),
        ({"instances": [[1, "x"]], "inputs": {}}, "one of dataframe_split"),
        ({"dataframe_split": [1]}, "a split table is"),
        ({"dataframe_split": {"columns": [["a"], "t"], "data": [[1, 2]]}}, "'columns' is a list of names"),
        ({"dataframe_split": {"columns": ["a", "t"], "data": [[1]]}}, "as many values as there are columns (2)"),
        ({"dataframe_records": []}, "no rows"),
        ({"dataframe_records": [1]}, "a list of objects"),
        ({"dataframe_records": [{"a": 1}]}, "the column 't' is missing"),
        ({"dataframe_records": [{"a": 1, "t": "2024-01-02", "x": 1}]}, "unknown column 'x'"),
        ({"dataframe_records": [{"a": "x", "t": "2024-01-02"}]}, "the column 'a' is double"),
        ({"dataframe_records": [{"a": 1, "t": "never"}]}, "the column 't' is datetime"),
        ({"dataframe_records": [{"a": None, "t": "2024-01-02"}]}, "the model does not take this data: no NaN"),
        ({"inputs": {"a": [1, 2], "t": ["2024-01-02"]}}, "not all of one length"),
        ({"inputs": 5}, "'inputs' is an object by column"),
        ({"input_data": 5}, "at least one row"),
        ({"instances": [[1, "2024-01-02"]], "params": 1}, "'params' is an object"),
    ],
)
def test_what_is_wrong_with_requests_to_mlflow(mlflow: Any, body: Any, message: str) -> None:
    assert message in mlflow("a", "t").refusal(body)
