"""Folders for the moment: gone at the end, and what killed processes left is gone a day later."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import packager
from packager.scratch import PREFIXES, scratch


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_private_and_goes(temporary: Path) -> None:
    with scratch("packager-lock-") as name:
        assert Path(name).parent == temporary
        assert os.stat(name).st_mode & 0o777 == 0o700
        (Path(name) / "file").touch()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_killed_processes_left_goes_after_a_day(temporary: Path, prefix: str) -> None:
    old, new, other = (temporary / name for name in (f"{prefix}old", f"{prefix}new", "someone-else"))
    for folder, age in ((old, 86500), (new, 60), (other, 86500)):
        (folder / "in").mkdir(parents=True)
        os.utime(folder, (time.time() - age,) * 2)
    file, link = temporary / f"{prefix}file", temporary / f"{prefix}link"
    file.touch()
    os.utime(file, (0, 0))
    link.symlink_to(other)
    os.utime(link, (0, 0), follow_symlinks=False)
    with scratch("packager-lock-"):
        assert not old.exists()
    assert {new, other, file, link} == set(temporary.iterdir())
    assert (other / "in").is_dir()


def test_a_folder_in_use_stays_whatever_the_clock_says(temporary: Path) -> None:
    def next_year() -> float:
        return time.time() + 31e6

    with scratch("packager-build-") as used:
        with scratch("packager-lock-", next_year):
            assert Path(used).is_dir()
        os.utime(used, (0, 0))
        with scratch("packager-lock-"):
            assert Path(used).is_dir()
    assert list(temporary.iterdir()) == []


def test_what_lasts_until_the_end_of_a_process_goes_with_it(temporary: Path) -> None:
    made = "print(os.listdir(scratch_until_exit('packager-dataset-')))"
    text = f"import os; from packager.scratch import scratch_until_exit; {made}"
    environ = {**os.environ, "TMPDIR": str(temporary)}
    done = subprocess.run([sys.executable, "-c", text], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert list(temporary.iterdir()) == []


def test_every_folder_in_the_temporary_directory_is_one_that_is_swept() -> None:
    """One that is made otherwise stays for ever where its process is killed."""
    package = Path(packager.__file__).parent
    calls = [
        (path.relative_to(package).as_posix(), {word.arg: ast.unparse(word.value) for word in node.keywords})
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("mkdtemp", "TemporaryDirectory"))
    ]
    assert len(calls) > 9
    here = [(path, words) for path, words in calls if path != "scratch.py" and "dir" not in words]
    others = [path for path, words in here if words.get("prefix", "").strip("'\"") not in PREFIXES]
    assert others == ["programs/stage/wheels.py"], "it runs in the stage of an image, which is thrown away"
