"""What wheels hold, and which of them are looked into when."""

from __future__ import annotations

import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from packager.checks.wheel_contents import WheelContents, _absent
from packager.environments.conda import CondaPackage
from packager.environments.lock import LockedPackage
from packager.environments.locked import LockedCondaHalf, LockedPlatform
from packager.errors import PackagerError
from packager.laying.wheels import Source
from packager.storage.memory import Memory


def wheel(folder: Path, name: str, files: dict[str, str], version: str = "1") -> LockedPackage:
    """Write a wheel; return it as the lock would name it."""
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(each, text)
    return LockedPackage(name=name.replace("_", "-"), version=version, digests=(sha256(path.read_bytes()).hexdigest(),))


@pytest.fixture
def source(tmp_path: Path) -> Source:
    # uv itself, with wheels of a folder in place of an index.
    folder = tmp_path / "wheels"
    folder.mkdir()
    environ = {"UV_FIND_LINKS": str(folder), "PIP_NO_INDEX": "1", "UV_CACHE_DIR": str(tmp_path / "uv"), "PATH": ""}
    return Source(root=str(tmp_path), environ=environ)


def wheels(
    *packages: LockedPackage, from_source: tuple[str, ...] = (), conda: LockedCondaHalf | None = None
) -> LockedPlatform:
    return LockedPlatform(
        target="cpu",
        platform="linux/amd64",
        tags="x86_64-manylinux_2_28",
        python="3.13",
        base="",
        packages=packages,
        from_source=from_source,
        conda=conda,
    )


def test_wheels_are_looked_into_once(tmp_path: Path, source: Source) -> None:
    folder = tmp_path / "wheels"
    one = wheel(folder, "my_one", {"one/__init__.py": "import sys\nsys.modules['one.x'] = 1\n", "one/b.py": ""})
    two = wheel(folder, "two", {"space/two.py": "", "two.py": ""})
    contents = WheelContents(Memory("facts", tmp_path / "memory"), source, tmp_path / "scratch")
    found = contents.fetched(wheels(one, two))
    assert found.has("one.b")
    assert found.is_changing("one.b")
    assert found.is_namespace("space")
    assert found.has("two")
    assert found.unknown == frozenset()
    assert not list((tmp_path / "scratch").iterdir())
    for path in folder.iterdir():
        path.unlink()
    again = WheelContents(Memory("facts", tmp_path / "memory"), source, tmp_path / "scratch").known(wheels(one, two))
    assert again.has("one.b")
    assert again.unknown == frozenset()


def test_what_is_not_here_stays_unknown(tmp_path: Path, source: Source) -> None:
    one = wheel(tmp_path / "wheels", "one", {"one.py": ""})
    gone = LockedPackage(name="gone-away", version="1", digests=("0" * 64,))
    built = LockedPackage(name="built", version="1", digests=("1" * 64,))
    contents = WheelContents(Memory("facts", Path("/dev/null")), source, tmp_path / "scratch")
    brought = CondaPackage(name="of-conda", version="1", build="0", platform="linux/amd64", url="", sha256="")
    half = LockedCondaHalf(packages=(brought,), channels=(), digest="", installer="")
    found = contents.known(wheels(gone, one, built, from_source=("built",), conda=half))
    assert found.has("one")
    assert found.unknown == {"gone-away", "built", "of-conda"}
    assert contents.known(wheels(gone, one), tries=1).unknown == {"gone-away", "one"}
    with pytest.raises(PackagerError, match="gone-away"):
        contents.fetched(wheels(gone))


def test_a_wheel_that_is_not_the_locked_one_is_refused(tmp_path: Path, source: Source) -> None:
    wheel(tmp_path / "wheels", "one", {"one.py": ""})
    other = LockedPackage(name="one", version="1", digests=("0" * 64,))
    contents = WheelContents(Memory("facts", tmp_path / "memory"), source, tmp_path / "scratch")
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
