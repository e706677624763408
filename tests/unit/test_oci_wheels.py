"""Wheels with members that would not be in an environment, or not as they are: one clear error, and nothing is made."""

from __future__ import annotations

import io
import os
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.environments.lock import LockedPackage
from packager.errors import LockError
from packager.laying.environment import lay_down
from packager.laying.wheel_archives import look_at, require_safe
from packager.laying.wheel_members import Member, judge
from packager.laying.wheels import Source
from packager.storage.content import Memory
from tests.unit.test_oci_environment import make_wheel, recipe

TAGS = "aarch64-manylinux_2_28"


@pytest.fixture
def links(tmp_path: Path) -> Path:
    folder = tmp_path / "links"
    folder.mkdir()
    return folder


@pytest.fixture
def source(
    tmp_path: Path, links: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Source:
    # What other tests have looked at is remembered by the digests of the wheels.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    environ |= {
        "UV_FIND_LINKS": str(links),
        "UV_NO_INDEX": "1",
        "UV_CACHE_DIR": str(tmp_path_factory.getbasetemp() / "uv"),
    }
    return Source.of(tmp_path, environ)


#: What a wheel holds besides `bad.py` → what is said of it.
WHEELS: dict[str, tuple[dict[str, Any], str]] = {
    "traversal": ({"files": {"../../../../escaped.txt": "x"}}, "'../../../../escaped.txt', which leaves the folder"),
    "traversal that RECORD keeps quiet about": (
        {"files": {"../escaped.txt": "x"}, "unlisted": ["../escaped.txt"]},
        "'../escaped.txt', which leaves the folder",
    ),
    "traversal that stays inside": ({"files": {"bad/../escaped.txt": "x"}}, "'bad/../escaped.txt', which leaves"),
    "absolute": ({"files": {"/tmp/escaped.txt": "x"}}, "'/tmp/escaped.txt', which is an absolute name"),
    "drive letter": ({"files": {"C:/escaped.txt": "x"}}, "'C:/escaped.txt', which is an absolute name"),
    "backslash": ({"files": {"bad\\..\\escaped.txt": "x"}}, "which is not inside the environment on every system"),
    "link": ({"files": {"link": "/etc/passwd"}, "links": ["link"]}, "'link', which is a symbolic link"),
    "link to a neighbour": ({"files": {"bad.so": "bad.so.1"}, "links": ["bad.so"]}, "'bad.so', which is a symbolic"),
    "not in RECORD": (
        {"files": {"hidden.py": ""}, "unlisted": ["hidden.py"]},
        "'hidden.py', which is not in its RECORD",
    ),
    "in RECORD alone": ({"files": {}, "ghosts": ["gone.py"]}, "names 'gone.py' in its RECORD and does not hold it"),
}


def bad_wheel(folder: Path, /, files: dict[str, str], **more: Any) -> LockedPackage:
    return make_wheel(folder, "bad", {"bad.py": "", **files}, **more)


@pytest.mark.parametrize("kind", WHEELS)
def test_it_is_refused(kind: str, tmp_path: Path, links: Path, source: Source) -> None:
    options, says = WHEELS[kind]
    packages = make_wheel(links, "good", {"good.py": ""}), bad_wheel(links, **options)
    # In the second run uv has it in its cache, and does not unpack it again.
    for _ in range(2 if kind == "traversal" else 1):
        with pytest.raises(LockError) as caught:
            lay_down(recipe(*packages), tmp_path / "env", source)
        assert "the wheel of bad==1 " in caught.value.message
        assert says in caught.value.message
        assert caught.value.remedy is not None
        assert "another version" in caught.value.remedy
        assert not (tmp_path / "env").exists()
        assert not list(tmp_path.glob(".laying-*"))
        assert not list(tmp_path.rglob("escaped.txt"))


def test_a_wheel_is_looked_at_once(tmp_path: Path, links: Path, source: Source) -> None:
    memory = Memory("wheels", tmp_path / "memory")
    good, bad = make_wheel(links, "good", {"good.py": ""}), bad_wheel(links, {"../x": ""})
    for package in (good, bad):
        lay_down_quietly(package, tmp_path, source)
    require_safe([good], "3.13", TAGS, source, memory)
    assert len(list((tmp_path / "memory/memory/wheels").iterdir())) == 1
    shutil.rmtree(links)  # nobody needs it again
    links.mkdir()
    require_safe([good], "3.13", TAGS, source, memory)
    # What cannot be looked at is not remembered as good.
    require_safe([bad], "3.13", TAGS, source, memory)
    bad_wheel(links, {"../x": ""})
    with pytest.raises(LockError):
        require_safe([bad], "3.13", TAGS, source, memory)


def lay_down_quietly(package: LockedPackage, folder: Path, source: Source) -> None:
    """So that uv knows the wheel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("packager.laying.environment.require_safe", lambda *_: None)
        lay_down(recipe(package), folder / package.name, source)


def test_another_wheel_of_the_same_name_is_looked_at(tmp_path: Path, links: Path, source: Source) -> None:
    lay_down(recipe(bad_wheel(links, {})), tmp_path / "first", source)
    with pytest.raises(LockError, match="leaves the folder"):
        lay_down(recipe(bad_wheel(links, {"../x": ""})), tmp_path / "second", source)


def test_offline_it_is_looked_at_where_it_lies_here(tmp_path: Path, links: Path, source: Source) -> None:
    package = bad_wheel(links, {"../x": ""})
    lay_down_quietly(package, tmp_path, source)
    with pytest.raises(LockError, match="leaves the folder"):
        lay_down(recipe(package), tmp_path / "env", msgspec.structs.replace(source, offline=True))


def test_a_name_twice() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("a.py", "good")
        archive.writestr("a.py", "evil")
    found = look_at(stream)
    assert found is not None
    assert found.message == "holds 'a.py' twice"


def test_a_name_that_ends_early() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.py#.txt", "x")
    found = look_at(io.BytesIO(stream.getvalue().replace(b"a.py#.txt", b"a.py\0.txt")))
    assert found is not None
    assert "a.py\\x00.txt" in found.message


INFO = "a-1.dist-info"
RECORD = f"a.py,sha256=x,0\n{INFO}/RECORD,,\n"
SOUND = [Member(name="a.py", mode=0o100644), Member(name=f"{INFO}/RECORD"), Member(name="empty/", mode=0o40755)]


@pytest.mark.parametrize("record", [RECORD, RECORD.replace("a.py", "./a.py"), f"{RECORD}empty/,,\n\n", None])
def test_what_is_sound(record: str | None) -> None:
    assert judge(SOUND, record) is None
    assert judge([*SOUND, Member(name=f"{INFO}/RECORD.jws")], record) is None


@pytest.mark.parametrize("mode", [0o10644, 0o20644, 0o60644, 0o140644])
def test_what_is_no_file(mode: int) -> None:
    found = judge([Member(name="pipe", mode=mode)], None)
    assert found is not None
    assert "neither a file nor a folder" in found.message


@given(st.lists(st.text(max_size=12), max_size=4), st.text(max_size=60))
def test_any_names_and_any_record_are_judged(names: list[str], record: str) -> None:
    members = [Member(name=name) for name in names]
    found = judge(members, record)
    unsafe = [name for name in names if name.startswith("/") or ".." in name.split("/") or "\\" in name]
    assert found is not None or not unsafe
