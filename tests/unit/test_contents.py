from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from packager.errors import ContextError
from packager.workspace.contents import scan_contents


def paths(folder: Path) -> list[str]:
    return [each.path for each in scan_contents(folder)]


def test_a_file_keeps_its_name_and_a_folder_its_own(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/b.bin").write_bytes(b"1")
    (tmp_path / "m/a").mkdir()
    (tmp_path / "m/a/x").write_bytes(b"2")
    assert paths(tmp_path / "m") == ["m/a/x", "m/b.bin"]
    (found,) = scan_contents(tmp_path / "m/b.bin")
    assert (found.path, found.origin, found.below) == ("b.bin", tmp_path / "m/b.bin", os.fsencode(tmp_path / "m"))
    assert [each.path for each in scan_contents(tmp_path / "m/b.bin", "other.bin")] == ["other.bin"]


def test_the_folder_where_one_stands_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/x").write_bytes(b"1")
    monkeypatch.chdir(tmp_path / "here")
    assert paths(Path(".")) == ["here/x"]


def test_what_programs_leave_is_left_out(tmp_path: Path) -> None:
    for name in (".git/config", "__pycache__/a.pyc", ".ipynb_checkpoints/n", ".DS_Store", "sub/.DS_Store", ".hidden"):
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / name).write_bytes(b"1")
    assert paths(tmp_path / "m") == ["m/.hidden"]


def test_links_inside_are_followed(tmp_path: Path) -> None:
    (tmp_path / "m/data").mkdir(parents=True)
    (tmp_path / "m/data/x").write_bytes(b"1")
    (tmp_path / "m/again").symlink_to("data")
    (tmp_path / "m/x").symlink_to("data/x")
    (tmp_path / "latest").symlink_to("m")
    assert paths(tmp_path / "latest") == ["latest/again/x", "latest/data/x", "latest/x"]


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("/etc/hostname", "leaves the folder that is registered"),
        ("none", "leads nowhere"),
        (".", "folder that holds"),
    ],
)
def test_links_elsewhere_are_refused(tmp_path: Path, target: str, problem: str) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/x").write_bytes(b"1")
    (tmp_path / "m/link").symlink_to(target)
    with pytest.raises(ContextError, match=problem) as caught:
        scan_contents(tmp_path / "m")
    assert "spec" not in str(caught.value)


def test_content_of_a_hub_s_cache_is_taken_at_its_links_alone(tmp_path: Path) -> None:
    cache = tmp_path / "models--org--name"
    (cache / "blobs").mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text("c1")
    (cache / "snapshots/c1").mkdir(parents=True)
    (cache / "blobs/ab").write_bytes(b"1")
    (cache / "snapshots/c1/w.bin").symlink_to("../../blobs/ab")
    assert paths(cache) == [f"{cache.name}/refs/main", f"{cache.name}/snapshots/c1/w.bin"]


@pytest.mark.parametrize("name", ["a\nb", "a\x9bb", b"\xff".decode(errors="surrogateescape"), ".wh.x"])
def test_names_that_cannot_be_unpacked_everywhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / name).write_bytes(b"1")
    with pytest.raises(ContextError, match="the name") as caught:
        scan_contents(tmp_path / "m")
    assert ".dockerignore" not in str(caught.value)
    with pytest.raises(ContextError, match="the name"):
        scan_contents(tmp_path / "m" / name)


@pytest.mark.parametrize(("one", "other"), [("W.bin", "w.bin"), ("D/x", "d/y"), ("e\u0301", "\u00e9")])
def test_names_that_are_one_elsewhere(tmp_path: Path, one: str, other: str) -> None:
    for name in (one, other):
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / name).write_bytes(b"1")
    with pytest.raises(ContextError, match="differ by case"):
        scan_contents(tmp_path / "m")


def test_what_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "m/sub").mkdir(parents=True)
    with pytest.raises(ContextError, match="is empty"):
        scan_contents(tmp_path / "m")
    (tmp_path / "m/x").write_bytes(b"")
    with pytest.raises(ContextError, match="is empty"):
        scan_contents(tmp_path / "m/x")
    with pytest.raises(ContextError, match="cannot be read: No such file"):
        scan_contents(tmp_path / "none")
    with pytest.raises(ContextError, match="is no model"):
        scan_contents("/")


def test_pointers_of_git_lfs_are_not_the_file(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(ContextError, match="pointer of Git LFS"):
        scan_contents(tmp_path / "w.bin")


def test_what_is_neither_file_nor_folder(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    os.mkfifo(tmp_path / "m/pipe")
    for path in (tmp_path / "m", tmp_path / "m/pipe"):
        with pytest.raises(ContextError, match="a named pipe") as caught:
            scan_contents(path)
        assert "move it out of the folder" in str(caught.value)
    (tmp_path / "m/pipe").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "m/socket"))
        with pytest.raises(ContextError, match="a socket"):
            scan_contents(tmp_path / "m")
