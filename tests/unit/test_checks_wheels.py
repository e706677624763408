"""The memory of what wheels hold, and which of them are looked into when."""

from __future__ import annotations

import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from packager.checks.facts_memory import FactsMemory
from packager.checks.wheel_contents import WheelContents, Wheels, _absent
from packager.environments.lock import LockedPackage
from packager.errors import PackagerError
from packager.images.oci.wheels import Source


def test_facts_are_remembered(tmp_path: Path) -> None:
    file = tmp_path / "cache" / "facts.sqlite"
    memory = FactsMemory(file)
    assert memory.recall("a") is None
    assert not file.exists()
    memory.remember("a", b"1")
    memory.remember("a", b"2")
    memory.close()
    assert FactsMemory(file).recall("a") == b"2"
    assert FactsMemory(file).recall("b") is None


def test_a_broken_memory_starts_over(tmp_path: Path) -> None:
    file = tmp_path / "facts.sqlite"
    file.write_bytes(b"no database" * 500)
    memory = FactsMemory(file)
    assert memory.recall("a") is None
    memory.remember("a", b"1")
    assert memory.recall("a") == b"1"


def test_a_memory_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for memory in (FactsMemory(tmp_path / "file" / "facts.sqlite"), FactsMemory(None)):
        memory.remember("a", b"1")
        assert memory.recall("a") is None


def wheel(folder: Path, name: str, files: dict[str, str]) -> LockedPackage:
    """Write a wheel; return it as the lock would name it."""
    info = f"{name}-1.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    path = folder / f"{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(each, text)
    return LockedPackage(name=name.replace("_", "-"), version="1", digests=(sha256(path.read_bytes()).hexdigest(),))


@pytest.fixture
def source(tmp_path: Path) -> Source:
    # uv itself, with wheels of a folder in place of an index.
    folder = tmp_path / "wheels"
    folder.mkdir()
    environ = {"UV_FIND_LINKS": str(folder), "PIP_NO_INDEX": "1", "UV_CACHE_DIR": str(tmp_path / "uv"), "PATH": ""}
    return Source(root=str(tmp_path), environ=environ)


def wheels(*packages: LockedPackage, **options: tuple[str, ...]) -> Wheels:
    return Wheels(packages=packages, python="3.13", platform="linux/amd64", tags="x86_64-manylinux_2_28", **options)


def test_wheels_are_looked_into_once(tmp_path: Path, source: Source) -> None:
    folder = tmp_path / "wheels"
    one = wheel(folder, "my_one", {"one/__init__.py": "import sys\nsys.modules['one.x'] = 1\n", "one/b.py": ""})
    two = wheel(folder, "two", {"space/two.py": "", "two.py": ""})
    contents = WheelContents(FactsMemory(tmp_path / "facts.sqlite"), source, tmp_path / "scratch")
    found = contents.fetched(wheels(one, two))
    assert found.has("one.b")
    assert found.is_changing("one.b")
    assert found.is_namespace("space")
    assert found.has("two")
    assert found.unknown == frozenset()
    assert not list((tmp_path / "scratch").iterdir())
    for path in folder.iterdir():
        path.unlink()
    again = WheelContents(FactsMemory(tmp_path / "facts.sqlite"), source, tmp_path / "scratch").known(wheels(one, two))
    assert again.has("one.b")
    assert again.unknown == frozenset()


def test_what_is_not_here_stays_unknown(tmp_path: Path, source: Source) -> None:
    one = wheel(tmp_path / "wheels", "one", {"one.py": ""})
    gone = LockedPackage(name="gone-away", version="1", digests=("0" * 64,))
    built = LockedPackage(name="built", version="1", digests=("1" * 64,))
    contents = WheelContents(FactsMemory(None), source, tmp_path / "scratch")
    found = contents.known(wheels(gone, one, built, from_source=("built",), others=("of-conda",)))
    assert found.has("one")
    assert found.unknown == {"gone-away", "built", "of-conda"}
    assert contents.known(wheels(gone, one), tries=1).unknown == {"gone-away", "one"}
    with pytest.raises(PackagerError, match="gone-away"):
        contents.fetched(wheels(gone))


def test_a_wheel_that_is_not_the_locked_one_is_refused(tmp_path: Path, source: Source) -> None:
    wheel(tmp_path / "wheels", "one", {"one.py": ""})
    other = LockedPackage(name="one", version="1", digests=("0" * 64,))
    contents = WheelContents(FactsMemory(None), source, tmp_path / "scratch")
    with pytest.raises(PackagerError):
        contents.fetched(wheels(other))


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("uv cannot solve offline for Python 3.13 on linux/amd64; not in its cache: docutils", "docutils"),
        ("…; not in its cache: snowballstemmer-3.0.1-py3-none-any.whl", "snowballstemmer"),
        ("…; not in its cache: scikit_learn-1.9.1-cp313-cp313-manylinux_2_28_x86_64.whl", "scikit-learn"),
        ("Because azure-core was not found in the cache and you require azure-core==1.41.0", "azure-core"),
    ],
)
def test_the_package_that_uv_has_not_is_told(message: str, name: str) -> None:
    waiting = {each: LockedPackage(name=each, version="1", digests=()) for each in (name, "another")}
    assert _absent(message, waiting) == [name]
