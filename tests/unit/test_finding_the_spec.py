"""Which spec a command works on: here, above, by an argument, under either name; and what is said of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from packager.errors import SpecError, UsageError
from packager.spec.find import chosen_spec, find_spec, looks_like_spec
from packager.spec.load import load_spec
from packager.steps.init import init

SPEC = 'name: {name}\nversion: "1"\nentry_script: score.py\nenvironment: {{pip: []}}\n'


def run(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "packager", *words],
        cwd=cwd, env={**os.environ, "HOME": "/nonexistent", "DOCKER_HOST": "unix:///nonexistent", **env},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    (folder / "src/inner").mkdir(parents=True)
    (folder / "score.py").write_text("def init():\n    pass\n\n\ndef run(data):\n    return data\n")
    (folder / "packager.yaml").write_text(SPEC.format(name="outer"))
    return folder


def test_the_nearest_spec_above_is_taken(package: Path) -> None:
    inner = package / "src/inner"
    home = package.parents[1]
    assert find_spec(inner, home) == package / "packager.yaml"
    (package / "src/packager.yml").write_text(SPEC.format(name="inner"))
    assert find_spec(inner, home) == package / "src/packager.yml"
    assert find_spec(package, home) == package / "packager.yaml"


def test_nothing_is_looked_for_in_the_home_folder_and_above(package: Path) -> None:
    inner = package / "src/inner"
    assert find_spec(inner, home=package) is None
    assert find_spec(inner, home=package / "src") is None
    assert find_spec(package, home=package) == package / "packager.yaml"  # one stands in it


def test_a_spec_above_that_is_another_users_is_passed_over(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = Path.stat

    def of_others(path: Path, **more: bool) -> os.stat_result:
        found = stat(path, **more)
        return os.stat_result((*found[:4], found.st_uid + 1, *found[5:10])) if path.name == "packager.yaml" else found

    monkeypatch.setattr(Path, "stat", of_others)
    assert find_spec(package / "src", package.parents[1]) is None


def test_which_one_was_taken_is_said_unless_it_is_here(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[str]()
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.chdir(package)
    assert chosen_spec(None, None, said.append, said.append) == Path("packager.yaml")
    assert chosen_spec(None, package / "src", said.append, said.append) == package / "src/packager.yaml"
    assert said == []
    monkeypatch.chdir(package / "src")
    assert chosen_spec(None, None, said.append, said.append) == package / "packager.yaml"
    assert said == [f"spec: {package / 'packager.yaml'}"]
    with pytest.raises(UsageError, match=r"-f a\.yaml and \. name two specs"):
        chosen_spec(Path("a.yaml"), Path(), said.append, said.append)


def test_of_two_in_one_folder_the_second_is_told(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warned = list[str]()
    monkeypatch.chdir(package)
    (package / "packager.yml").write_text(SPEC.format(name="second"))
    assert chosen_spec(None, None, warned.append, warned.append) == Path("packager.yaml")
    assert warned == ["packager.yml is not read: packager.yaml is beside it (-f packager.yml reads it)"]
    assert load_spec(chosen_spec(Path("packager.yml"), None, warned.append, warned.append)).spec.name == "second"
    assert len(warned) == 1


def test_packager_yml_is_a_spec(package: Path) -> None:
    (package / "packager.yaml").rename(package / "packager.yml")
    assert load_spec(package).lock_path == package / "packager.lock"
    with pytest.raises(SpecError, match=r"packager\.yml exists"):
        init(package)
    assert init(package, force=True)[0] == package / "packager.yml"
    assert not (package / "packager.yaml").exists()


@pytest.mark.parametrize(
    ("text", "spec"),
    [(".", True), ("./a", True), ("../a", True), ("/a/b", True), ("there.yaml", True),
     ("gone.yaml", False), ("a/b:1", False), ("diabetes:1", False), ("numpy", False)],
)  # fmt: skip
def test_what_looks_like_a_spec(text: str, spec: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.yaml").touch()
    assert looks_like_spec(text) is spec


@pytest.mark.parametrize(
    "words",
    [("check", "packager.yaml"), ("check", "."), ("check",), ("build", "."), ("build", "-t", "x:1", "."),
     ("plan", "."), ("render", "./packager.yaml"), ("save", ".", "-o", "out"), ("test", "."),
     ("export", ".", "--format", "requirements"), ("lock", ".", "--check"), ("run", "."), ("push", "."),
     ("service", "deploy", "a", "."), ("bake", ".")],
)  # fmt: skip
def test_verbs_take_a_spec_or_its_folder(package: Path, words: tuple[str, ...]) -> None:
    """Each gets as far as this spec's own faults: it has no lock and no tests, and there is no engine."""
    done = run(*words, cwd=package)
    assert "Usage" not in done.stderr, done.stderr
    faults = ("packager.lock", "no tests", "engine", "docker", "lock-missing")
    assert any(each in done.stderr + done.stdout for each in faults), done.stderr


def test_a_verb_in_a_folder_below(package: Path) -> None:
    done = run("render", cwd=package / "src/inner")
    assert f"spec: {package}/packager.yaml\n" in done.stderr
    assert "packager.lock" in done.stderr
    assert "spec: " not in run("render", "-q", cwd=package / "src/inner").stderr


def test_no_spec_anywhere(tmp_path: Path) -> None:
    done = run("plan", cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no such file\n  at packager.yaml" in done.stderr
    assert "`packager init` writes one" in done.stderr
