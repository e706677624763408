"""What packager keeps of environments, and what `store gc` removes of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from packager.laying import kept

MONTH = 30 * 86400.0
OLD = time.time() - 31 * 86400


def folder(path: Path, *, old: bool) -> Path:
    (path / "lib").mkdir(parents=True)
    (path / "lib/file").write_bytes(b"x" * 1000)
    os.symlink("/etc", path / "elsewhere")
    if old:
        os.utime(path, (OLD, OLD))
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    root = tmp_path / "packager"
    for subdir in ("linux-64", "linux-aarch64"):
        folder(root / f"conda/{subdir}/old-1-0", old=True)
        (root / f"conda/{subdir}/old-1-0.lock").touch()
    folder(root / "conda/linux-64/new-1-0", old=False)
    folder(root / "prefixes/old", old=True)
    folder(root / "prefixes/new", old=False)
    folder(root / "prefixes/.new.packager-killed", old=True)
    folder(root / "prefixes/.new.packager-running", old=False)
    return root


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir() if not each.name.endswith(".lock"))


def test_what_was_not_used_goes(cache: Path) -> None:
    size = 1000
    assert kept.info(cache) == kept.Kept(packages=3, packages_size=3 * size, prefixes=2, prefixes_size=2 * size)
    found = kept.collect(cache, MONTH)
    assert found == kept.Kept(packages=2, packages_size=2 * size, prefixes=1, prefixes_size=size)
    assert names(cache / "conda/linux-64") == ["new-1-0"]
    assert not list((cache / "conda").rglob("old-*"))
    assert names(cache / "prefixes") == [".new.packager-running", "new"]
    assert kept.collect(cache, MONTH).packages == 0


def test_an_empty_cache_is_fine(tmp_path: Path) -> None:
    none = kept.Kept(packages=0, packages_size=0, prefixes=0, prefixes_size=0)
    assert kept.info(tmp_path) == kept.collect(tmp_path, 0) == none
    assert list(tmp_path.iterdir()) == []


def test_what_was_used_just_now_stays(cache: Path) -> None:
    kept.used([cache / "prefixes/old", cache / "conda/linux-64/old-1-0", cache / "gone"])
    assert kept.collect(cache, MONTH).prefixes == 0
    assert names(cache / "conda/linux-64") == ["new-1-0", "old-1-0"]


def test_packages_stay_while_any_is_being_laid_down(cache: Path) -> None:
    with kept.in_use(cache / "conda"), kept.in_use(cache / "conda"):
        assert kept.collect(cache, MONTH).packages == 0
    assert kept.collect(cache, MONTH).packages == 2


def test_an_environment_stays_while_a_program_runs_in_it(cache: Path) -> None:
    """`environment run` becomes the program, which inherits the descriptor."""
    descriptor = kept.hold(cache / "prefixes/old")
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[descriptor]) as program:
        os.close(descriptor)
        assert kept.collect(cache, MONTH).prefixes == 0
        program.communicate()
    assert kept.collect(cache, MONTH).prefixes == 1


def test_a_folder_of_nobody_is_no_package(cache: Path, tmp_path: Path) -> None:
    theirs = folder(tmp_path / "theirs", old=True)
    os.symlink(theirs, cache / "prefixes/link")
    kept.collect(cache, MONTH)
    assert (theirs / "lib/file").exists()


def test_the_verb(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from packager.cli.store import command

    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    run = CliRunner().invoke
    shown = run(command, ["info"]).stdout
    assert "conda       3 packages, 3.0 kB\n" in shown
    assert "prefixes    2 environments, 2.0 kB\n" in shown
    assert '"prefixes": 2' in run(command, ["info", "--format", "json"]).stdout
    done = run(command, ["gc"]).stdout
    assert "2 conda packages removed, 2.0 kB freed\n" in done
    assert "1 environment of `environment run` removed, 1.0 kB freed\n" in done
    assert '"packages": 0' in run(command, ["gc", "--format", "json"]).stdout
