"""The interpreter of a base image: which version it is, what it is taken out of layers with, and that it runs here."""

from __future__ import annotations

import gzip
import io
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

from packager.errors import ContextError
from packager.laying.base_files import BaseFiles, FileBlob, exact_version, find_python, merge_layers, read_layer
from packager.laying.compile import version_of
from packager.laying.interpreters import base_interpreter
from packager.laying.recipe import BasePython, Interpreter

PYTHON = BasePython(path="/usr/local/bin/python3", version="3.13")
KEY = "0123456789abcdef" * 4
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


def held(version: str) -> bytes:
    """What a program or library that holds an interpreter of a version has in it."""
    return b"\x7fELF\0" + version.encode() + b"\0" + version.rpartition(".")[0].encode() + b"\0"


BINARY = held("3.13.5")
#: An interpreter as official images have it: the program is small, and the library tells the version.
BASE: dict[str, bytes | str] = {
    "bin": "usr/bin",
    "lib": "usr/lib",
    "usr/local/bin/python3": "python3.13",
    "usr/local/bin/python3.13": b"program",
    "usr/local/lib/libpython3.13.so.1.0": BINARY,
    "usr/local/lib/python3.13/os.py": b"os",
    "usr/local/lib/python3.13/lib-dynload/_codecs_jp.so": b"module",
    "usr/local/lib/python3.13/site-packages/pip/x.py": b"not needed",
    "usr/local/lib/python3.13/test/test_os.py": b"not needed",
    "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": b"loader",
    "usr/lib/x86_64-linux-gnu/libc.so.6": b"libc",
    "usr/lib/x86_64-linux-gnu/libz.so.1": "libz.so.1.3",
    "usr/lib/x86_64-linux-gnu/libz.so.1.3": b"libz",
    "usr/lib/x86_64-linux-gnu/libcudart.so.12": b"not needed",
    "usr/lib64/ld-linux-x86-64.so.2": "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
}


def layer(path: Path, files: dict[str, bytes | str], links: dict[str, str] | None = None) -> FileBlob:
    """A compressed layer: contents, symbolic links (text), hard links."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.mtime, member.mode = 1_700_000_000, 0o755
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.LNKTYPE, target
            archive.addfile(member)
    return FileBlob(digest=f"sha256:{path.name}", path=str(path))


def files_of(*layers: FileBlob) -> BaseFiles:
    return merge_layers(read_layer(io.BytesIO(Path(each.path).read_bytes())) for each in layers)


def taken(interpreter: Interpreter | None) -> dict[str, bytes]:
    assert interpreter is not None
    folder = Path(interpreter.variables["PYTHONHOME"])
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- its version ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "version"),
    [
        ({}, "3.13.5"),
        ({"usr/local/bin/python3.13": held("3.13.7")}, "3.13.7"),
        ({"usr/local/lib/libpython3.13.so.1.0": held("3.13.0rc2")}, "3.13.0rc2"),
        ({"usr/local/lib/libpython3.13.so.1.0": held("3.13.5+")}, "3.13.5"),
        ({"usr/local/lib/libpython3.13.so.1.0": b"\0/opt/python-3.13.8\0"}, "3.13.8"),
        # Of another library, of two, of none.
        ({"usr/local/lib/libpython3.13.so.1.0": held("3.12.1")}, ""),
        ({"usr/local/lib/libpython3.13.so.1.0": held("3.13.1") + held("3.13.2")}, ""),
        ({"usr/local/lib/libpython3.13.so.1.0": b"nothing"}, ""),
        # The program of Debian, to which a link of a base leads.
        (
            {"usr/local/bin/python3": "/usr/bin/python3.13", "usr/bin/python3.13": held("3.13.4")},
            "3.13.4",
        ),
    ],
)
def test_the_version_is_read_from_the_files(changes: dict[str, bytes | str], version: str, tmp_path: Path) -> None:
    assert exact_version(files_of(layer(tmp_path / "one", BASE | changes)), PYTHON) == version


def test_a_layer_above_brings_another_version(tmp_path: Path) -> None:
    lower = layer(tmp_path / "one", BASE)
    upper = layer(tmp_path / "two", {"usr/local/lib/libpython3.13.so.1.0": held("3.13.6")})
    assert exact_version(files_of(lower, upper), PYTHON) == "3.13.6"


# --- taken out of layers ----------------------------------------------------------------------------------------------


def test_what_the_interpreter_needs_is_taken_and_nothing_else(tmp_path: Path) -> None:
    own = layer(tmp_path / "one", BASE)
    found = base_interpreter(files_of(own), [own], PYTHON, KEY, tmp_path)
    assert taken(found) == {
        "loader": b"loader",
        "bin/python3.13": b"program",
        "lib/ld-linux-x86-64.so.2": b"loader",
        "lib/libc.so.6": b"libc",
        "lib/libz.so.1": b"libz",
        "lib/libz.so.1.3": b"libz",
        "lib/libpython3.13.so.1.0": BINARY,
        "lib/python3.13/os.py": b"os",
        "lib/python3.13/lib-dynload/_codecs_jp.so": b"module",
    }
    assert found is not None
    folder = Path(found.variables["PYTHONHOME"])
    assert found.command == (f"{folder}/loader", "--library-path", f"{folder}/lib", f"{folder}/bin/python3.13")
    # By its time Python tells whether a compiled file is of its source.
    assert (folder / "lib/python3.13/os.py").stat().st_mtime == 1_700_000_000


def test_layers_above_take_the_place_of_those_below_and_hard_links_are_followed(tmp_path: Path) -> None:
    lower = layer(tmp_path / "one", BASE)
    upper = layer(
        tmp_path / "two",
        {"usr/local/bin/python-real": b"newer", "usr/local/lib/python3.13/os.py": b"newer os"},
        {"usr/local/bin/python3.13": "usr/local/bin/python-real"},
    )
    found = taken(base_interpreter(files_of(lower, upper), [lower, upper], PYTHON, KEY, tmp_path))
    assert (found["bin/python3.13"], found["lib/python3.13/os.py"]) == (b"newer", b"newer os")


def test_a_base_without_a_loader_has_no_interpreter_that_runs(tmp_path: Path) -> None:
    own = layer(tmp_path / "one", {name: data for name, data in BASE.items() if "ld-linux" not in name})
    assert base_interpreter(files_of(own), [own], PYTHON, KEY, tmp_path) is None


def test_a_damaged_layer_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    own = layer(tmp_path / "one", BASE)
    files = files_of(own)
    data = gzip.decompress((tmp_path / "one").read_bytes())
    (tmp_path / "one").write_bytes(gzip.compress(data)[:-20])
    with pytest.raises(ContextError, match="cannot be read"):
        base_interpreter(files, [own], PYTHON, KEY, tmp_path)
    assert list((tmp_path / "interpreters").iterdir()) == []


# --- and runs ---------------------------------------------------------------------------------------------------------


def of_this_machine() -> dict[str, bytes | str]:
    """This machine's Python as the files of a base."""
    program = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    libraries = {Path(path) for path in re.findall(r"(/\S+)", said)}
    found: dict[str, bytes | str] = {
        "usr/local/bin/python3": f"python{MINOR}",
        f"usr/local/bin/python{MINOR}": Path(program).read_bytes(),
    }
    for path in libraries:
        folder = "usr/lib64" if path.name.startswith("ld-") else "usr/local/lib" if "python" in path.name else "usr/lib"
        found[f"{folder}/{path.name}"] = path.read_bytes()
    library = Path(sysconfig.get_path("stdlib"))
    for path in library.rglob("*"):
        below = path.relative_to(library)
        if path.suffix in (".py", ".so") and {"site-packages", "dist-packages", "test"}.isdisjoint(below.parts):
            found[f"usr/local/lib/python{MINOR}/{below}"] = path.read_bytes()
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the loader is Linux's")
def test_the_interpreter_of_a_base_runs_here(tmp_path: Path) -> None:
    own = layer(tmp_path / "one", of_this_machine())
    files = files_of(own)
    python = find_python(files)
    assert python is not None
    assert python.version == MINOR
    version = ".".join(map(str, sys.version_info[:3]))
    assert exact_version(files, python) == version
    found = base_interpreter(files, [own], python, KEY, tmp_path)
    assert found is not None
    assert version_of(found) == version
    # A second time it is there.
    assert base_interpreter(files, [], python, KEY, tmp_path) == found
