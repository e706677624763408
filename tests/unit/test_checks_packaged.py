"""What a plan would package, looked at without an engine, a lock's wheels or an index."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from packager.checks.packaged import left_out_module, make_looker
from packager.spec.load import load_spec
from tests.unit import context_factory as factory

SPEC = 'name: demo\nversion: "1"\nsource_dir: src\nentry_script: score.py\nenvironment: {pip: [six==1.17.0]}\n'
WHOLE = pickle.dumps({"a": [1, 2, 3]} | {str(number): number for number in range(50)})


def found(folder: Path, script: str, files: dict[str, str | bytes]) -> list[tuple[str, str, str | None, int | None]]:
    """Rule, severity, file and line of each finding where nothing is locked; files of `models/` are models."""
    models = ", ".join(f"{{path: {path}}}" for path in sorted(files) if path.startswith("models/"))
    factory.write_files(folder, {"packager.yaml": f"{SPEC}models: [{models}]\n", "src/score.py": script, **files})
    spec_file = load_spec(folder)
    looker = make_looker(spec_file, offline=True, say=pytest.fail)
    findings = looker.findings_without_lock(factory.plan(spec_file), ["six==1.17.0"])
    return [(each.rule, each.severity, each.file, each.line) for each in findings]


def test_what_is_sound_is_not_spoken_of(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "models/a.pkl": WHOLE,
        "models/b.bin": b"no pickle",
        "src/helper.py": "import six\n",
    }
    assert found(tmp_path, "import os, helper\nfrom helper import six\n", files) == []


@pytest.mark.parametrize("others", [{}, {"models/a.bin": b"no pickle"}, {"models/a.bin": b"x", "models/z.pkl": WHOLE}])
def test_each_pickle_of_each_model_is_read(tmp_path: Path, others: dict[str, str | bytes]) -> None:
    files = {"models/m.pkl": WHOLE[: len(WHOLE) // 2], **others}
    ((rule, _, file, _),) = found(tmp_path, "", files)
    assert (rule, file) == ("model-broken", "models/m.pkl")


def test_long_modules_are_read_to_their_end(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"src/helper.py": "#" + "x" * 100_000 + "\nfrom json import gone\n"}
    told = found(tmp_path, "import helper\nfrom json import loads, no_such_name\n", files)
    assert [(file, line) for _, _, file, line in told] == [("src/score.py", 2), ("src/helper.py", 2)]


def test_a_file_that_is_called_as_a_model_and_is_none_is_an_error(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"models/a.joblib": b"<!DOCTYPE html><title>Sign in</title>", "models/b.pkl": WHOLE}
    assert found(tmp_path, "", files) == [("model-broken", "error", "models/a.joblib", None)]


def test_what_lies_about_in_the_app_and_nothing_opens(tmp_path: Path) -> None:
    script = 'import os\nMODEL = os.path.join(os.environ["AZUREML_MODEL_DIR"], "m.pkl")\nopen("used/words.bin")\n'
    large = b"\0" * (10 << 20)
    files: dict[str, str | bytes] = {"models/m.pkl": WHOLE * 9, "src/m.pkl": WHOLE * 9, "src/old.onnx": b"\x08x"}
    files |= {"src/data/train.csv": large, "src/used/words.bin": large + b"1", "src/small.csv": b"1,2\n"}
    assert found(tmp_path, script, files) == [
        ("app-holds-model", "warning", "src/m.pkl", None),
        ("app-unopened", "warning", "src/data/train.csv", None),
        ("app-unopened", "info", "src/old.onnx", None),
    ]


def test_a_model_of_before_beside_the_script_is_told_though_the_script_names_the_one_of_its_folder(
    tmp_path: Path,
) -> None:
    script = 'import os\nMODEL = os.path.join(os.environ["AZUREML_MODEL_DIR"], "m.pkl")\n'
    files: dict[str, str | bytes] = {"models/m.pkl": WHOLE, "src/m.pkl": WHOLE + b"of before"}
    assert ("app-unopened", "info", "src/m.pkl", None) in found(tmp_path, script, files)
    assert found(tmp_path, 'import joblib\njoblib.load("m.pkl")\n', files | {"src/joblib.py": ""}) == []


def test_a_module_beside_the_source_directory_is_named(tmp_path: Path) -> None:
    files = {"packager.yaml": SPEC, "src/score.py": "", "common/helpers.py": "", "lib/__init__.py": "", ".x/y.py": ""}
    factory.write_files(tmp_path, {**files, "src/own.py": "", "own.py": ""})
    spec_file = load_spec(tmp_path)
    told = {name: left_out_module(spec_file, name) for name in ("helpers", "lib", "y", "own", "six", "a.b", "../x")}
    assert {name: path for name, path in told.items() if path} == {
        "helpers": "common/helpers.py",
        "lib": "lib/__init__.py",
        "own": "src/own.py",
    }
