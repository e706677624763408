"""Folders for the moment: gone at the end, and what killed processes left is gone a day later."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

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
