"""Around the solvers of conda packages: what they are asked, and what is made of their answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from packager.environments.conda import CondaPackage, CondaRequest
from packager.environments.solve import conda as solve
from packager.environments.solve import conda_lock
from packager.environments.solve.conda import RattlerSolver, Record, moved, reordered, stays, to_solved
from packager.environments.solve.conda_lock import CondaLockSolver
from packager.environments.solve.pip import Upgrade
from packager.errors import LockError, PackagerError, SpecError, TemporaryError, UsageError

AMD, ARM = "linux/amd64", "linux/arm64"
FORGE = "https://conda.example.com/forge"
VIRTUAL = {"__archspec": "1=x86_64", "__glibc": "2.41"}
REQUEST = CondaRequest(
    specs=("python 3.13.*", f"{FORGE}::numpy"),
    channels=(FORGE, "conda-forge"),
    virtual_packages={AMD: VIRTUAL, ARM: {**VIRTUAL, "__archspec": "1=aarch64"}},
)


def record(name: str, version: str = "1", subdir: str = "noarch", **more: Any) -> Record:
    url = f"https://bob:pw@conda.example.com/t/tok/forge/{subdir}/{name}-{version}-0.conda"
    return Record(**{"name": name, "version": version, "build": "0", "url": url, "sha256": "a" * 64, **more})


def package(name: str, platform: str = AMD, version: str = "1") -> CondaPackage:
    url = f"{FORGE}/noarch/{name}-{version}-0.conda"
    return CondaPackage(name=name, version=version, build="0", platform=platform, url=url, sha256="a" * 64)


# --- what is made of an answer ---


def test_records_as_a_lock_keeps_them() -> None:
    records = {
        ARM: [record("python", "3.13.4", depends=("b >=1", "a", "b <2"))],
        AMD: [record("python", "3.13.5"), record("six", noarch="python")],
    }
    solved = to_solved(records, REQUEST)
    assert [(each.name, each.platform, each.version) for each in solved.packages] == [
        ("python", AMD, "3.13.5"),
        ("python", ARM, "3.13.4"),
        ("six", AMD, "1"),
    ]
    assert solved.packages[1].depends == ("a", "b >=1,<2")
    assert solved.packages[2].url == f"{FORGE}/noarch/six-1-0.conda", "without credentials"
    assert solved.provides == {"six": "six"}


def test_an_environment_without_python() -> None:
    with pytest.raises(LockError, match="no python for linux/arm64") as caught:
        to_solved({AMD: [record("python", "3.13.5")], ARM: [record("six")]}, REQUEST)
    assert "python=3.13" in str(caught.value.remedy)


def test_platforms_must_agree_on_python() -> None:
    with pytest.raises(LockError, match=r"3\.13\.5 for linux/amd64, 3\.12\.1 for linux/arm64"):
        to_solved({AMD: [record("python", "3.13.5")], ARM: [record("python", "3.12.1")]}, REQUEST)


def test_which_versions_stay() -> None:
    held = [package("numpy"), package("python_abi"), package("numpy", ARM)]
    assert stays(held, AMD, Upgrade()) == held[:2]
    assert stays(held, AMD, Upgrade(names=("python-abi",))) == held[:1]
    assert stays(held, AMD, Upgrade(all=True)) == []


def test_what_moved() -> None:
    before = msgspec.structs.replace(REQUEST, virtual_packages={AMD: {"__glibc": "2.36", "__cuda": "12"}})
    assert moved(REQUEST, before, AMD) == ["__archspec", "__cuda", "__glibc"]
    assert not reordered(REQUEST, None)
    assert not reordered(REQUEST, before)
    assert reordered(REQUEST, msgspec.structs.replace(REQUEST, channels=REQUEST.channels[::-1]))
    assert reordered(REQUEST, msgspec.structs.replace(REQUEST, channel_priority="disabled"))
    assert moved(REQUEST, before, ARM) == moved(REQUEST, None, AMD) == moved(REQUEST, REQUEST, AMD) == []


# --- the child ---


def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> RattlerSolver:
    """A solver whose child is this code."""
    (tmp_path / "worker.py").write_text(code)
    monkeypatch.setattr(solve, "_WORKER", tmp_path / "worker.py")
    return RattlerSolver(tmp_path, {"conda-forge": "https://m.example.com"})


ENTRY_OF_PYTHON = {
    "name": "python",
    "version": "3.13.5",
    "build": "0",
    "url": f"{FORGE}/noarch/python-3.13.5-0.conda",
    "sha256": "a" * 64,
    "size": 1,
}
ANSWER = {"platforms": {each: [ENTRY_OF_PYTHON] for each in (AMD, ARM)}}


def test_what_the_child_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = f"import sys; open('asked', 'w').write(sys.stdin.read()); print({json.dumps(ANSWER)!r})"
    solver = worker(monkeypatch, tmp_path, code)
    solved = solver.solve(REQUEST, (package("numpy", version="2"),), Upgrade(), True)
    assert [each.version for each in solved.packages] == ["3.13.5", "3.13.5"]
    assert json.loads((tmp_path / "asked").read_text()) == {
        "channels": [FORGE, "conda-forge"],
        "specs": ["python 3.13.*", f"{FORGE}::numpy"],
        "priority": "strict",
        "root": str(tmp_path),
        "mirrors": {"conda-forge": "https://m.example.com"},
        "access": {},
        "offline": True,
        "reordered": False,
        "platforms": {
            AMD: {"subdir": "linux-64", "virtual": VIRTUAL, "moved": [], "held": [["numpy", "2", "0"]]},
            ARM: {
                "subdir": "linux-aarch64",
                "virtual": {**VIRTUAL, "__archspec": "1=aarch64"},
                "moved": [],
                "held": [],
            },
        },
    }


PRIVATE = "https://${NAME}:${PASSWORD}@conda.example.com/forge"
ASKING_PRIVATE = msgspec.structs.replace(REQUEST, specs=(f"{PRIVATE}::numpy",), channels=(PRIVATE, "conda-forge"))


def test_the_child_gets_values_and_the_lock_gets_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = f"import sys; open('asked', 'w').write(sys.stdin.read()); print({json.dumps(ANSWER)!r})"
    worker(monkeypatch, tmp_path, code)
    mirrors = {"conda-forge": "https://m.example.com/t/$KEY/cf"}
    solver = RattlerSolver(tmp_path, mirrors, {"NAME": "lena", "PASSWORD": "p%40ss", "KEY": "a/b"})
    solved = solver.solve(ASKING_PRIVATE, (), Upgrade(), False)
    assert {each.url for each in solved.packages} == {f"{PRIVATE}/noarch/python-3.13.5-0.conda"}
    asked = json.loads((tmp_path / "asked").read_text())
    assert asked["channels"] == [FORGE, "conda-forge"]
    assert asked["specs"] == [f"{FORGE}::numpy"]
    assert asked["mirrors"] == {"conda-forge": "https://m.example.com/cf"}
    assert asked["access"] == {
        FORGE: {"BasicHTTP": {"username": "lena", "password": "p@ss"}},
        "https://m.example.com/t/*/cf": {"CondaToken": "a%2Fb"},
    }


def test_a_variable_that_is_not_set(executable: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    worker(monkeypatch, tmp_path, f"print({json.dumps(ANSWER)!r})")
    environ = {"NAME": "lena", "PASSWORD": "", "PATH": "/bin"}
    solvers = (RattlerSolver(tmp_path, None, environ), CondaLockSolver(str(executable), None, environ))
    for solver in solvers:
        with pytest.raises(UsageError, match="variable PASSWORD is not set, or empty, which the channel ") as caught:
            solver.solve(ASKING_PRIVATE, (), Upgrade(), False)
        assert PRIVATE in caught.value.message
    assert solvers[0].solve(ASKING_PRIVATE, (), Upgrade(), True).packages, "offline, nothing is fetched"
    mirrored = RattlerSolver(tmp_path, {FORGE: "https://m.example.com"}, environ)
    assert mirrored.solve(ASKING_PRIVATE, (), Upgrade(), False).packages, "the channel itself is not asked"


def test_values_are_in_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    worker(monkeypatch, tmp_path, "import sys; sys.exit('oh, hunter2 and lena%21')")
    solver = RattlerSolver(tmp_path, None, {"NAME": "lena!", "PASSWORD": "hunter2"})
    with pytest.raises(PackagerError, match="ended without an answer") as caught:
        solver.solve(ASKING_PRIVATE, (), Upgrade(), False)
    assert "oh, *** and ***" in caught.value.message


def test_a_crash_after_the_whole_answer_is_nobodys_business(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = f"import os; print({json.dumps(ANSWER)!r}, flush=True); os.abort()"
    assert worker(monkeypatch, tmp_path, code).solve(REQUEST, (), Upgrade(), False).packages


@pytest.mark.parametrize("output", ["", '{"platforms": {}', '{"a": 1}}\n'])
def test_a_crash_before_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: str) -> None:
    code = f"import os, sys; sys.stderr.write('oh https://a:b@x'); sys.stdout.write({output!r}); sys.exit(3)"
    with pytest.raises(PackagerError, match="ended without an answer") as caught:
        worker(monkeypatch, tmp_path, code).solve(REQUEST, (), Upgrade(), False)
    assert "oh https://***@x" in caught.value.message


def test_an_answer_of_another_form(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(PackagerError, match="not understood"):
        worker(monkeypatch, tmp_path, "print('{}')").solve(REQUEST, (), Upgrade(), False)


def test_an_error_of_the_child_is_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    error = {"error": {"kind": "spec", "message": "no", "spec": "x y z"}}
    with pytest.raises(SpecError, match="'x y z'"):
        worker(monkeypatch, tmp_path, f"print({json.dumps(error)!r})").solve(REQUEST, (), Upgrade(), False)


def test_without_py_rattler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = "raise ModuleNotFoundError(\"No module named 'rattler'\")"
    with pytest.raises(PackagerError, match="py-rattler is not there"):
        worker(monkeypatch, tmp_path, code).solve(REQUEST, (), Upgrade(), False)


def test_verbs_that_do_not_solve_import_neither_rattler_nor_conda_lock() -> None:
    code = (
        "import sys\n"
        "import packager.cli.lock, packager.steps.build, packager.steps.lock\n"
        "import packager.environments.solve.conda, packager.environments.solve.conda_lock\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {each.partition(".")[0] for each in done.stdout.split()}
    assert not loaded & {"rattler", "conda_lock", "pydantic", "jinja2"}


# --- conda-lock ---


@pytest.fixture
def executable(tmp_path: Path) -> Path:
    path = tmp_path / "micromamba"
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o755)
    return path


def test_what_conda_lock_reads() -> None:
    files = conda_lock.inputs(REQUEST, {FORGE: "https://m.example.com/x/"})
    assert files["environment.yml"] == {
        "channels": ["https://m.example.com/x", "conda-forge"],
        "dependencies": ["python 3.13.*", "https://m.example.com/x::numpy"],
        "platforms": ["linux-64", "linux-aarch64"],
    }
    assert files["virtual-packages.yml"]["subdirs"]["linux-64"] == {
        "packages": {"__archspec": "1 x86_64", "__glibc": "2.41"}
    }, "without a file, conda-lock would take CUDA for granted"
    assert files["names.json"] == {}


def test_conda_lock_is_given_names_of_variables_and_puts_their_values_in_itself() -> None:
    files = conda_lock.inputs(ASKING_PRIVATE, {FORGE: "https://m.example.com/t/$KEY/x"})
    assert files["environment.yml"]["channels"] == ["https://m.example.com/t/$KEY/x", "conda-forge"]
    assert conda_lock.inputs(ASKING_PRIVATE, {})["environment.yml"]["channels"] == [PRIVATE, "conda-forge"]
    text = LOCK.replace("https://m.example.com/x", "https://m.example.com/t/${KEY}/x")
    found = conda_lock.read_answer(text, REQUEST, {PRIVATE: "https://m.example.com/t/$KEY/x"})
    assert found[AMD][0].url == f"{FORGE}/linux-64/numpy-2.3-py313_0.conda"


def test_arguments_and_settings(tmp_path: Path) -> None:
    words = conda_lock.arguments(REQUEST, "/x/micromamba", tmp_path)
    assert words[:4] == ["lock", "--conda", "/x/micromamba", "--no-mamba"]
    assert [words[at + 1] for at, word in enumerate(words) if word == "--platform"] == ["linux-64", "linux-aarch64"]
    assert words[words.index("--virtual-package-spec") + 1] == str(tmp_path / "virtual-packages.yml")
    assert conda_lock.settings(REQUEST, False) == {
        "CONDA_CHANNEL_PRIORITY": "strict",
        "MAMBA_CHANNEL_PRIORITY": "strict",
    }
    assert conda_lock.settings(REQUEST, True)["CONDA_OFFLINE"] == "true"


def test_a_mirror_of_a_name_is_refused(executable: Path) -> None:
    solver = CondaLockSolver(str(executable), {"conda-forge": "https://m.example.com"})
    with pytest.raises(UsageError, match="'conda-forge', which has a name alone"):
        solver.solve(REQUEST, (), Upgrade(), False)


ENTRY = """\
- name: numpy
  version: '2.3'
  manager: conda
  platform: linux-64
  dependencies: {python: '>=3.13', libgcc: ''}
  url: https://m.example.com/x/linux-64/numpy-2.3-py313_0.conda
  hash: {md5: MD5, sha256: SHA}
  category: main
  optional: false
"""
LOCK = "version: 1\nmetadata: {}\npackage:\n" + ENTRY.replace("MD5", "b" * 32).replace("SHA", "a" * 64)


def test_conda_locks_answer() -> None:
    pip = ENTRY.replace("manager: conda", "manager: pip")
    other = ENTRY.replace("linux-64", "win-64")
    found = conda_lock.read_answer(LOCK + pip + other, REQUEST, {FORGE: "https://m.example.com/x"})
    assert found == {
        AMD: [
            Record(
                name="numpy",
                version="2.3",
                build="py313_0",
                url=f"{FORGE}/linux-64/numpy-2.3-py313_0.conda",
                sha256="a" * 64,
                md5="b" * 32,
                depends=("python >=3.13", "libgcc"),
            )
        ],
        ARM: [],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LOCK.replace(f", sha256: {'a' * 64}", ""), "no sha256 of numpy"),
        (LOCK.replace("numpy-2.3-py", "other-2.3-py"), "not named as conda names"),
        ("package: 1", "not understood"),
        ("a: [", "not understood"),
    ],
)
def test_answers_that_cannot_be_used(text: str, message: str) -> None:
    with pytest.raises(LockError, match=message):
        conda_lock.read_answer(text, REQUEST, {})


def test_an_executable_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="no program 'no-such-conda'"):
        CondaLockSolver("no-such-conda")


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        ("No module named 'conda_lock'", PackagerError, "conda-lock is not there"),
        ("CondaHTTPError: HTTP 503 for url <https://a:b@x>", TemporaryError, "https://***@x"),
        ("nothing provides foo", LockError, "nothing provides foo"),
    ],
)
def test_conda_locks_failures(said: str, kind: type[PackagerError], message: str) -> None:
    error = conda_lock._failed(f'Traceback (most recent call last):\n  File "x"\n{said}')
    assert type(error) is kind
    assert message in error.message
    assert "Traceback" not in error.message
