"""The program that byte-compiles: what it takes together and leaves out, and on what its bytes depend."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from packager.laying.compile import OPTIONS
from packager.programs.stage.compile import TOGETHER, compiled_path, cut, groups
from packager.resources import program

# Names and strings that one file has as identifiers and another as constants, sets and nested tuples of them.
_SOURCES = (
    "def alpha(beta: int = 3) -> str:\n    return 'gamma' if beta in {'delta', 'alpha', 'x y'} else 'beta'\n",
    "class gamma:\n    delta = ('alpha', ('beta', 'gamma'), frozenset(('x y',)))\n    x = {'alpha', 'beta'}\n",
    "import alpha.gamma as delta\nprint(delta in ('beta', 'alpha'), 'x y', b'alpha', 1.5, 1j)\n",
)


def tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def compiled(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.pyc")}


def run(
    *words: str | Path, given: bytes = b"", options: tuple[str, ...] = OPTIONS
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, *options, str(program("stage/compile.py")), *map(str, words)]
    environ = {"PYTHONHASHSEED": "0", "PATH": os.defpath}
    return subprocess.run(command, input=given, env=environ, capture_output=True, check=False, timeout=60)


def record(*paths: str) -> str:
    return "".join(f"{path},sha256=x,1\n" for path in paths)


def test_files_are_taken_together_by_whose_they_are(tmp_path: Path) -> None:
    site = tree(
        tmp_path / "site-packages",
        {
            "a/__init__.py": "", "a/b.py": "", "shared/of_a.py": "", "shared/of_c.py": "",
            "both.py": "", "nobody/x.py": "",
            "a, b/x.py": "", "single.py": "", "data.txt": "", "a/__pycache__/old.py": "",
            "a-1.dist-info/RECORD": record("a/b.py", "a/__init__.py", "shared/of_a.py", "both.py", "a/gone.py")
            + '"a, b/x.py",sha256=x,1\n',
            "c-1.dist-info/RECORD": record("shared/of_c.py", "both.py"),
            "d-1.dist-info/METADATA": "no RECORD",
        },
    )  # fmt: skip
    assert groups(str(site)) == {
        "a-1.dist-info": ["a, b/x.py", "a/__init__.py", "a/b.py", "shared/of_a.py"],
        "c-1.dist-info": ["both.py", "shared/of_c.py"],
        "nobody": ["nobody/x.py"],
        "single.py": ["single.py"],
    }


def test_test_suites_inside_packages_are_left_out(tmp_path: Path) -> None:
    names = (
        "a/tests/x.py",
        "a/b/test/c/x.py",
        "a/testing/x.py",
        "a/test.py",
        "tests/x.py",
        "tests/tests/x.py",
        "test.py",
    )
    site = tree(tmp_path / "site-packages", dict.fromkeys(names, ""))
    left = {path for paths in groups(str(site)).values() for path in paths}
    assert left == {"a/testing/x.py", "a/test.py", "tests/x.py", "test.py"}


def test_a_standard_library_is_taken_without_its_tests_and_packages(tmp_path: Path) -> None:
    names = ("os.py", "json/tool.py", "test/test_os.py", "ctypes/test/x.py", "site-packages/a.py")
    assert groups(str(tree(tmp_path / "python3.13", dict.fromkeys(names, "")))) == {
        "json": ["json/tool.py"],
        "os.py": ["os.py"],
    }


def test_large_groups_are_cut() -> None:
    paths = [f"{number:04}.py" for number in range(TOGETHER * 2 + 1)]
    parts = cut(paths)
    assert [len(part) for part in parts] == [TOGETHER, TOGETHER, 1]
    assert [path for part in parts for path in part] == paths


@pytest.mark.parametrize("one_processor", [False, True])
def test_bytes_depend_on_nothing_but_the_group(one_processor: bool, tmp_path: Path) -> None:
    """A package among others, on however many processors, is compiled as it is alone."""
    packages = {
        f"p{package}/m{number}.py": _SOURCES[(package + number) % 3] for package in range(12) for number in range(3)
    }
    infos = {f"p{each}-1.dist-info/RECORD": record(*(f"p{each}/m{n}.py" for n in range(3))) for each in range(12)}
    all_of_it = tree(tmp_path / "all/site-packages", packages | infos)
    one_of_it = {name: text for name, text in (packages | infos).items() if name.startswith(("p7/", "p7-"))}
    alone = tree(tmp_path / "alone/site-packages", one_of_it)
    words = ("--from", tmp_path / "all", "--to", "/opt", all_of_it)
    if one_processor:
        first = min(os.sched_getaffinity(0))
        command = ["taskset", "-c", str(first), sys.executable, *OPTIONS, str(program("stage/compile.py"))]
        subprocess.run([*command, *map(str, words)], env={"PYTHONHASHSEED": "0", "PATH": os.defpath}, check=True)
    else:
        assert run(*words).returncode == 0
    assert run("--from", tmp_path / "alone", "--to", "/opt", alone).returncode == 0
    assert len(compiled(alone)) == 3
    assert compiled(alone / "p7") == compiled(all_of_it / "p7")


def test_lists_of_files_on_standard_input(tmp_path: Path) -> None:
    site = tree(tmp_path / "site-packages", {"a.py": "a = 1", "b.py": "b = 1", "c.py": "c = 1", "not asked.py": ""})
    given = "\0\0".join(("\0".join((f"{site}/a.py", f"{site}/b.py")), f"{site}/c.py"))
    assert run("--from", tmp_path, "--to", "/opt", "-", given=given.encode()).returncode == 0
    assert sorted(path.name.partition(".")[0] for path in site.rglob("*.pyc")) == ["a", "b", "c"]
    assert b"/opt/site-packages/a.py" in Path(compiled_path(f"{site}/a.py")).read_bytes()


def test_what_is_compiled_is_loaded_without_its_source_being_looked_at(tmp_path: Path) -> None:
    site = tree(tmp_path / "site-packages", {"tool.py": "value = 1\n"})
    assert run(site).returncode == 0
    (site / "tool.py").write_text("value = 2\n")
    command = [sys.executable, "-B", "-c", "import tool; print(tool.value)"]
    said = subprocess.run(command, cwd=site, capture_output=True, text=True, check=True).stdout
    assert said == "1\n"


def test_files_that_are_not_valid_are_left_out(tmp_path: Path) -> None:
    files = {
        "a/good.py": "a = 1\n",
        "a/bad.py": "def (:\n",
        "a/null.py": "a = 1\0\n",
        "a/coding.py": "# coding: no-such\n",
    }
    site = tree(tmp_path / "site-packages", files)
    done = run(site)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [path.name.partition(".")[0] for path in site.rglob("*.pyc")] == ["good"]


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    site = tree(tmp_path / "site-packages", {"a/good.py": "a = 1\n", "a/__pycache__": "in the way"})
    done = run(site)
    assert done.returncode == 1
    assert b"__pycache__" in done.stderr


@pytest.mark.parametrize("words", [(), ("--from", "/x"), ("--other", "/x")])
def test_other_words_are_refused(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert done.stderr.startswith(b"usage: ")
