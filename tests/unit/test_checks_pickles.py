from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import sys
import types
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.checks.module_search import Search
from packager.checks.pickled_models import difference, pickle_findings
from packager.models import pickle_reader, pickle_stream
from packager.models.pickle_reader import PickleFacts, read_pickle
from tests.unit.check_images import installed

PROTOCOLS = (2, 3, 4, 5)


def read(data: bytes) -> PickleFacts | None:
    return read_pickle(io.BytesIO(data))


class Stand(types.ModuleType):
    """Modules that exist while a test writes pickles, so that their names are in them."""


@pytest.fixture
def modules() -> Iterator[dict[str, Any]]:
    made = {name: Stand(name) for name in ("sklearn", "sklearn.linear_model", "numpy", "joblib", "joblib.numpy_pickle")}
    before = {name: sys.modules.get(name) for name in made}

    class LinearRegression:
        def __getstate__(self) -> dict[str, Any]:
            return {**self.__dict__, "_sklearn_version": "1.3.2"}

    class dtype:  # noqa: N801
        def __init__(self, text: str) -> None:
            self.text = text

        def __reduce__(self) -> tuple[Any, ...]:
            return (dtype, (self.text, False, True), (3, "<", None, None, None, -1, -1, 0))

    class NumpyArrayWrapper:
        pass

    for module, kind in (
        ("sklearn.linear_model", LinearRegression),
        ("numpy", dtype),
        ("joblib.numpy_pickle", NumpyArrayWrapper),
    ):
        kind.__module__, kind.__qualname__ = module, kind.__name__
        setattr(made[module], kind.__name__, kind)
    sys.modules.update(made)
    yield dict(made)
    for name, old in before.items():
        del sys.modules[name]
        if old is not None:
            sys.modules[name] = old


def estimator(modules: dict[str, Any], **fields: object) -> Any:
    made = modules["sklearn.linear_model"].LinearRegression()
    made.__dict__.update(fields)
    return made


def joblib_dump(modules: dict[str, Any], text: str, raw: bytes, *, shape: tuple[int, ...], align: bool = True) -> bytes:
    """Write as joblib does: the bytes of the array stand right after the object that describes it."""
    wrapper = modules["joblib.numpy_pickle"].NumpyArrayWrapper()
    wrapper.__dict__.update(subclass=None, shape=shape, order="C", dtype=modules["numpy"].dtype(text), allow_mmap=True)
    wrapper.numpy_array_alignment_bytes = 16 if align else None
    data = pickle.dumps({"first": wrapper, "second": estimator(modules)}, protocol=2)
    end = data.index(b"b", data.index(b"numpy_array_alignment_bytes") + 27) + 1
    if align:
        padding = 16 - ((end + 1) % 16)
        raw = bytes([padding]) + b"\xff" * padding + raw
    return data[:end] + raw + data[end:]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_version_and_names_of_an_estimator(modules: dict[str, Any], protocol: int) -> None:
    found = read(pickle.dumps(estimator(modules, coef=[1.5] * 10, intercept=2**70), protocol))
    assert found is not None
    assert (found.protocol, found.sklearn, found.complete, found.broken) == (protocol, ("1.3.2",), True, False)
    assert "sklearn.linear_model:LinearRegression" in found.names


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_everything_that_pickle_writes_is_walked(protocol: int) -> None:
    shared = ["x"] * 3
    value = [None, True, False, 1, -1, 70000, 2**40, 2**3000, 1.5, "é" * 1000, b"x" * 70000, bytearray(b"y"), (), (1,),
             (1, 2), (1, 2, 3), (1, 2, 3, 4), {}, {"a": shared, 2: shared}, {1, 2}, frozenset({3}), range(3),
             Exception("x"),
             complex(1, 2), print, io.StringIO, types.SimpleNamespace(a=1), *range(2000)]  # fmt: skip
    found = read(pickle.dumps(value, protocol))
    assert found is not None
    assert (found.complete, found.broken) == (True, False)
    assert "builtins:print" in found.names


@pytest.mark.parametrize(
    "pack",
    [gzip.compress, bz2.compress, zlib.compress, lzma.compress, lambda data: lzma.compress(data, lzma.FORMAT_ALONE)],
)
def test_compressed_pickles_are_read(modules: dict[str, Any], pack: Any) -> None:
    found = read(pack(pickle.dumps([estimator(modules), b"x" * 300_000])))
    assert found is not None
    assert found.sklearn == ("1.3.2",)
    assert found.complete


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize(
    ("text", "shape", "size"), [("f8", (3, 4), 96), ("<i4", (5,), 20), ("U3", (2,), 24), ("b1", (), 1)]
)
def test_the_raw_arrays_of_joblib_are_passed_over(
    modules: dict[str, Any], text: str, shape: tuple[int, ...], size: int, align: bool
) -> None:
    # Bytes that would end any pickle, were they taken for opcodes.
    found = read(joblib_dump(modules, text, b"." * size, shape=shape, align=align))
    assert found is not None
    assert (found.complete, found.sklearn) == (True, ("1.3.2",))


@pytest.mark.parametrize("name", ["sklearn.externals.joblib.numpy_pickle", "vendored.joblib.numpy_pickle"])
def test_a_joblib_that_a_package_brings_writes_as_joblib_does(modules: dict[str, Any], name: str) -> None:
    data = joblib_dump(modules, "f8", b"." * 96, shape=(3, 4), align=False)
    found = read(data.replace(b"cjoblib.numpy_pickle\n", f"c{name}\n".encode()))
    assert found is not None
    assert f"{name}:NumpyArrayWrapper" in found.names
    assert (found.complete, found.broken, found.sklearn) == (True, False, ("1.3.2",))


def test_arrays_of_objects_are_pickles_of_their_own(modules: dict[str, Any]) -> None:
    inner = pickle.dumps([print], protocol=2)
    found = read(joblib_dump(modules, "O8", inner, shape=(1,), align=False))
    assert found is not None
    assert (found.complete, found.sklearn) == (True, ("1.3.2",))
    assert "builtins:print" in found.names


def test_what_cannot_be_passed_over_is_searched(modules: dict[str, Any]) -> None:
    found = read(joblib_dump(modules, "V16", b"." * 48, shape=(3,)))
    assert found is not None
    assert (found.complete, found.broken, found.sklearn) == (False, False, ("1.3.2",))


def test_steps_are_bounded_and_the_rest_searched(modules: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_reader, "MAX_STEPS", 100)
    for protocol in PROTOCOLS:
        found = read(pickle.dumps([*range(1000), estimator(modules)], protocol))
        assert found is not None
        assert (found.complete, found.broken, found.sklearn) == (False, False, ("1.3.2",))


def test_a_file_that_unpacks_to_too_much_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_stream, "MAX_UNPACKED", 1 << 20)
    for pack in (gzip.compress, bz2.compress, zlib.compress, lzma.compress):
        found = read(pack(pickle.dumps(b"\0" * (8 << 20))))
        assert found is not None
        assert (found.complete, found.broken) == (False, False)


def test_large_values_are_not_read(modules: dict[str, Any]) -> None:
    class Counting(io.BytesIO):
        most = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.most = max(self.most, len(data))
            return data

    file = Counting(pickle.dumps([b"x" * 5_000_000, "y" * 5_000_000, estimator(modules)]))
    found = read_pickle(file)
    assert found is not None
    assert found.complete
    assert file.most < 100_000


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", b"PK\x03\x04", b"not a pickle", b"\x80\x04", b"\x80\xff.", b"\x80\x01.", b"\x80\x04\xfe\xfe",
     gzip.compress(b"a,b\n1,2\n", mtime=0), zlib.compress(b""), b"x\x9cdamaged", b"\x1f\x8bdamaged", b"\x89PNG\r\n"],
)  # fmt: skip
def test_what_is_no_pickle(data: bytes) -> None:
    assert read(data) is None


def test_a_pickle_that_ends_early_is_broken(modules: dict[str, Any]) -> None:
    whole = pickle.dumps(estimator(modules, coef=list(range(100))))
    for cut in range(100, len(whole), 7):
        found = read(whole[:cut])
        assert found is not None
        assert found.broken
        assert not found.complete


def test_nothing_is_loaded() -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (exec, ("raise SystemExit('was run')",))

    found = read(pickle.dumps(Evil()))
    assert found is not None
    assert found.names == ("builtins:exec",)


_STRINGS = st.binary(max_size=300)


@given(_STRINGS, st.sampled_from(PROTOCOLS))
def test_no_bytes_break_the_reader(data: bytes, protocol: int) -> None:
    for each in (data, b"\x80" + bytes([protocol]) + data):
        found = read(each)
        assert found is None or all(":" in name for name in found.names)
    # What is whole is read, whatever it holds.
    whole = read(pickle.dumps([data, print], protocol))
    assert whole is not None
    assert whole.complete
    assert not whole.broken
    assert any(name.endswith(":print") for name in whole.names)


@given(st.data())
def test_no_damage_breaks_the_reader(data: st.DataObject) -> None:
    value = {"a": [1, 2.5, "x" * 50], "b": (print, {"_sklearn_version": "1.0"}), "c": {1, 2}}
    whole = bytearray(pickle.dumps(value, data.draw(st.sampled_from(PROTOCOLS))))
    sound = read(bytes(whole))
    assert sound is not None
    assert sound.complete
    assert sound.names
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(2, len(whole) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(whole))
    read(zlib.compress(bytes(whole)))


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04" + b"(" * 100_000 + b"t" * 100_000 + b".",
        b"\x80\x04)" + b"\x85" * 100_000 + b".",
        b"\x80\x04]" + b"2" * 300_000 + b".",
        b"\x80\x04\x8e" + b"\xff" * 8,
        b"\x80\x04K\x01K\x01K\x01\x8d" + b"\xff" * 8,
        b"\x80\x04K\x01K\x01r" + b"\xff" * 4 + b"j" + b"\xff" * 4 + b".",
        b"\x80\x02K\x01K\x01p" + b"9" * 5000 + b"\n.",
        b"\x80\x02" + b"cos\nsystem\n" * 10_000 + b".",
    ],
    ids=["marks", "deep", "copies", "huge bytes", "huge text", "far memo", "long number", "many names"],
)
def test_hostile_pickles_end(data: bytes) -> None:
    found = read(data)
    assert found is None or isinstance(found.complete, bool)


# --- findings


def findings(facts: PickleFacts, *, main_is_made: bool = False, python: str = "3.13") -> list[tuple[str, str, str]]:
    root = "/var/azureml-app"
    search = Search({f"{root}/own.py"}, {root}, installed(), python, (), (root,))
    found = pickle_findings(
        facts, "m.pkl", search, {"scikit-learn": "1.9.1"}, python, "requirements.txt", main_is_made=main_is_made
    )
    return [(each.rule, each.severity, each.message) for each in found]


def test_a_good_model_is_not_found_fault_with() -> None:
    names: tuple[str, ...] = (
        "sklearn.linear_model:LinearRegression",
        "builtins:set",
        "copyreg:_reconstructor",
        "own:Mine",
    )
    names += ("numpy._core._multiarray:_reconstruct", "joblib.numpy_pickle:NumpyArrayWrapper", "six.moves:range")
    assert findings(PickleFacts(protocol=4, names=names, sklearn=("1.9.1",))) == []


def test_a_class_of_the_notebook_is_an_error() -> None:
    facts = PickleFacts(protocol=4, names=("__main__:Mine", "__main__:scale"))
    ((rule, severity, message),) = findings(facts)
    assert (rule, severity) == ("model-main", "error")
    assert "'Mine', 'scale' of __main__" in message
    assert [each[1] for each in findings(facts, main_is_made=True)] == ["warning"]


def test_modules_that_are_not_there() -> None:
    facts = PickleFacts(
        protocol=4, names=("xgboost.sklearn:XGBRegressor", "xgboost.core:Booster", "sklearn.tree.tree:T")
    )
    assert [each[:2] for each in findings(facts)] == [("model-module-missing", "error")] * 2
    assert "'sklearn.tree.tree', which the locked 'sklearn' does not have" in findings(facts)[0][2]


@pytest.mark.parametrize("protocol", [0, 1])
def test_protocols_that_are_not_written_down(protocol: int) -> None:
    facts = read(pickle.dumps(OrderedDict({str(number): number for number in range(50)}), protocol))
    assert facts is not None
    assert (facts.names, facts.complete, facts.broken) == (("collections:OrderedDict",), True, False)
    half = read(pickle.dumps([str(number) for number in range(50)], protocol)[:200])
    assert half is not None
    assert half.broken


@pytest.mark.parametrize("text", ["hello", "import os\n" * 50, "<html>", "{}", "]\n", "No such file.", "()()()()"])
def test_texts_are_no_pickles(text: str) -> None:
    assert read(text.encode()) is None


def test_protocol_and_damage() -> None:
    assert [each[0] for each in findings(PickleFacts(protocol=6))] == ["model-protocol"]
    assert findings(PickleFacts(protocol=5)) == []
    assert [each[0] for each in findings(PickleFacts(protocol=5), python="3.7")] == ["model-protocol"]
    assert [each[0] for each in findings(PickleFacts(protocol=5, complete=False, broken=True))] == ["model-broken"]
    assert findings(PickleFacts(protocol=5, complete=False)) == []


@pytest.mark.parametrize(
    ("written", "locked", "severity"),
    [("1.9.1", "1.9.1", None), ("1.9.0", "1.9.1", "info"), ("1.8.1", "1.9.1", "warning"),
     ("0.24.2", "1.9.1", "warning"),
     ("1.10.0", "1.9.1", "warning"), ("1.9", "1.9.0", None), ("odd", "1.9", "warning")],
)  # fmt: skip
def test_how_much_a_version_matters(written: str, locked: str, severity: str | None) -> None:
    assert difference(written, locked) == severity


def test_the_version_of_a_model_is_held_against_the_lock() -> None:
    found = findings(PickleFacts(protocol=4, sklearn=("1.3.2",)))
    assert found == [("model-sklearn-version", "warning", "was saved by scikit-learn 1.3.2; the lock has 1.9.1")]


@pytest.mark.parametrize(
    ("written", "python", "says"),
    [("1.7.0", "3.13", "pin scikit-learn==1.7.0 and"), ("0.24.2", "3.13", 'set `python: "3.9"`'),
     ("0.24.2", "3.9", "pin "),
     ("0.20.3", "3.12", 'set `python: "3.8"`'), ("1.2.2", "3.12", 'set `python: "3.11"`')],
)  # fmt: skip
def test_a_version_is_advised_with_a_python_that_has_it(written: str, python: str, says: str) -> None:
    search = Search(set(), set(), installed(), python, (), ())
    facts = PickleFacts(protocol=4, sklearn=(written,))
    (found,) = pickle_findings(facts, "m.pkl", search, {"scikit-learn": "1.9.1"}, python, "r.txt", main_is_made=False)
    assert (found.remedy or "").startswith(says)
    assert f"pin scikit-learn=={written}" in (found.remedy or "")
