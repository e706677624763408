"""What is remembered is as it was written, or is as none: damage costs time, and breaks nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from packager.storage.memory import Memory

VALUE = b'{"digest": "abc", "size": 12}'


def kept(memory: Memory, folder: Path) -> Path:
    memory.remember(VALUE, "one", "two")
    (found,) = (folder / "memory/kind").iterdir()
    return found


def other_kind(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_before(path: Path) -> None:
    path.write_bytes(VALUE)


def zero(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def test_a_value_comes_back(tmp_path: Path) -> None:
    memory = Memory("kind", tmp_path)
    path = kept(memory, tmp_path)
    assert memory.recall("one", "two") == VALUE
    assert memory.recall("one") is None
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", [flip, cut, empty, of_before, other_kind, zero, folder])
def test_damage_is_as_none(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    memory = Memory("kind", tmp_path)
    damage(kept(memory, tmp_path))
    assert memory.recall("one", "two") is None


@pytest.mark.parametrize("damage", [flip, cut, empty, of_before, other_kind, zero])
def test_damage_is_written_over(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    memory = Memory("kind", tmp_path)
    damage(kept(memory, tmp_path))
    memory.remember(VALUE, "one", "two")
    assert memory.recall("one", "two") == VALUE


def test_the_file_of_another_key_is_as_none(tmp_path: Path) -> None:
    memory = Memory("kind", tmp_path)
    first = kept(memory, tmp_path)
    memory.remember(b"other", "three")
    (second,) = set(first.parent.iterdir()) - {first}
    first.rename(second)
    assert memory.recall("three") is None
