"""Environments laid down from hand-made wheels in a folder; no index, no network."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.environments.child_processes import Ended
from packager.environments.lock import LockedPackage
from packager.environments.locked import LockedPlatform
from packager.environments.uv import Uv
from packager.errors import LockError, PackagerError, TemporaryError
from packager.laying.cache import cached, environment_folder
from packager.laying.compile import Compiler, find_interpreter, no_interpreter
from packager.laying.environment import LaidDown, lay_down
from packager.laying.recipe import BasePython, Interpreter, Recipe, make_recipe
from packager.laying.records import Record, differing, owners, parse_record, row_of
from packager.laying.venv import console_scripts, script_text
from packager.laying.wheels import Source, explain_unpack

SITE = "lib/python3.13/site-packages"
BASE = BasePython(path="/usr/local/bin/python3", version="3.13")
LINK = 0o120777 << 16


def make_wheel(
    folder: Path,
    name: str,
    files: Mapping[str, str],
    *,
    entry_points: str = "",
    links: Iterable[str] = (),
    unlisted: Iterable[str] = (),
    ghosts: Iterable[str] = (),
    record: Mapping[str, str] | None = None,
) -> LockedPackage:
    """Write a wheel; `record` gives wrong digests for some paths, `ghosts` are in RECORD alone."""
    info = f"{name}-1.dist-info"
    content = dict(files)
    content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n"
    content[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if entry_points:
        content[f"{info}/entry_points.txt"] = entry_points
    rows = []
    for path, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        if path not in unlisted:
            rows.append(f"{path},sha256={(record or {}).get(path, digest)},{len(text.encode())}\n")
    rows += [f"{path},sha256={'A' * 43},1\n" for path in ghosts]
    content[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"])
    wheel = folder / f"{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = LINK if path in links else (0o100755 if "/scripts/" in path else 0o100644) << 16
            archive.writestr(entry, text)
    return LockedPackage(name=name, version="1", digests=(hashlib.sha256(wheel.read_bytes()).hexdigest(),))


@pytest.fixture
def links(tmp_path: Path) -> Path:
    folder = tmp_path / "links"
    folder.mkdir()
    return folder


@pytest.fixture
def source(tmp_path: Path, links: Path) -> Source:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    environ |= {"UV_FIND_LINKS": str(links), "UV_NO_INDEX": "1", "UV_CACHE_DIR": str(tmp_path / "uv")}
    return Source.of(tmp_path, environ)


def recipe(*packages: LockedPackage, compiler: str = "") -> Recipe:
    return Recipe(locked=locked_platform(*packages), base=BASE, compiler=compiler)


def locked_platform(
    *packages: LockedPackage, python: str = "3.13", from_source: tuple[str, ...] = ()
) -> LockedPlatform:
    return LockedPlatform(
        target="cpu",
        platform="linux/arm64",
        tags="aarch64-manylinux_2_28",
        python=python,
        base="",
        packages=packages,
        from_source=from_source,
    )


def snapshot(folder: Path) -> dict[str, str]:
    """What a layer gets: path → link target, or executable bit and content."""
    found = {}
    for top, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(top, name)
            key = str(path.relative_to(folder))
            if path.is_symlink():
                found[key] = f"-> {os.readlink(path)}"
            elif path.is_file():
                found[key] = f"{bool(path.stat().st_mode & stat.S_IXUSR)} {path.read_bytes()!r}"
            else:
                found[key] = "folder"
    return found


TOOL = {
    "tool/__init__.py": "def main(): print('hello')\n",
    "tool/__pycache__/__init__.cpython-313.pyc": "stale",
    "tool-1.data/scripts/old-style": "#!python -E\nprint(1)\n",
    "tool-1.data/scripts/shell": "#!/bin/sh\necho\n",
    "tool-1.data/data/share/tool/page.txt": "page",
    "tool-1.data/headers/tool.h": "int x;",
    "tool-1.data/platlib/plat.py": "",
}
ENTRY = "[console_scripts]\ntool = tool:main\n\n[gui_scripts]\nTool.GUI = tool:main.attribute [extra]\n[other]\nx = y\n"


def test_it_is_a_virtual_environment_for_the_image(tmp_path: Path, links: Path, source: Source) -> None:
    laid = lay_down(recipe(make_wheel(links, "tool", TOOL, entry_points=ENTRY)), tmp_path / "env", source)
    found = snapshot(tmp_path / "env")
    assert found["lib64"] == "-> lib"
    assert found["bin/python3"] == "-> /usr/local/bin/python3"
    assert found["bin/python"] == found["bin/python3.13"] == "-> python3"
    config = (tmp_path / "env/pyvenv.cfg").read_text()
    assert config == "home = /usr/local/bin\ninclude-system-site-packages = false\nversion = 3.13\n"
    assert (tmp_path / "env/bin/tool").read_text() == script_text("tool:main")
    assert (tmp_path / "env/bin/Tool.GUI").read_text().endswith("sys.exit(main.attribute())\n")
    assert (tmp_path / "env/bin/old-style").read_text() == "#!/opt/env/bin/python\nprint(1)\n"
    assert (tmp_path / "env/bin/shell").read_text() == "#!/bin/sh\necho\n"
    assert all(found[f"bin/{name}"].startswith("True") for name in ("tool", "Tool.GUI", "old-style", "shell"))
    assert "share/tool/page.txt" in found
    assert "include/site/python3.13/tool/tool.h" in found
    assert f"{SITE}/plat.py" in found
    assert sorted({path.split("/")[0] for path in found}) == ["bin", "include", "lib", "lib64", "pyvenv.cfg", "share"]
    assert [path for path in found if path.startswith("lib/") and path.count("/") == 1] == ["lib/python3.13"]
    assert not [path for path in found if "__pycache__" in path or path.endswith((".lock", "requirements.txt"))]
    everything = "".join(found.values())
    assert str(tmp_path) not in everything
    assert "packager-staging" not in everything
    assert laid.files == sum(not value.startswith(("->", "folder")) for value in found.values())


def test_records_name_what_is_there(tmp_path: Path, links: Path, source: Source) -> None:
    lay_down(recipe(make_wheel(links, "tool", TOOL, entry_points=ENTRY)), tmp_path / "env", source)
    info = tmp_path / "env" / SITE / "tool-1.dist-info"
    assert sorted(path.name for path in info.iterdir()) == [
        "INSTALLER",
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
    ]
    rows = list(csv.reader((info / "RECORD").read_text().splitlines()))
    for path, digest, size in rows:
        file = tmp_path / "env" / SITE / path
        assert file.is_file()
        if digest:
            data = file.read_bytes()
            assert int(size) == len(data)
            assert digest == "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    files = {str(path) for path in (tmp_path / "env").rglob("*") if path.is_file() and not path.is_symlink()}
    recorded = {os.path.normpath(tmp_path / "env" / SITE / path) for path, _, _ in rows}
    linked = {str(tmp_path / "env/bin" / name) for name in ("python", "python3", "python3.13")}
    assert {path for path in files if "/lib64/" not in path} - linked - recorded == {str(tmp_path / "env/pyvenv.cfg")}


def test_nothing_of_a_package_is_run(tmp_path: Path, links: Path, source: Source) -> None:
    hook = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
    package = make_wheel(links, "hooked", {"hooked.pth": hook, "hooked/__init__.py": hook, "sitecustomize.py": hook})
    lay_down(recipe(package), tmp_path / "env", source)
    assert not (tmp_path / "ran").exists()


def test_the_same_bytes_whatever_the_machine_is_like(tmp_path: Path, links: Path, source: Source) -> None:
    package = make_wheel(links, "tool", TOOL, entry_points=ENTRY)
    lay_down(recipe(package), tmp_path / "one", source)
    far = tmp_path / ("a long path with spaces " * 6)
    far.mkdir()
    other = msgspec.structs.replace(
        source,
        environ=source.environ
        | {"UV_CACHE_DIR": str(far / "uv"), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "UV_COMPILE_BYTECODE": "1"},
    )
    before = os.umask(0o077)
    try:
        lay_down(recipe(package), far / "two", other)
    finally:
        os.umask(before)
    assert snapshot(tmp_path / "one") == snapshot(far / "two")


# --- hostile wheels ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "entry_points", "says"),
    [
        ({"bad/a.py": ""}, "[console_scripts]\n../../escaped = bad:f\n", "bad==1"),
        ({"bad/a.py": ""}, "[console_scripts]\npython = bad:f\n", "bad==1"),
        ({"bad/a.py": ""}, "[console_scripts]\nrun = bad:f;import os\n", "bad==1"),
        ({"bad-1.data/scripts/python3": "#!python\n"}, "", "bad==1"),
        ({"bad-1.data/data/bin/python3": "#!/bin/sh\n"}, "", "python3"),
        ({"bad-1.data/data/pyvenv.cfg": "home = /tmp\n"}, "", "pyvenv.cfg"),
        ({"bad-1.data/data/lib/python3.13/os.py": ""}, "", "lib/python3.13/os.py"),
        ({"bad-1.data/unknown/x": ""}, "", "bad==1"),
        ({"bad/..\\..\\win.txt": ""}, "", "not inside the environment"),
    ],
)
def test_what_a_wheel_may_not_bring(
    tmp_path: Path, links: Path, source: Source, files: dict[str, str], entry_points: str, says: str
) -> None:
    package = make_wheel(links, "bad", files, entry_points=entry_points)
    with pytest.raises(LockError) as caught:
        lay_down(recipe(package), tmp_path / "env", source)
    assert says in str(caught.value)
    assert str(tmp_path) not in caught.value.message
    assert not (tmp_path / "env").exists()
    assert not list(tmp_path.glob(".laying-*"))
    assert not list(tmp_path.rglob("escaped"))


def test_nothing_leaves_the_folder(
    tmp_path: Path, links: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a wheel that cannot be looked at, uv leaves out what would: what is left is harmless, no link is made."""
    monkeypatch.setattr("packager.laying.environment.require_safe", lambda *_: None)
    absolute = str(tmp_path / "absolute.txt")
    files = {"odd.py": "", "../../../../escaped.txt": "x", absolute: "x", "link": "/etc/passwd"}
    lay_down(recipe(make_wheel(links, "odd", files, links=["link"])), tmp_path / "env", source)
    assert not list(tmp_path.rglob("escaped.txt"))
    assert not list(tmp_path.rglob("absolute.txt"))
    made = {path for path, value in snapshot(tmp_path / "env").items() if value.startswith("->")}
    assert made == {"lib64", "bin/python", "bin/python3", "bin/python3.13"}


def test_a_link_in_the_way_of_a_folder(tmp_path: Path, links: Path, source: Source) -> None:
    package = make_wheel(links, "bad", {"d": str(tmp_path), "d/through.txt": "x"}, links=["d"])
    with pytest.raises(LockError, match="bad"):
        lay_down(recipe(package), tmp_path / "env", source)
    assert not list(tmp_path.rglob("through.txt"))


def test_a_wheel_that_is_not_the_locked_one(tmp_path: Path, links: Path, source: Source) -> None:
    package = msgspec.structs.replace(make_wheel(links, "tool", TOOL), digests=("0" * 64,))
    with pytest.raises(LockError, match=r"tool==1 is not the file that was locked"):
        lay_down(recipe(package), tmp_path / "env", source)


def test_what_uv_has_is_taken_without_asking_the_index(
    tmp_path: Path, links: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    run = Uv.run

    def counting(uv: Uv, words: list[str], **options: Any) -> Ended:
        if "install" in words:  # not what asks uv where the wheels are
            asked.append("--offline" not in words)
        return run(uv, words, **options)

    monkeypatch.setattr(Uv, "run", counting)
    one, two = make_wheel(links, "tool", TOOL), make_wheel(links, "other", {"other.py": ""})
    lay_down(recipe(one), tmp_path / "one", source)
    asked.clear()
    first = lay_down(recipe(one), tmp_path / "two", source)
    assert asked == [False]
    asked.clear()
    lay_down(recipe(one, two), tmp_path / "three", source)
    assert asked in ([False], [False, True]), "find-links of a folder may do without the index"
    assert snapshot(Path(first.folder)) == snapshot(tmp_path / "one")


def test_an_edited_cache_of_uv_does_not_reach_the_image(tmp_path: Path, links: Path, source: Source) -> None:
    package = make_wheel(links, "tool", TOOL)
    lay_down(recipe(package), tmp_path / "one", source)
    module = tmp_path / "one" / SITE / "tool/__init__.py"
    good = module.read_bytes()
    assert module.stat().st_nlink > 1
    with module.open("ab") as stream:  # in place: uv's cache is the same file
        stream.write(b"evil()\n")
    lay_down(recipe(package), tmp_path / "two", source)
    assert (tmp_path / "two" / SITE / "tool/__init__.py").read_bytes() == good
    with pytest.raises(LockError, match="cache of tool was changed"):
        lay_down(recipe(package), tmp_path / "three", msgspec.structs.replace(source, offline=True))


def test_another_build_that_links_the_same_files(tmp_path: Path) -> None:
    file = tmp_path / "big"
    file.write_bytes(bytes(1 << 22))
    row = row_of("big", file.read_bytes())
    owned = {"big": (Record(info="x-1.dist-info", rows=(row,)), row)}
    stop = threading.Event()

    def links_come_and_go() -> None:
        while not stop.is_set():
            os.link(file, tmp_path / "other")  # changes the ctime of the file
            os.unlink(tmp_path / "other")

    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(links_come_and_go)
        found = [differing(tmp_path, owned) for _ in range(20)]
        stop.set()
        going.result()
    assert set(found) == {()}


@pytest.mark.parametrize("what", ["nothing", "a folder", "a link", "other bytes"])
def test_what_is_not_the_recorded_file(tmp_path: Path, what: str) -> None:
    place, row = tmp_path / "a.py", row_of("a.py", b"content")
    if what == "a folder":
        place.mkdir()
    elif what == "a link":
        (tmp_path / "b.py").write_bytes(b"content")
        place.symlink_to("b.py")
    elif what == "other bytes":
        place.write_bytes(b"contents")
    assert differing(tmp_path, {"a.py": (Record(info="x-1.dist-info", rows=(row,)), row)}) == ("a.py",)


def test_a_wheel_with_a_wrong_record_is_taken_as_it_is(tmp_path: Path, links: Path, source: Source) -> None:
    wrong = {"tool/__init__.py": base64.urlsafe_b64encode(b"0" * 32).rstrip(b"=").decode()}
    lay_down(recipe(make_wheel(links, "tool", TOOL, record=wrong)), tmp_path / "env", source)
    record = (tmp_path / "env" / SITE / "tool-1.dist-info/RECORD").read_text()
    assert wrong["tool/__init__.py"] not in record


def test_of_two_packages_with_one_file_the_last_by_name_wins(tmp_path: Path, links: Path, source: Source) -> None:
    packages = [make_wheel(links, name, {"shared/__init__.py": f"# {name}\n"}) for name in ("aaa", "mmm", "zzz")]
    for number in range(4):
        laid = lay_down(recipe(*packages), tmp_path / f"env{number}", source)
        assert (tmp_path / f"env{number}" / SITE / "shared/__init__.py").read_text() == "# zzz\n"
        path = f"{SITE}/shared/__init__.py"
        assert laid.warnings == tuple(
            f"{first} 1 and {last} 1 both bring {path}, with different content: that of {last} 1 is taken"
            for first, last in (("aaa", "mmm"), ("mmm", "zzz"))
        )


def test_packages_with_the_same_file_are_nothing_to_say(tmp_path: Path, links: Path, source: Source) -> None:
    packages = [make_wheel(links, name, {"shared/__init__.py": "\n", f"shared/{name}.py": ""}) for name in ("a", "b")]
    assert lay_down(recipe(*packages), tmp_path / "env", source).warnings == ()


def test_the_warnings_of_a_kept_environment_are_said_again(tmp_path: Path, links: Path, source: Source) -> None:
    both = recipe(*(make_wheel(links, name, {"x.py": name, "y.py": name}) for name in ("a", "b")))
    first, second = (cached(both, tmp_path / "cache", source) for _ in range(2))
    assert second.reused
    assert second.warnings == first.warnings
    assert "x.py and 1 more of the same names" in first.warnings[0]


# --- errors of uv -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stderr", "kind", "says"),
    [
        (
            "error: Request failed after 3 retries\n  cause: Failed to fetch: http://u:secret@h/simple/x/\n"
            "  cause: tcp connect error",
            TemporaryError,
            "does not answer",
        ),
        ("error: Failed to download `x==1`\n cause: Hash mismatch for `x==1`\n http://u:secret@h/", LockError, "x==1"),
        (
            "No solution found: Because only x==1 is available and Wheels are required for `x`: secret@h",
            LockError,
            "not a wheel",
        ),
        ("error: 401 Unauthorized http://u:secret@h/simple", LockError, "credentials"),
        ("error: No space left on device (os error 28)", PackagerError, "disk is full"),
        ("error: Failed to install: x-1-py3-none-any.whl (x==1)\n cause: The wheel is invalid", LockError, "x==1"),
    ],
)
def test_errors_of_uv(stderr: str, kind: type[PackagerError], says: str) -> None:
    error = explain_unpack(stderr, platform="linux/amd64", python="3.13")
    assert type(error) is kind
    assert says in str(error)
    assert "u:secret@" not in str(error)


def test_no_index_answers(tmp_path: Path, source: Source) -> None:
    environ = {name: value for name, value in source.environ.items() if not name.startswith("UV_")}
    environ |= {"UV_DEFAULT_INDEX": "http://alice:s3cret@127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}
    unreachable = msgspec.structs.replace(source, environ=environ | {"UV_CACHE_DIR": str(tmp_path / "uv")})
    package = LockedPackage(name="click", version="8.0.0", digests=("0" * 64,))
    with pytest.raises(TemporaryError) as caught:
        lay_down(recipe(package), tmp_path / "env", unreachable)
    assert "s3cret" not in str(caught.value)


def test_what_has_to_be_built_needs_an_engine() -> None:
    with pytest.raises(LockError, match="--builder engine"):
        make_recipe(locked_platform(from_source=("slow",)), BASE)


def test_the_base_must_have_the_locked_python() -> None:
    with pytest.raises(LockError, match=r"base has Python 3\.13"):
        make_recipe(locked_platform(python="3.12"), BASE)


# --- pure parts -------------------------------------------------------------------------------------------------------


@given(st.text(max_size=300))
def test_any_entry_points_are_scripts_or_an_error(text: str) -> None:
    assert set(console_scripts("[console_scripts]\na = b:c\n", "x 1")) == {"a"}
    try:
        scripts = console_scripts(f"[console_scripts]\n{text}", "x 1")
    except LockError:
        return
    for name, reference in scripts.items():
        assert "/" not in name
        assert not name.startswith(".")
        compile(script_text(reference), name, "exec", dont_inherit=True)


@given(st.text(max_size=200))
def test_any_record_is_inside_or_an_error(text: str) -> None:
    try:
        record = parse_record(text, "x-1.dist-info", SITE)
    except LockError:
        return
    for row in record.rows:
        assert not row.path.startswith(("/", "../"))


@given(st.text("abc/_.-", min_size=1, max_size=20).filter(lambda text: ".." not in text and text[0] != "/"))
def test_a_record_of_plain_names_is_read(text: str) -> None:
    (row,) = parse_record(f"{text},sha256=,3\n", "x-1.dist-info", SITE).rows
    assert row.path.startswith(f"{SITE}/") or row.path == SITE
    assert row.size == "3"


# --- compiling --------------------------------------------------------------------------------------------------------


VERSION = ".".join(map(str, sys.version_info[:3]))
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
ONE = {"tool/__init__.py": "a = 1\n"}


class Asked:
    """Gives this very interpreter, and counts how often it was asked for."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, prefix: Path) -> Interpreter:
        self.times += 1
        return Interpreter(command=(sys.executable,))


def compiled_recipe(*packages: LockedPackage) -> Recipe:
    base = BasePython(path="/usr/bin/python3", version=MINOR)
    return msgspec.structs.replace(recipe(*packages, compiler=VERSION), base=base)


def test_compiled_files_name_their_place_in_the_image(tmp_path: Path, links: Path, source: Source) -> None:
    package = make_wheel(links, "tool", ONE | {"tool/broken.py": "def (:\n", "tool/tests/test_it.py": "a = 1\n"})
    for name in ("one", "two"):
        compiler = Compiler(Asked(), tmp_path / f"cache-{name}")
        lay_down(compiled_recipe(package), tmp_path / name, source, compiler)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")
    (compiled,) = (tmp_path / "one").rglob("*.pyc")
    assert compiled.parent == tmp_path / "one" / f"lib/python{MINOR}/site-packages/tool/__pycache__"
    data = compiled.read_bytes()
    assert data[4:8] == b"\x01\0\0\0"  # PEP 552: by hash, not checked
    assert f"/opt/env/lib/python{MINOR}/site-packages/tool/__init__.py".encode() in data
    assert str(tmp_path).encode() not in data


def test_a_wheel_is_compiled_once_on_a_machine(tmp_path: Path, links: Path, source: Source) -> None:
    tool, other = make_wheel(links, "tool", ONE), make_wheel(links, "other", {"other/__init__.py": "b = 2\n"})
    asked = Asked()
    compiler = Compiler(asked, tmp_path / "cache")
    lay_down(compiled_recipe(tool), tmp_path / "one", source, compiler)
    lay_down(compiled_recipe(tool), tmp_path / "two", source, compiler)
    assert asked.times == 1
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")
    (first,), (second,) = ((tmp_path / name).rglob("*.pyc") for name in ("one", "two"))
    assert first.samefile(second)
    lay_down(compiled_recipe(tool, other), tmp_path / "three", source, compiler)
    assert asked.times == 2
    assert len(list((tmp_path / "three").rglob("*.pyc"))) == 2
    lay_down(compiled_recipe(other), tmp_path / "four", source, compiler)
    assert asked.times == 2


@pytest.mark.parametrize("damage", ["edited", "removed", "forgotten"])
def test_a_compiled_file_that_somebody_changed_is_compiled_again(
    damage: str, tmp_path: Path, links: Path, source: Source
) -> None:
    package, asked = make_wheel(links, "tool", ONE), Asked()
    compiler = Compiler(asked, tmp_path / "cache")
    lay_down(compiled_recipe(package), tmp_path / "one", source, compiler)
    before = snapshot(tmp_path / "one")
    (compiled,) = (tmp_path / "cache/bytecode").rglob("*.pyc")
    if damage == "edited":
        compiled.write_bytes(compiled.read_bytes()[:-1] + b"x")
    elif damage == "removed":
        compiled.unlink()
    else:
        shutil.rmtree(tmp_path / "cache/content/memory")
    for name in ("two", "three"):
        lay_down(compiled_recipe(package), tmp_path / name, source, compiler)
        assert snapshot(tmp_path / name) == before
    assert asked.times == 2


def test_a_compiler_that_fails_says_so(tmp_path: Path, links: Path, source: Source) -> None:
    package = make_wheel(links, "tool", ONE)
    compiler = Compiler(lambda prefix: Interpreter(command=("/bin/false",)), tmp_path / "cache")
    with pytest.raises(LockError, match=r"byte-compilation failed:\nexit code 1"):
        lay_down(compiled_recipe(package), tmp_path / "one", source, compiler)
    assert not (tmp_path / "one").exists()


def test_no_interpreter_of_that_version() -> None:
    environ = {"PATH": "/nonexistent", "HOME": "/nonexistent", "UV_PYTHON_INSTALL_DIR": "/nonexistent"}
    assert find_interpreter("3.99.1", environ) is None
    assert "`compile: false`" in str(no_interpreter("3.99.1", "the image is for linux/arm64").remedy)


def test_an_interpreter_is_of_the_very_version() -> None:
    environ = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert find_interpreter(VERSION, environ) is not None
    major, minor, patch = VERSION.split(".")
    assert find_interpreter(f"{major}.{minor}.{int(patch) + 1}", environ) is None


def test_the_compiler_is_part_of_the_key() -> None:
    package = LockedPackage(name="x", version="1", digests=("0" * 64,))
    keys = {recipe(package, compiler=version).key for version in ("", "3.13.0", "3.13.5")}
    assert len(keys) == 3


# --- the cache --------------------------------------------------------------------------------------------------------


def test_the_same_recipe_is_laid_down_once(tmp_path: Path, links: Path, source: Source) -> None:
    wanted = recipe(make_wheel(links, "tool", TOOL))
    first = cached(wanted, tmp_path / "cache", source)
    again = cached(wanted, tmp_path / "cache", source)
    assert not first.reused
    assert again == msgspec.structs.replace(first, reused=True)
    assert first.folder == str(environment_folder(tmp_path / "cache", wanted.key))


@pytest.mark.parametrize("damage", ["edit", "add", "remove", "note"])
def test_a_changed_one_is_laid_down_anew(tmp_path: Path, links: Path, source: Source, damage: str) -> None:
    wanted = recipe(make_wheel(links, "tool", TOOL))
    folder = Path(cached(wanted, tmp_path / "cache", source).folder)
    good = snapshot(folder)
    module = folder / SITE / "tool/__init__.py"
    if damage == "edit":
        with module.open("ab") as stream:
            stream.write(b"evil()\n")
    elif damage == "add":
        module.with_name("more.py").touch()
    elif damage == "remove":
        module.unlink()
    else:
        folder.with_suffix(".json").write_text("{")
    assert not cached(wanted, tmp_path / "cache", source).reused
    assert snapshot(folder) == good


def test_two_processes_want_the_same(tmp_path: Path, links: Path, source: Source) -> None:
    wanted = recipe(make_wheel(links, "tool", TOOL))
    (tmp_path / "recipe.json").write_bytes(msgspec.json.encode((wanted, source)))
    code = (
        "import sys, msgspec; from pathlib import Path\n"
        "from packager.laying.recipe import Recipe\n"
        "from packager.laying.cache import cached\n"
        "from packager.laying.wheels import Source\n"
        "root = Path(sys.argv[1])\n"
        "recipe, source = msgspec.json.decode((root / 'recipe.json').read_bytes(), type=tuple[Recipe, Source])\n"
        "sys.stdout.write(msgspec.json.encode(cached(recipe, root / 'cache', source)).decode())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate()[0] for process in running]
    laid = [msgspec.json.decode(text, type=LaidDown) for text in said]
    assert sorted(each.reused for each in laid) == [False, True, True]
    assert not list((tmp_path / "cache/environments").glob(".laying-*"))


def test_an_interrupted_run_leaves_nothing_that_counts(
    tmp_path: Path, links: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = recipe(make_wheel(links, "tool", TOOL))

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("packager.laying.environment.arrange", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cached(wanted, tmp_path / "cache", source)
    assert [path.suffix for path in (tmp_path / "cache/environments").iterdir()] == [".lock"]
    assert not cached(wanted, tmp_path / "cache", source).reused


def test_of_packages_that_hold_one_path_the_last_by_name_owns_it() -> None:
    records = [parse_record("shared.py,sha256=,1\n", f"{name}-1.dist-info", SITE) for name in "abc"]
    for order in permutations(records):
        assert owners(order)[f"{SITE}/shared.py"][0].info == "c-1.dist-info"


@pytest.mark.parametrize(
    "path", ["../../../../etc/passwd", "../../../..", "../../../../../x", "/etc/passwd", "a\\..\\b", "a\x07"]
)
def test_a_record_that_leaves_the_environment_is_refused(path: str) -> None:
    with pytest.raises(LockError, match="not inside the environment"):
        parse_record(f"{path},,\n", "x-1.dist-info", SITE)


def test_a_record_may_name_what_is_beside_site_packages() -> None:
    record = parse_record("../../../bin/tool,,\n", "x-1.dist-info", SITE)
    assert [row.path for row in record.rows] == ["bin/tool"]
