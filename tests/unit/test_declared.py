"""A package that is declared without a spec: its folder, its lock's name, and what is not packaged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from packager.errors import ContextError, UsageError
from packager.steps.declared import (
    Declared,
    DeclaredModel,
    environment_file,
    lay_out,
    lock_key,
    package_of,
    pip_instead,
    python_of,
    taking_turns,
)

CONDA: dict[str, Any] = {"dependencies": ["python=3.12.4", "pip==20.2.4", {"pip": ["numpy", "--pre"]}]}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "src"
    (made / "x").mkdir(parents=True)
    (made / "x/score.py").write_text("def init(): ...\ndef run(data): ...\n")
    (made / ".git").mkdir()
    (made / ".git/config").write_text("")
    (made / "env").mkdir()
    (made / "env/pyvenv.cfg").write_text("")
    (made / ".dockerignore").write_text("*.log\n")
    os.mkfifo(made / "pipe")
    (made / "link").symlink_to("x/score.py")
    return made


def spec_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "packager.yaml").read_text())
    return found


def test_a_source_directory_is_copied_under_its_name_without_what_is_never_packaged(
    source: Path, tmp_path: Path
) -> None:
    declared = Declared(name="p", entry_script="x/score.py", source_dir=source, conda=CONDA, server={"auth": "key"})
    lay_out(declared, tmp_path / "made")
    there = sorted(path.relative_to(tmp_path / "made").as_posix() for path in (tmp_path / "made").rglob("*"))
    assert there == [
        *("packager.yaml", "requirements.txt", "src", "src/.dockerignore", "src/link", "src/x", "src/x/score.py"),
    ]
    assert spec_of(tmp_path / "made") == {
        "name": "p",
        "version": "1",
        "entry_script": "x/score.py",
        "python": "3.12",
        "server": {"auth": "key"},
        "targets": ["cpu"],
        "source_dir": "src",
        "keep_source_dir": True,
        "environment": "requirements.txt",
    }
    assert (tmp_path / "made/requirements.txt").read_text() == "numpy\n--pre\n"
    (source / "x/score.py").write_text("changed")
    lay_out(declared, tmp_path / "made")
    assert (tmp_path / "made/src/x/score.py").read_text() == "changed"
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


@pytest.mark.parametrize("inside", ["here/services", ".data/packager/azureml/services"])
def test_what_packager_keeps_inside_a_project_is_not_copied_into_itself(
    source: Path, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    """The copy lies in one of those folders, or anywhere else in the project."""
    for name in ("data", "cache", "state"):
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(source / f".{name}"))
        (source / f".{name}/packager").mkdir(parents=True)
    (source / "x/weights").write_text("1")
    model = DeclaredModel(name="m", path=source / "x")
    made = source / inside / "made"
    lay_out(Declared(name="p", entry_script="x/score.py", source_dir=source, conda=CONDA, models=(model,)), made)
    files = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
    assert files == [
        *("models/m/x/score.py", "models/m/x/weights", "packager.yaml", "requirements.txt"),
        *("src/.dockerignore", "src/link", "src/x/score.py", "src/x/weights"),
    ]


def test_a_model_in_whose_folder_the_package_comes_to_lie(source: Path) -> None:
    made = source / "x/made"
    model = DeclaredModel(name="m", path=source / "x")
    lay_out(Declared(name="p", entry_script="x/score.py", source_dir=source, conda=CONDA, models=(model,)), made)
    assert len([path for path in made.rglob("*") if path.is_file()]) < 10


def test_what_amlignore_leaves_out_is_left_out_unless_dockerignore_says_it(source: Path, tmp_path: Path) -> None:
    (source / ".amlignore").write_text("data/\n")
    declared = Declared(name="p", entry_script="x/score.py", source_dir=source, service={"cpu": 1, "memory": "512Mi"})
    lay_out(declared, tmp_path / "made")
    assert (tmp_path / "made/src/.dockerignore").read_text() == "*.log\n"
    assert spec_of(tmp_path / "made")["service"] == {"cpu": 1, "memory": "512Mi"}
    (source / ".dockerignore").unlink()
    lay_out(declared, tmp_path / "made")
    assert "**/data" in (tmp_path / "made/src/.dockerignore").read_text()


def test_a_script_alone_goes_with_what_stands_beside_it(source: Path, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_text("weights")
    declared = Declared(
        name="p",
        entry_script=str(source / "x/score.py"),
        beside=(source / ".dockerignore", source / "x"),
        models=(DeclaredModel(path=tmp_path / "model.bin", name="model.bin"),),
        conda={"channels": ["conda-forge"], "dependencies": ["python=3.12", "lightgbm"]},
        description="two\nlines",
    )
    lay_out(declared, tmp_path / "made")
    assert sorted(path.name for path in (tmp_path / "made/app").iterdir()) == [".dockerignore", "score.py", "x"]
    assert os.path.samefile(tmp_path / "model.bin", tmp_path / "made/models/model.bin/model.bin")
    spec = spec_of(tmp_path / "made")
    assert (spec["entry_script"], spec["source_dir"], spec["description"]) == ("score.py", "app", "two lines")
    assert (spec["models"], spec["environment"]) == (
        [{"path": "models/model.bin/model.bin", "name": "model.bin"}],
        "environment.yml",
    )
    assert "python" not in spec


@pytest.mark.parametrize("name", ["models", "locks", "templates"])
def test_a_source_directory_that_is_called_as_a_folder_of_ours_gets_another_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "score.py").write_text("")
    lay_out(Declared(name="p", entry_script="score.py", source_dir=tmp_path / name), tmp_path / "made")
    assert spec_of(tmp_path / "made")["source_dir"] == f"app-{name}"


def test_conda_is_needed_for_what_the_base_image_has_not() -> None:
    def file_of(*packages: Any) -> str:
        found = environment_file(Declared(name="p", conda={"dependencies": list(packages)}))
        assert found is not None
        return found[0]

    assert file_of("python=3.8.13", "pip==20.2.4", {"pip": ["numpy"]}) == "requirements.txt"
    assert file_of("conda-forge::python >=3.8", "pip") == "requirements.txt"
    assert file_of() == "requirements.txt"
    for package in ("lightgbm", "python-no-such-thing", "pip-tools"):
        assert file_of("python=3.8", package, "numpy") == "environment.yml"
    assert environment_file(Declared(name="p")) is None


def test_what_pip_can_install_is_not_asked_of_conda_and_it_is_said(tmp_path: Path) -> None:
    packages = ["python=3.8", "scikit-learn=0.22.1", "numpy", {"pip": ["azureml-defaults"]}]
    declared = Declared(name="p", conda={"channels": ["anaconda", "conda-forge"], "dependencies": packages})
    assert environment_file(declared) == (
        "requirements.txt",
        "scikit-learn==0.22.1.*\nnumpy\nazureml-defaults\n",
    )
    for kept in (
        msgspec.structs.replace(declared, base="corp/base:1"),
        msgspec.structs.replace(declared, conda={"dependencies": packages, "variables": {"A": "b"}}),
        msgspec.structs.replace(declared, conda={"dependencies": packages, "channels": ["pytorch"]}),
    ):
        assert pip_instead(kept) is None
    told: list[str] = []

    class Hears:
        def step(self, text: str) -> None:
            told.append(text)
            raise KeyboardInterrupt

        detail = warn = step

    with pytest.raises(KeyboardInterrupt):
        package_of(
            msgspec.structs.replace(declared, entry_script="score.py"), tmp_path / "p", tmp_path, reporter=Hears()
        )
    assert told == [
        "asked of conda, and PyPI has it, too: pip installs scikit-learn, numpy (a channel before one of them asks "
        "conda: `conda-forge::numpy`)"
    ]


@pytest.mark.parametrize(
    ("packages", "python"),
    [
        (["python=3.8.13"], "3.8"),
        (["python==3.10"], "3.10"),
        (["defaults::python >=3.9"], "3.9"),
        (["python"], None),
        (["python-dateutil=3.1"], None),
        ([], None),
    ],
)
def test_the_version_of_python(packages: list[str], python: str | None) -> None:
    assert python_of(Declared(name="p", conda={"dependencies": packages})) == python


def test_the_lock_is_of_the_environment_alone() -> None:
    one = Declared(name="a", entry_script="score.py", conda=CONDA)
    same = msgspec.structs.replace(one, name="b", env={"A": "1"}, models=(DeclaredModel(registered="m:1"),))
    assert lock_key(one) == lock_key(same)
    for change in ({"base": "x:1"}, {"target": "gpu"}, {"conda": {"dependencies": ["python=3.11"]}}):
        assert lock_key(msgspec.structs.replace(one, **change)) != lock_key(one)
    bare = Declared(name="a", models=(DeclaredModel(registered="m:1", framework="sklearn", framework_version="1"),))
    other = DeclaredModel(registered="n:1", framework="sklearn", framework_version="2")
    assert lock_key(bare) != lock_key(msgspec.structs.replace(bare, models=(other,)))


def test_what_cannot_be_laid_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to package"):
        package_of(Declared(name="p"), tmp_path / "made", tmp_path / "locks")
    with pytest.raises(ContextError, match="cannot be copied"):
        package_of(Declared(name="p", entry_script="none.py"), tmp_path / "made", tmp_path / "locks")
    missing = Declared(name="p", models=(DeclaredModel(path=tmp_path / "none", name="none"),))
    with pytest.raises(ContextError, match="there is no"):
        lay_out(missing, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_two_who_make_one_thing_take_turns(tmp_path: Path) -> None:
    import threading

    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with taking_turns(tmp_path / "thing"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with taking_turns(tmp_path / "thing"):
        inside.set()
        thread.join(timeout=0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
