"""What is in a folder, asked for once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from packager.errors import ContextError
from packager.laying.libraries import read_modules
from packager.oci.layers import folder_entries
from packager.storage.listing import list_folder, stamp, totals


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "env"
    (root / "lib" / "deep").mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "bin" / "tool").write_bytes(b"\x7fELF")
    (root / "bin" / "tool").chmod(0o755)
    (root / "lib" / "deep" / "a.py").write_text("abc")
    (root / "lib" / "b.so").write_text("")
    (root / "bin" / "python").symlink_to("/usr/bin/python3")
    return root


def test_a_folder_is_listed_whole(folder: Path) -> None:
    found = {each.path: (each.kind, each.executable) for each in list_folder(folder)}
    assert {path: kind for path, (kind, _) in found.items()} == {
        "bin": "folder", "bin/python": "link", "bin/tool": "file", "lib": "folder", "lib/b.so": "file",
        "lib/deep": "folder", "lib/deep/a.py": "file",
    }  # fmt: skip
    assert (found["bin/tool"][1], found["lib/deep/a.py"][1]) == (True, False)
    assert totals(list_folder(folder)) == (3, 7)


def test_a_given_listing_is_as_good_as_the_folder(folder: Path) -> None:
    listing = list_folder(folder)
    assert folder_entries(folder, "/opt/env", reversed(listing)) == folder_entries(folder, "/opt/env")
    assert read_modules(folder, reversed(listing)) == read_modules(folder)


def test_the_stamp_tells_changes_and_nothing_else(folder: Path) -> None:
    before = stamp(list_folder(folder))
    assert stamp(reversed(list_folder(folder))) == before
    folder.rename(folder.with_name("elsewhere"))
    folder = folder.with_name("elsewhere")
    assert stamp(list_folder(folder)) == before
    os.utime(folder / "lib" / "b.so", ns=(1, 1))
    changed = stamp(list_folder(folder))
    assert changed != before
    (folder / "lib" / "c").write_text("")
    assert stamp(list_folder(folder)) not in (before, changed)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="cannot be read"):
        list_folder(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ContextError, match="not a regular file"):
        folder_entries(tmp_path, "/")
