from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from packager.contract import MTIME
from packager.errors import UsageError
from packager.revision import build_labels, git_revision, lock_time, source_date_epoch


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.com", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_time_is_never_the_clock() -> None:
    assert source_date_epoch({}) == MTIME
    assert source_date_epoch({"SOURCE_DATE_EPOCH": "1700000000"}) == 1700000000
    for wrong in ("now", "-1", "1.5", "9" * 20, "١"):
        with pytest.raises(UsageError):
            source_date_epoch({"SOURCE_DATE_EPOCH": wrong})


def test_an_image_is_as_old_as_its_lock_unless_source_date_epoch_says_more() -> None:
    assert source_date_epoch({}, locked=1_790_000_000) == 1_790_000_000
    assert source_date_epoch({"SOURCE_DATE_EPOCH": "1700000000"}, locked=1_790_000_000) == 1_700_000_000


def test_a_lock_that_changes_has_the_time_of_the_clock_unless_source_date_epoch_says_more() -> None:
    assert lock_time({}, lambda: 1_790_000_000.9).isoformat() == "2026-09-21T14:13:20+00:00"
    assert lock_time({"SOURCE_DATE_EPOCH": "0"}, lambda: 1_790_000_000.9).isoformat() == "1970-01-01T00:00:00+00:00"


def test_the_revision_is_that_of_the_folder(tmp_path: Path) -> None:
    assert git_revision(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert git_revision(tmp_path) is None, "no commit yet"
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_text("1")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "x")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_revision(tmp_path / "a") == commit
    (tmp_path / "elsewhere").write_text("2")
    assert git_revision(tmp_path / "a") == commit, "what changes elsewhere does not count"
    (tmp_path / "a/file").write_text("2")
    assert git_revision(tmp_path / "a") == f"{commit}-dirty"
    (tmp_path / "untracked").mkdir()
    assert git_revision(tmp_path / "untracked") is None


def test_labels_without_git(tmp_path: Path) -> None:
    assert build_labels(tmp_path, MTIME) == {"org.opencontainers.image.created": "1980-01-01T00:00:00Z"}
