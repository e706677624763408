from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.errors import ContextError, UsageError
from packager.workspace.facts import ANYTHING, Facts, find_facts, settle
from tests.unit.test_no_code_models import field, onnx, onnx_value, saved_model, tensor

EXAMPLES = Path(__file__).parents[2] / "examples"
IRIS = EXAMPLES / "onnx-no-code/models/iris.onnx"
DIABETES = EXAMPLES / "diabetes/models/sklearn_regression_model.pkl"


def zipped(**members: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), content)
    return data.getvalue()


def safetensors(metadata: dict[str, str] | None = None, **more: Any) -> bytes:
    header = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, **more}
    text = json.dumps(header | ({"__metadata__": metadata} if metadata is not None else {})).encode()
    return len(text).to_bytes(8, "little") + text + bytes(4)


UBJ = (
    b"{L\0\0\0\0\0\0\0\x07learner{L\0\0\0\0\0\0\0\x0aattributes{}}L\0\0\0\0\0\0\0\x07version[#L\0\0\0\0\0\0\0\x03"
    b"i\x03i\x02i\x00}"
)
KERAS = zipped(metadata_DOT_json=b'{"keras_version": "3.5.0"}', config_DOT_json=b"{}", model_DOT_weights_DOT_h5=b"\x89")

#: As the frameworks' own files begin; those of today were compared.
FORMATS: list[tuple[str, bytes, str | None, str | None]] = [
    ("sd.pt", zipped(sd__data_DOT_pkl=b"\x80\x02}.", sd__version=b"3\n"), "PyTorch", None),
    ("s.pt", zipped(s__data_DOT_pkl=b"", s__version=b"3\n", s__constants_DOT_pkl=b""), "PyTorch", None),
    ("old.pt", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "PyTorch", None),
    ("m.keras", KERAS, "TfKeras", "3.5.0"),
    ("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(800) + b"keras_version" + bytes(99), "TfKeras", None),
    ("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(800), None, None),
    ("m.txt", b"tree\nversion=v4\nnum_class=1\n", "lightgbm", None),
    ("m.json", b'{"learner":{"attributes":{}},"version":[2,1,0]}', "xgboost", "2.1.0"),
    ("m.json", b'{"learner":{"attributes":{}}', "xgboost", None),
    ("m.ubj", UBJ, "xgboost", "3.2.0"),
    ("m.safetensors", safetensors({"format": "pt"}), "PyTorch", None),
    ("m.safetensors", safetensors({"format": "tf"}), "TensorFlow", None),
    ("m.safetensors", safetensors(), None, None),
    ("m.bin", safetensors(b={"dtype": 1}), None, None),
    ("m.onnx", onnx(field(11, onnx_value("x", 1, 4)), field(12, onnx_value("y", 1, 4))), "Onnx", None),
    ("m.zip", zipped(a=b"1"), None, None),
    ("m.zip", b"PK\x03\x04" + bytes(100), None, None),
    ("m.pkl", pickle.dumps([1, 2]), None, None),
    ("m.bin", b"anything", None, None),
]


@pytest.mark.parametrize(("name", "data", "framework", "version"), FORMATS)
def test_what_a_file_is_of(tmp_path: Path, name: str, data: bytes, framework: str | None, version: str | None) -> None:
    (tmp_path / name).write_bytes(data)
    assert settle(find_facts(tmp_path / name), None, None) == (framework, version)


@given(data=st.binary(max_size=200), start=st.sampled_from([each[1] for each in FORMATS]), cut=st.integers(0, 200))
def test_what_is_damaged_is_nothing_or_a_problem(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, start: bytes, cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.bin"
    path.write_bytes(start[:cut] + data)
    assert isinstance(find_facts(path), Facts)


def test_an_estimator_and_a_graph() -> None:
    assert settle(find_facts(DIABETES), None, None) == ("ScikitLearn", "1.9.1")
    found = find_facts(IRIS)
    assert settle(found, None, None) == ("Onnx", None)
    (interface,) = found.details["interface"].values()
    assert [each["name"] for each in interface["inputs"]] == ["measurements"]
    assert json.loads(json.dumps(found.details)) == found.details


@pytest.mark.parametrize(
    ("framework", "version", "kept"),
    [
        ("ScikitLearn", None, ("ScikitLearn", "1.9.1")),
        ("sklearn", "1.9", ("sklearn", "1.9")),
        ("Custom", "7", ("Custom", "7")),
        ("Multi", None, ("Multi", None)),
    ],
)
def test_what_was_said_is_kept(framework: str, version: str | None, kept: tuple[str, str | None]) -> None:
    assert settle(find_facts(DIABETES), framework, version) == kept


@pytest.mark.parametrize(
    ("framework", "version", "problem"),
    [
        ("Onnx", None, "is a pickle of scikit-learn 1.9.1, and Onnx was said"),
        ("TensorFlow", None, "and TensorFlow was said"),
        ("mlflow", None, "and mlflow was said"),
        ("ScikitLearn", "0.22.1", r"saved by ScikitLearn 1\.9\.1, and version 0\.22\.1 was said"),
        ("ScikitLearn", "1.9.10", "was said"),
        ("ScikitLearn", "1", None),
    ],
)
def test_what_the_file_contradicts(framework: str, version: str | None, problem: str | None) -> None:
    found = find_facts(DIABETES)
    if problem is None:
        settle(found, framework, version)
        return
    with pytest.raises(ContextError, match=problem):
        settle(found, framework, version)


def test_what_nobody_can_mean() -> None:
    with pytest.raises(UsageError, match="needs the framework"):
        settle(Facts(), None, "1.0")
    with pytest.raises(UsageError, match="'Keras' is no framework") as caught:
        settle(Facts(), "Keras", None)
    assert all(name in str(caught.value) for name in ("ScikitLearn", "TfKeras", *ANYTHING, "lightgbm"))
    for version in ("", " ", "1.0 ", "1\x00"):
        with pytest.raises(UsageError):
            settle(Facts(), "Custom", version)


def test_any_file_may_be_of_what_has_no_mark_but_not_of_what_has(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(b"anything")
    found = find_facts(tmp_path / "m.bin")
    assert settle(found, "PyTorch", "2.1") == ("PyTorch", "2.1")
    for framework in ("Onnx", "mlflow"):
        with pytest.raises(ContextError, match="neither an ONNX graph nor an MLflow model"):
            settle(found, framework, None)


def test_a_pickle_of_plain_values_is_no_estimator(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"weights": [1.0]}))
    found = find_facts(tmp_path / "m.pkl")
    assert settle(found, "TensorFlow", None) == ("TensorFlow", None)
    with pytest.raises(ContextError, match="is a pickle of no estimator, and ScikitLearn was said"):
        settle(found, "ScikitLearn", None)


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("m.onnx", b"\x08\x07", "no whole ONNX graph"),
        ("m.pkl", DIABETES.read_bytes()[:200], "no whole pickle"),
        ("m.joblib", b"<!DOCTYPE html>\n<html>", "an HTML page"),
        ("m.h5", b"\n<html>", "an HTML page"),
        ("m.pickle", b"import os\n" * 50, "is text"),
        ("m.pkl", bytes(reversed(range(256))), "something else"),
        ("m.skops", b"hello", "no archive of skops"),
    ],
)
def test_half_a_file_is_said(tmp_path: Path, name: str, data: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(data)
    found = find_facts(tmp_path / name)
    for framework in (None, "ScikitLearn", "Onnx"):
        with pytest.raises(ContextError, match=problem):
            settle(found, framework, None)
    assert settle(found, "Custom", None) == ("Custom", None)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("old.pkl", pickle.dumps({"weights": [1.0]}, protocol=0)),
        ("lz4.joblib", b"\x04\x22\x4d\x18 compressed"),
        ("zip.pkl", b"PK\x03\x04 of torch.save"),
        ("m.model", b"<html>"),
        ("m.h5", b"a block of the user's, before the signature"),
    ],
)
def test_what_may_be_a_model_is_not_refused(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert find_facts(tmp_path / name).problem == ""


# --- folders ----------------------------------------------------------------------------------------------------------

MLMODEL = """
flavors:
  python_function: {loader_module: mlflow.sklearn, env: {conda: conda.yaml}}
  sklearn: {sklearn_version: 1.5.2, pickled_model: model.pkl, code: null}
mlflow_version: 2.20.0
run_id: abc
saved_input_example_info: {artifact_path: input_example.json, serving_input_path: serving_input_example.json}
signature:
  inputs: '[{"name": "a", "type": "double"}]'
  outputs: not json
  params: null
"""


def test_an_mlflow_model_is_of_mlflow_and_of_its_flavors(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(MLMODEL)
    (tmp_path / "input_example.json").write_text("{}")
    found = find_facts(tmp_path)
    assert settle(found, None, None) == ("mlflow", "2.20.0")
    assert settle(found, "ScikitLearn", None) == ("ScikitLearn", "1.5.2")
    assert (found.run_id, found.samples) == ("abc", ("input_example.json",))
    assert found.details["signature"] == {"inputs": [{"name": "a", "type": "double"}]}
    assert found.details["flavors"]["sklearn"] == {"sklearn_version": "1.5.2", "pickled_model": "model.pkl"}
    with pytest.raises(ContextError, match="an MLflow model with the flavors python_function, sklearn, and PyTorch"):
        settle(found, "PyTorch", None)
    with pytest.raises(ContextError, match=r"version 1\.4 was said"):
        settle(found, "ScikitLearn", "1.4")
    (tmp_path / "serving_input_example.json").write_text("{}")
    assert find_facts(tmp_path).samples == ("serving_input_example.json",)


def test_a_sample_outside_is_none(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "m/MLmodel").write_text("saved_input_example_info: {artifact_path: ../secret.json}\nflavors: 7\n")
    found = find_facts(tmp_path / "m")
    assert (found.samples, found.framework, found.details) == ((), "mlflow", {"flavors": {}})


def test_a_saved_model_says_its_version(tmp_path: Path) -> None:
    plain = saved_model(serving_default=(tensor(1, "x", 1, 2), tensor(2, "y", 1)))
    (tmp_path / "1").mkdir()
    (tmp_path / "1/saved_model.pb").write_bytes(plain)
    assert settle(find_facts(tmp_path), None, None) == ("TensorFlow", None)
    graph = field(1, field(5, "2.17.1")) + field(5, field(1, "serving_default"))
    (tmp_path / "1/saved_model.pb").write_bytes(field(1, 1) + field(2, graph))
    found = find_facts(tmp_path)
    assert settle(found, None, None) == ("TensorFlow", "2.17.1")
    assert settle(found, "TfKeras", "2.17") == ("TfKeras", "2.17")
    with pytest.raises(ContextError, match=r"version 1\.13\.1 was said"):
        settle(found, "TensorFlow", "1.13.1")
    (tmp_path / "1/saved_model.pb").write_bytes(b"\xff")
    with pytest.raises(ContextError, match="damaged"):
        settle(find_facts(tmp_path), None, None)


def test_a_folder_of_files_is_of_their_framework_where_it_is_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    for name in ("one", "two"):
        (tmp_path / f"{name}.safetensors").write_bytes(safetensors({"format": "pt"}))
    assert settle(find_facts(tmp_path), None, None) == ("PyTorch", None)
    assert settle(find_facts(tmp_path), "TensorFlow", None) == ("TensorFlow", None)
    (tmp_path / "weights.bin").write_bytes(b"unknown")
    assert settle(find_facts(tmp_path), None, None) == (None, None)
    (tmp_path / "weights.bin").unlink()
    (tmp_path / "scaler.pkl").write_bytes(DIABETES.read_bytes())
    assert settle(find_facts(tmp_path), None, None) == (None, None)
    with pytest.raises(ContextError, match="no MLflow model, and mlflow was said"):
        settle(find_facts(tmp_path), "mlflow", None)


def test_nothing_hangs_on_what_is_no_file(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    assert find_facts(tmp_path / "pipe").framework is None
    with pytest.raises(ContextError, match="cannot be read"):
        find_facts(tmp_path / "none")
